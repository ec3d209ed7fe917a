"""Scores finished models on a folder of recordings with votes.

Every fold of a model answers and the answers are averaged, as the kernel does on Kaggle; so the folder must not be the
one the model was trained on. For that one there is `out_of_fold.csv`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from kernel.constants import SFREQ, VOTES, WINDOW_SECONDS
from kernel.ensemble import read_model_weights
from kernel.model import calibrate, fold_files, load_model, read_model_config
from kernel.recording import read_electrodes
from training.evaluation import PREDICTED
from training.fitting import predict_windows
from training.windows import FolderWindows, read_rows

BATCH_SIZE = 16


def predict_folders(folders: list[Path], weights: Path, name: str, min_votes: int) -> pd.DataFrame:
    """Predict every row of some folders with enough votes; `name` is a model's, or `ensemble` for all that ship.

    Returns
    -------
    table : DataFrame
        data (the folder's name), eeg_id, patient_id, n_votes, seconds (length of the recording), the six votes' shares
        and the six predictions.

    Raises
    ------
    FileNotFoundError
        If a folder, the model or its weights are missing.
    ValueError
        If two folders have the same name, or no row has enough votes.
    """
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        raise ValueError(f"--data: two folders are called {max(names, key=names.count)}; rename one, or give it once")
    found = pd.concat([read_rows(folder).assign(data=one) for folder, one in zip(folders, names, strict=True)])
    rows = found[found["n_votes"] >= min_votes].reset_index(drop=True)
    where = ", ".join(str(folder / "train.csv") for folder in folders)
    if rows.empty:
        raise ValueError(f"{where}: no row has {min_votes} votes or more; lower --min-votes")
    if len(rows) < len(found):
        print(f"{len(rows)} of {len(found)} rows have {min_votes} votes or more; --min-votes 1 takes all")
    shares, total = np.zeros((len(rows), 6)), np.zeros((len(rows), 6))
    blend = read_model_weights(weights) if name == "ensemble" else {name: 1.0}
    for model, weight in blend.items():
        shares, probabilities = _predict_model(weights / model, rows)
        total += weight * probabilities
    table = rows[["data", "eeg_id", "patient_id", "n_votes"]].copy()
    table["seconds"] = [read_electrodes(path).shape[1] / SFREQ for path in rows["path"]]
    table[list(VOTES)], table[list(PREDICTED)] = shares, total / total.sum(axis=1, keepdims=True)
    return table


def cut_parts(table: pd.DataFrame, halves: bool) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the parts of `predict_folders`' table that are scored on their own: folders, long and short, halves."""
    long = table["seconds"] >= WINDOW_SECONDS
    parts = {name: table["data"] == name for name in table["data"].unique()}
    parts |= {f"recordings of {WINDOW_SECONDS} s and more": long, "shorter recordings": ~long}
    if halves:
        parts |= {f"{name} half": table["half"] == name for name in ("even", "odd")}
    for title, mask in parts.items():
        if mask.any() and not mask.all():
            yield title, table[mask]


def _predict_model(folder: Path, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the votes' shares, and the calibrated mean of a model's folds."""
    config = read_model_config(folder / "config.json")
    files = fold_files(folder)
    if not files:
        raise FileNotFoundError(f"{folder}: no fold_*.weights.h5; train the model first")
    source = FolderWindows(rows)
    answers = []
    for file in files:
        shares, probabilities = predict_windows(load_model(config, file), config, source, BATCH_SIZE)
        answers.append(calibrate(probabilities, config))
    return shares, np.mean(answers, axis=0)
