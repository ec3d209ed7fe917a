"""Scores finished models on a folder of recordings with votes. Called by `build.py evaluate`.

Every fold of a model answers and the answers are averaged, as the kernel does on Kaggle; so the folder must not be the
one the model was trained on. For that one there is `out_of_fold.csv`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from kernel.constants import SFREQ, VOTES
from kernel.ensemble import read_model_weights
from kernel.model import calibrate, fold_files, load_model, read_config
from kernel.recording import read_electrodes
from kernel.table import read_patterns
from training.evaluation import PREDICTED
from training.fitting import predict
from training.windows import FolderWindows

BATCH_SIZE = 16


def predict_folder(folder: Path, weights: Path, name: str, min_votes: int) -> pd.DataFrame:
    """Predict every row of a folder with enough votes; `name` is a model's, or `ensemble` for all that ship.

    Returns
    -------
    table : DataFrame
        eeg_id, patient_id, n_votes, seconds (length of the recording), the six votes' shares and the six predictions.

    Raises
    ------
    FileNotFoundError
        If the folder, the model or its weights are missing.
    ValueError
        If no row has enough votes.
    """
    rows = read_patterns(folder)
    rows = rows[rows["n_votes"] >= min_votes].reset_index(drop=True)
    if rows.empty:
        raise ValueError(f"{folder / 'train.csv'}: no row has {min_votes} votes or more; lower --min-votes")
    shares, total = np.zeros((len(rows), 6)), np.zeros((len(rows), 6))
    blend = read_model_weights(weights) if name == "ensemble" else {name: 1.0}
    for model, weight in blend.items():
        shares, probabilities = _predict_model(weights / model, rows)
        total += weight * probabilities
    table = rows[["eeg_id", "patient_id", "n_votes"]].copy()
    table["seconds"] = [read_electrodes(path).shape[1] / SFREQ for path in rows["path"]]
    table[list(VOTES)], table[list(PREDICTED)] = shares, total / total.sum(axis=1, keepdims=True)
    return table


def _predict_model(folder: Path, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the votes' shares, and the calibrated mean of a model's folds."""
    config = read_config(folder / "config.json")
    files = fold_files(folder)
    if not files:
        raise FileNotFoundError(f"{folder}: no fold_*.weights.h5; train the model first")
    source = FolderWindows(rows)
    answers = []
    for file in files:
        shares, probabilities = predict(load_model(config, file), config, source, BATCH_SIZE)
        answers.append(calibrate(probabilities, config))
    return shares, np.mean(answers, axis=0)
