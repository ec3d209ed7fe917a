"""`submission.csv`: a table that the metric will not reject, written for Kaggle and judged here by the same rules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from kernel.constants import VOTES
from kernel.files import replacing
from kernel.table import read_table

COLUMNS = ("eeg_id", *VOTES)
"""The columns of `submission.csv`, in the competition's order."""


def check_submission(submission: pd.DataFrame, ids: np.ndarray, source: str = "submission") -> None:
    """Check a submission for everything that the metric, or the scoring before it, would reject.

    `ids` are those of `test.csv`; `source` is what the message calls the table.

    Raises
    ------
    ValueError
        With the first reason found: columns, ids, numbers, range or sums.
    """
    if tuple(submission.columns) != COLUMNS:
        raise ValueError(f"{source}: columns must be {', '.join(COLUMNS)}; found {', '.join(submission.columns)}")
    found = submission["eeg_id"].to_numpy()
    if len(found) != len(ids):
        raise ValueError(f"{source}: {len(found)} rows for {len(ids)} recordings; expected one each")
    if not np.array_equal(found, ids):
        row = int(np.flatnonzero(found != ids)[0])
        raise ValueError(f"{source}: row {row} is eeg_id {found[row]}, expected {ids[row]} as in test.csv")
    votes = submission[list(VOTES)]
    not_numeric = [name for name in VOTES if not pd.api.types.is_numeric_dtype(votes[name])]
    if not_numeric:
        raise ValueError(f"{source}: {', '.join(not_numeric)} must be numeric")
    values = votes.to_numpy(np.float64)
    for wrong, what in (
        (~np.isfinite(values), "a finite number"),
        (values < 0, "at least 0"),
        (values > 1, "at most 1"),
    ):
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            raise ValueError(f"{source}: eeg_id {ids[row]}: {VOTES[column]} is {values[row, column]}, expected {what}")
    sums = values.sum(axis=1)
    if not np.allclose(sums, 1):
        row = int(np.argmax(np.abs(sums - 1)))
        raise ValueError(f"{source}: eeg_id {ids[row]}: the probabilities sum to {sums[row]:.6f}, expected 1")


def read_submission(path: Path, ids: np.ndarray) -> pd.DataFrame:
    """Read a submission and check it.

    Raises
    ------
    FileNotFoundError, ValueError
        As `read_table` and `check_submission`.
    """
    submission = read_table(path, COLUMNS)
    check_submission(submission, ids, str(path))
    return submission


def write_submission(path: Path, ids: np.ndarray, probabilities: np.ndarray) -> None:
    """Write `submission.csv`, or refuse to: under a temporary name, read back and checked, then renamed.

    `probabilities` (n, 6), columns as in `VOTES`, are those of `ids`, in the order of `test.csv`. Errors are those of
    `check_submission`; nothing is left under the final name then.
    """
    if probabilities.shape != (len(ids), len(VOTES)):
        raise ValueError(f"{path}: probabilities have shape {probabilities.shape}, expected {(len(ids), len(VOTES))}")
    submission = pd.DataFrame(probabilities, columns=list(VOTES))
    submission.insert(0, "eeg_id", ids)
    check_submission(submission, ids, str(path))
    with replacing(path) as part:
        submission.to_csv(part, index=False)
        read_submission(part, ids)
