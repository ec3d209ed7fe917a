"""The competition's metric: mean Kullback-Leibler divergence of the predictions from the votes' shares.

`competition_score` takes two tables and refuses what the competition refuses; `kl_per_row` is the bare divergence of
arrays, for everything that needs more than the mean.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.special

EPSILON = 1e-15
"""Predictions are clipped to [EPSILON, 1 - EPSILON], and not normalised again."""


def kl_per_row(votes_probabilities: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Compute the divergence of each row: the sum of y ln(y / p) over the classes that have votes.

    Parameters
    ----------
    votes_probabilities : ndarray, shape (n, 6), float
        Shares of the votes, y.
    predictions : ndarray, shape (n, 6), float
        Predicted probabilities, p; clipped to [1e-15, 1 - 1e-15], without normalising again.

    Returns
    -------
    divergence : ndarray, shape (n,), float64
        In nats. Never below zero but for rows that do not sum to 1.

    Raises
    ------
    ValueError
        If the shapes differ or an array holds NaN or infinities.
    """
    y, p = np.asarray(votes_probabilities, np.float64), np.asarray(predictions, np.float64)
    if y.ndim != 2 or y.shape != p.shape:
        raise ValueError(f"expected two arrays of one shape (n, classes), found {y.shape} and {p.shape}")
    if not (np.isfinite(y).all() and np.isfinite(p).all()):
        raise ValueError("votes or predictions hold NaN or infinities")
    return scipy.special.rel_entr(y, np.clip(p, EPSILON, 1 - EPSILON)).sum(axis=1)


def competition_score(solution: pd.DataFrame, submission: pd.DataFrame, id_column: str = "eeg_id") -> float:
    """Score a submission as the competition does.

    Parameters
    ----------
    solution : DataFrame
        `id_column`, and one column of vote shares per class; rows sum to 1.
    submission : DataFrame
        The same columns, predicted; rows in any order. Further columns do not count.
    id_column : str
        Name of the column that says which row is which.

    Returns
    -------
    score : float
        Mean divergence in nats; 0 is perfect.

    Raises
    ------
    ValueError
        If a column is missing or not numeric; if ids repeat, or the tables' ids differ; if a value is NaN, infinite,
        below 0 or above 1; if a row's sum is further from 1 than `numpy.allclose` accepts (1.001e-5).
    """
    targets = [column for column in solution.columns if column != id_column]
    for name, frame in (("solution", solution), ("submission", submission)):
        missing = [column for column in (id_column, *targets) if column not in frame.columns]
        if missing:
            raise ValueError(f"{name}: lacks the columns {', '.join(missing)}; found {', '.join(frame.columns)}")
    if not targets or solution.empty:
        raise ValueError(f"solution: needs at least one row and one column beside {id_column}")
    shares = _read_probabilities(solution, targets, id_column, "solution")
    predicted = _read_probabilities(submission, targets, id_column, "submission")
    if len(shares) != len(predicted) or not shares.index.isin(predicted.index).all():
        absent, extra = shares.index.difference(predicted.index), predicted.index.difference(shares.index)
        example = f"first lacking {absent[0]}" if len(absent) else f"first not asked for {extra[0]}"
        raise ValueError(f"submission: lacks {len(absent)} ids of the solution and has {len(extra)} others; {example}")
    return float(np.average(kl_per_row(shares.to_numpy(), predicted.loc[shares.index].to_numpy())))


def _read_probabilities(frame: pd.DataFrame, targets: list[str], id_column: str, name: str) -> pd.DataFrame:
    """Return the targets indexed by id, once they are what the metric accepts."""
    for column in targets:
        if not pd.api.types.is_numeric_dtype(frame[column]):
            raise ValueError(f"{name}: column {column} is not numeric, found {frame[column].dtype}")
    repeated = frame[id_column][frame[id_column].duplicated()]
    if len(repeated):
        raise ValueError(f"{name}: {id_column} {repeated.iloc[0]} appears more than once")
    values = frame.set_index(id_column)[targets].astype(np.float64)
    sums = values.sum(axis=1, skipna=False)
    wrong = [
        (~np.isfinite(values).all(axis=1), "NaN or an infinity"),
        ((values < 0).any(axis=1), "a probability below 0"),
        ((values > 1).any(axis=1), "a probability above 1"),
        (pd.Series(~np.isclose(sums, 1), index=values.index), "probabilities that do not sum to 1"),
    ]
    for rows, what in wrong:
        if rows.any():
            first = values.index[rows.to_numpy()][0]
            found = ", ".join(f"{value:.6g}" for value in values.loc[first])
            raise ValueError(f"{name}: {rows.sum()} rows hold {what}; first {id_column} {first}: {found}")
    return values
