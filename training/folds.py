"""Which patient is in which fold of a training, and in which half of an evaluation."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from kernel.constants import VOTES


def assign_folds(rows: pd.DataFrame, n_folds: int, seed: int = 0) -> np.ndarray:
    """Put each patient into one fold, so that every fold has about the same share of each class.

    Parameters
    ----------
    rows : DataFrame
        Columns patient_id and the six votes.
    n_folds : int
        Number of folds.
    seed : int
        Which of the possible assignments.

    Returns
    -------
    folds : ndarray, shape (n_rows,), int
        0 to n_folds - 1; all rows of a patient have the same.

    Raises
    ------
    ValueError
        If there are fewer patients than folds.
    """
    patients = rows["patient_id"].nunique()
    if patients < n_folds:
        raise ValueError(f"{n_folds} folds need at least as many patients, found {patients}; set recipe.folds lower")
    classes = rows[list(VOTES)].to_numpy().argmax(axis=1)
    # The splitter complains where a class has fewer rows than there are folds; such a class still falls somewhere.
    folds = np.full(len(rows), -1)
    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    for fold, (_, held_out) in enumerate(splitter.split(classes, classes, rows["patient_id"])):
        folds[held_out] = fold
    return folds


def assign_halves(table: pd.DataFrame) -> np.ndarray:
    """Put each patient into one of two halves, so that a choice made on one can be confirmed on the other.

    Nothing is drawn: patients are sorted by their leading class, then by the folder's name, then by their lowest
    eeg_id, and every second one is even. So the halves have the same share of each class, up to one patient.

    Parameters
    ----------
    table : DataFrame
        Columns data (the folder's name), patient_id, eeg_id and the six votes.

    Returns
    -------
    halves : ndarray, shape (n_rows,), str
        `even` or `odd`; all rows of a patient have the same.
    """
    patients = table.groupby(["data", "patient_id"]).agg({**dict.fromkeys(VOTES, "sum"), "eeg_id": "min"})
    patients["leading"] = patients[list(VOTES)].to_numpy().argmax(axis=1)
    ordered = patients.reset_index().sort_values(["leading", "data", "eeg_id"]).reset_index(drop=True)
    ordered["half"] = np.where(ordered.index % 2, "odd", "even")
    return table[["data", "patient_id"]].merge(ordered, on=["data", "patient_id"], how="left")["half"].to_numpy(str)
