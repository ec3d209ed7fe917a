"""Scores finished models on folders of recordings with votes.

The folds of a model answer together, as the kernel does on Kaggle. A recording that the model was trained on is
answered by the one fold that did not see its patient; where there is none, the recording is left out. So no answer is
by a network that knew the votes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from kernel.constants import SFREQ, VOTES, WINDOW_SECONDS
from kernel.ensemble import list_models, read_ensemble
from kernel.model import calibrate, fold_files, load_model, read_model_config, temper
from kernel.recording import read_length
from kernel.table import read_patterns
from training.batches import predict_windows
from training.evaluation import PREDICTED
from training.trained import FOLDS, fold_number, read_folds
from training.windows import FolderWindows

BATCH_SIZE = 16


def find_models(name: str, places: list[Path]) -> tuple[dict[Path, float], float]:
    """Return the folder and the share of each model that `name` means, one or `ensemble` for all; and a temperature.

    The first of the folders `places` that has it is taken; an ensemble is always the last one's.
    """
    if name == "ensemble":
        shares, temperature = read_ensemble(places[-1])
        return {places[-1] / model: share for model, share in shares.items()}, temperature
    for place in places:
        if (place / name / "config.json").is_file() and fold_files(place / name):
            return {place / name: 1.0}, 1.0
    there = [f"{place}: {', '.join(list_models(place)) or 'none'}" for place in places]
    raise FileNotFoundError(f"no model {name} with weights; there are in {'; in '.join(there)}; train it first")


def predict_folders(
    folders: list[Path], models: dict[Path, float], min_votes: int, temperature: float = 1.0
) -> pd.DataFrame:
    """Predict every row of some folders with enough votes by a blend of models, `find_models`'.

    A row is answered by those of them that have not heard it, each by its share, and left out where there is none.

    The table has data (the folder's name), eeg_id, patient_id, n_votes, seconds (length of the recording), the six
    votes' shares and the six predictions.
    """
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        raise ValueError(f"--data: two folders are called {max(names, key=names.count)}; rename one, or give it once")
    found = pd.concat([read_patterns(folder).assign(data=one) for folder, one in zip(folders, names, strict=True)])
    rows = found[found["n_votes"] >= min_votes].reset_index(drop=True)
    where = ", ".join(str(folder / "train.csv") for folder in folders)
    if rows.empty:
        raise ValueError(f"{where}: no row has {min_votes} votes or more; lower --min-votes")
    if len(rows) < len(found):
        print(f"{len(rows)} of {len(found)} rows have {min_votes} votes or more; --min-votes 1 takes all")
    allowed = {model: find_allowed_folds(model, rows) for model in models}
    weights = np.array([share * allowed[model].any(axis=1) for model, share in models.items()])
    known = weights.any(axis=0)
    if not known.any():
        raise ValueError(f"{where}: every trained fold has seen the patients of all {len(rows)} rows; train another")
    rows = rows[known].reset_index(drop=True)
    partly = int((weights[:, known] == 0).any(axis=0).sum())
    if partly:
        print(f"{partly} of {len(rows)} rows are answered by those models that have not heard them, without the others")
    total = np.zeros((len(rows), len(VOTES)))
    for model, weight in zip(models, weights[:, known], strict=True):
        asked = weight > 0
        if asked.any():
            answers = _predict_model(model, rows[asked], allowed[model][known][asked], temperature)
            total[asked] += weight[asked, None] * answers
    table = rows[["data", "eeg_id", "patient_id", "n_votes"]].copy()
    table["seconds"] = [read_length(path) / SFREQ for path in rows["path"]]
    table[list(VOTES)] = rows[list(VOTES)].div(rows["n_votes"], axis=0)
    table[list(PREDICTED)] = total / total.sum(axis=1, keepdims=True)
    return table


def find_allowed_folds(model: Path, rows: pd.DataFrame) -> np.ndarray:
    """Return which of a model's folds may answer which row, shape (n_rows, n_folds), bool; say what that means."""
    numbers = np.array([fold_number(file) for file in fold_files(model)])
    seen = read_folds(model)
    if seen is None:
        print(
            f"WARNING: {model / FOLDS} is missing, which says what {model.name} was trained on. ALL its folds answer "
            "every row, those too that were trained on the row's patient: on its own data the scores below are too "
            "good. Run the same `train` again, which writes the file and trains no finished fold, or copy it"
        )
        return np.ones((len(rows), len(numbers)), bool)
    held_out = rows[["eeg_id", "patient_id"]].merge(seen, on=["eeg_id", "patient_id"], how="left")["fold"].to_numpy()
    trained = ~np.isnan(held_out)
    allowed = ~trained[:, None] | (held_out[:, None] == numbers)
    lost = int((~allowed.any(axis=1)).sum())
    if trained.sum() > lost:
        print(
            f"{trained.sum() - lost} of {len(rows)} rows are of recordings that {model.name} was trained on: out of "
            "fold, each is answered by the fold that did not see its patient"
        )
    if lost:
        print(f"LEFT OUT: {lost} rows of patients that every trained fold of {model.name} has seen")
    return allowed


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


def _predict_model(folder: Path, rows: pd.DataFrame, allowed: np.ndarray, temperature: float) -> np.ndarray:
    """Return the mean of the calibrated, tempered answers of the folds that are allowed to answer, row by row."""
    config = read_model_config(folder / "config.json")
    total = np.zeros((len(rows), len(VOTES)))
    for file, asked in zip(fold_files(folder), allowed.T, strict=True):
        if asked.any():
            source = FolderWindows(rows[asked].reset_index(drop=True))
            _, probabilities = predict_windows(load_model(config, file), config, source, BATCH_SIZE)
            total[asked] += temper(calibrate(probabilities, config), temperature)
    return total / allowed.sum(axis=1, keepdims=True)
