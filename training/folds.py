"""Which patient is in which fold. Called by `training.cross_validation`."""

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
