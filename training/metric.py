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


def kl_per_row(shares: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Return the divergence of each row in nats: the sum of y ln(y / p) over the classes that have votes.

    `shares` y and `predictions` p have the shape (n, 6). Arrays of other shapes, or with NaN or infinities, are a
    ValueError.
    """
    y, p = np.asarray(shares, np.float64), np.asarray(predictions, np.float64)
    if y.ndim != 2 or y.shape != p.shape:
        raise ValueError(f"expected two arrays of one shape (n, classes), found {y.shape} and {p.shape}")
    if not (np.isfinite(y).all() and np.isfinite(p).all()):
        raise ValueError("votes or predictions hold NaN or infinities")
    return scipy.special.rel_entr(y, np.clip(p, EPSILON, 1 - EPSILON)).sum(axis=1)


def competition_score(solution: pd.DataFrame, submission: pd.DataFrame, id_column: str = "eeg_id") -> float:
    """Score a submission as the competition does: the mean divergence in nats; 0 is perfect.

    Both tables have `id_column` and one column per class, the solution's with shares of votes; the submission's rows
    may be in any order, and have further columns.

    Raises
    ------
    ValueError
        If a column is missing or not numeric; if ids repeat, or the tables' ids differ; if a value is NaN, infinite,
        below 0 or above 1; if a row's sum is further from 1 than `numpy.allclose` accepts (1.001e-5).
    """
    targets = [column for column in solution.columns if column != id_column]
    if not targets or solution.empty:
        raise ValueError(f"solution: needs at least one row and one column beside {id_column}")
    shares = _read_probabilities(solution, targets, id_column, "solution")
    predicted = _read_probabilities(submission, targets, id_column, "submission")
    absent, extra = shares.index.difference(predicted.index), predicted.index.difference(shares.index)
    if len(absent) or len(extra):
        example = f"first lacking {absent[0]}" if len(absent) else f"first not asked for {extra[0]}"
        raise ValueError(f"submission: lacks {len(absent)} ids of the solution and has {len(extra)} others; {example}")
    return float(np.average(kl_per_row(shares.to_numpy(), predicted.loc[shares.index].to_numpy())))


def _read_probabilities(frame: pd.DataFrame, targets: list[str], id_column: str, name: str) -> pd.DataFrame:
    """Return the targets indexed by id, once they are what the metric accepts."""
    missing = [column for column in (id_column, *targets) if column not in frame.columns]
    if missing:
        raise ValueError(f"{name}: lacks the columns {', '.join(missing)}; found {', '.join(frame.columns)}")
    for column in targets:
        if not pd.api.types.is_numeric_dtype(frame[column]):
            raise ValueError(f"{name}: column {column} is not numeric, found {frame[column].dtype}")
    repeated = frame[id_column][frame[id_column].duplicated()]
    if len(repeated):
        raise ValueError(f"{name}: {id_column} {repeated.iloc[0]} appears more than once")
    values = frame.set_index(id_column)[targets].astype(np.float64)
    wrong = {
        "NaN or an infinity": ~np.isfinite(values).all(axis=1),
        "a probability below 0": (values < 0).any(axis=1),
        "a probability above 1": (values > 1).any(axis=1),
        "probabilities that do not sum to 1": ~np.isclose(values.sum(axis=1), 1),
    }
    for what, rows in wrong.items():
        if rows.any():
            first = values.index[rows][0]
            found = ", ".join(f"{value:.6g}" for value in values.loc[first])
            raise ValueError(f"{name}: {rows.sum()} rows hold {what}; first {id_column} {first}: {found}")
    return values
