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
    """Raise a ValueError for the first thing that the metric, or the scoring before it, would reject.

    `ids` are those of `test.csv`; `source` is what the message calls the table.
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
    wrong = np.argwhere(~((values >= 0) & (values <= 1)))
    if len(wrong):
        row, column = wrong[0]
        raise ValueError(f"{source}: eeg_id {ids[row]}: {VOTES[column]} is {values[row, column]}, expected 0 to 1")
    sums = values.sum(axis=1)
    if not np.allclose(sums, 1):
        row = int(np.argmax(np.abs(sums - 1)))
        raise ValueError(f"{source}: eeg_id {ids[row]}: the probabilities sum to {sums[row]:.6f}, expected 1")


def read_submission(path: Path, ids: np.ndarray) -> pd.DataFrame:
    """Read a submission and check it."""
    submission = read_table(path, COLUMNS)
    check_submission(submission, ids, str(path))
    return submission


def write_submission(path: Path, ids: np.ndarray, probabilities: np.ndarray) -> None:
    """Write `submission.csv` under a temporary name, read it back and check it, then rename it: all of it or nothing.

    `probabilities` (n, 6), columns as in `VOTES`, are those of `ids`, in the order of `test.csv`.
    """
    if probabilities.shape != (len(ids), len(VOTES)):
        raise ValueError(f"{path}: probabilities have shape {probabilities.shape}, expected {(len(ids), len(VOTES))}")
    submission = pd.DataFrame(probabilities, columns=list(VOTES))
    submission.insert(0, "eeg_id", ids)
    with replacing(path) as part:
        submission.to_csv(part, index=False)
        check_submission(read_table(part, COLUMNS), ids, str(path))
