"""Which patient is in which fold of a training, and in which half of an evaluation."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from kernel.constants import VOTES


def assign_folds(rows: pd.DataFrame, n_folds: int, seed: int = 0) -> np.ndarray:
    """Put each patient into one fold, so that every fold has about the same share of each class.

    Returns 0 to `n_folds` - 1 for each row, which has patient_id and the six votes; `seed` is which of the possible
    assignments.
    """
    patients = rows["patient_id"].nunique()
    classes = rows[list(VOTES)].to_numpy().argmax(axis=1)
    for what, most in (("patients", patients), ("rows of one class", np.bincount(classes).max())):
        if most < n_folds:
            raise ValueError(f"{n_folds} folds need at least as many {what}, found {most}; set recipe.folds lower")
    folds = np.full(len(rows), -1)
    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():  # it warns where a class has fewer rows than there are folds
        warnings.simplefilter("ignore", UserWarning)
        for fold, (_, held_out) in enumerate(splitter.split(classes, classes, rows["patient_id"])):
            folds[held_out] = fold
    return folds


def choose_folds(text: str, folds: Iterable[int], asked: str = "") -> list[int]:
    """Return those of `folds` that a person asks for: a number, several with commas between them, or all.

    Errors name what was `asked`, the option as it was given; `--fold text` where it is empty.
    """
    there, asked = list(folds), asked or f"--fold {text}"
    if text == "all":
        return there
    if not text.replace(",", "").isdecimal():
        raise ValueError(f"{asked}: expected a fold's number, several with commas between them, or all")
    chosen = [int(fold) for fold in text.split(",") if fold]
    if missing := sorted(set(chosen) - set(there)):
        raise ValueError(f"{asked}: no fold {missing[0]}; it has {', '.join(map(str, there))}")
    return chosen


def assign_halves(table: pd.DataFrame) -> np.ndarray:
    """Put each patient into one of two halves, so that a choice made on one can be confirmed on the other.

    Nothing is drawn: patients are sorted by their leading class, then by the folder's name, then by their lowest
    eeg_id, and every second one is even. So the halves have the same share of each class, up to one patient.

    Returns `even` or `odd` for each row, which has data (the folder's name), patient_id, eeg_id and the six votes.
    """
    patients = table.groupby(["data", "patient_id"]).agg({**dict.fromkeys(VOTES, "sum"), "eeg_id": "min"})
    patients["leading"] = patients[list(VOTES)].to_numpy().argmax(axis=1)
    ordered = patients.reset_index().sort_values(["leading", "data", "eeg_id"])
    ordered["half"] = np.resize(["even", "odd"], len(ordered))
    return table[["data", "patient_id"]].merge(ordered, on=["data", "patient_id"], how="left")["half"].to_numpy(str)
