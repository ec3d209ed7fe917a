"""What the report asks of a labelled window beyond its row of `train.csv`: shares, entropy and class of its votes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from kernel.constants import CLASS_NAMES, VOTES
from kernel.table import MANY_VOTES, RECORDING_FOLDERS, read_rows

DERIVED = ("start", "n_votes", "top_share", "consensus", "entropy", "many")
"""Columns that are computed, not read."""


def read_windows(data: Path) -> pd.DataFrame:
    """Read `train.csv`, rows with missing values too, and add what `derive` does.

    Raises
    ------
    FileNotFoundError, ValueError
        As `kernel.table.read_rows`.
    """
    return derive(read_rows(data, ("spectrogram_id", "expert_consensus"), complete=False))


def derive(rows: pd.DataFrame) -> pd.DataFrame:
    """Add what follows from a row's votes.

    `n_votes`; `top_share`, the largest share of the votes, NaN without votes; `consensus`, the class with the most
    votes as `CLASS_NAMES` spells it (the first of equals, as in the competition's file), "" without votes; `entropy`,
    of the shares, in nats; `many`, whether there are at least `MANY_VOTES`.
    """
    votes, share = count_votes(rows), shares(rows)
    n_votes = votes.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -np.where(share > 0, share * np.log(share), 0).sum(axis=1)
    return rows.assign(
        n_votes=n_votes,
        top_share=share.max(axis=1),
        consensus=np.where(n_votes > 0, np.array(CLASS_NAMES)[votes.argmax(axis=1)], ""),
        entropy=entropy,
        many=n_votes >= MANY_VOTES,
    )


def count_votes(rows: pd.DataFrame) -> np.ndarray:
    """Return the votes of each row: (n_rows, 6), int64; a missing vote counts as none."""
    return np.nan_to_num(rows[list(VOTES)].to_numpy(np.float64)).astype(np.int64)


def shares(rows: pd.DataFrame) -> np.ndarray:
    """Return the votes of each row divided by their number: (n_rows, 6), float64, NaN where a row has no votes."""
    votes = count_votes(rows).astype(np.float64)
    with np.errstate(invalid="ignore"):
        return votes / votes.sum(axis=1, keepdims=True)


def list_files(data: Path, rows: pd.DataFrame) -> dict[int, Path]:
    """Return the recordings' files by id: all of `train_eegs`, and those of `test_eegs` that `train.csv` names."""
    files: dict[int, Path] = {}
    named = set(rows["eeg_id"].dropna().astype(np.int64))
    for folder in reversed(RECORDING_FOLDERS):
        for path in sorted((data / folder).glob("*.parquet")):
            if path.stem.isdigit() and (folder == "train_eegs" or int(path.stem) in named):
                files[int(path.stem)] = path
    return files
