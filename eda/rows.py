"""The labelled windows of `train.csv`: their votes as shares, the class on top, the population and the case of each.

Rows with few votes and rows with many differ in who was asked, in which windows, and in how much they agree. The hidden
test is believed to be like the rows with many.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import entr

from kernel.constants import CLASS_NAMES, VOTES
from kernel.table import MANY_VOTES, RECORDING_FOLDERS, read_rows

FEW, MANY, ALL = f"under {MANY_VOTES} votes", f"{MANY_VOTES} votes or more", "all rows"
"""The populations."""

CASES = ("ideal", "proto", "edge", "mixed")
"""By the host's definitions, on shares of the votes: one class has nearly all; about half is "other" and about half one
of the five patterns; about half and half are two of the five; none of these. Each row is one of them."""

CLASSES = list(CLASS_NAMES)
"""Columns that hold the shares of a row's votes."""

OFFSET = "eeg_label_offset_seconds"
DERIVED = ("start", "n_votes", "top_share", "consensus", "entropy", "many", *CLASSES, "case")
"""Columns that are not in the file."""


def read_windows(data: Path) -> pd.DataFrame:
    """Read `train.csv`, rows with missing values too, and add what `derive` does; errors are those of `read_rows`."""
    return derive(read_rows(data, ("spectrogram_id", "expert_consensus"), complete=False))


def derive(rows: pd.DataFrame) -> pd.DataFrame:
    """Add what follows from a row's votes, of which a missing one counts as none.

    `n_votes`; the share of each class in a column of its name, NaN without votes; `top_share`, the largest of them;
    `consensus`, the class with the most votes (the first of equals, as in the competition's file), NaN without votes;
    `entropy`, of the shares, in nats; `many`, whether there are at least `MANY_VOTES`.
    """
    votes = rows[list(VOTES)].fillna(0).astype(np.int64).set_axis(CLASSES, axis=1)
    n_votes = votes.sum(axis=1)
    shares = votes.div(n_votes, axis=0)
    return rows.assign(
        n_votes=n_votes,
        **shares,
        top_share=shares.max(axis=1),
        consensus=pd.Categorical(votes.idxmax(axis=1).where(n_votes > 0), CLASSES),
        entropy=entr(shares).sum(axis=1),
        many=n_votes >= MANY_VOTES,
    )


def sort_cases(rows: pd.DataFrame, ideal: float, half: float) -> pd.DataFrame:
    """Add each row's `case`, one of `CASES`, NaN without votes.

    In an ideal case one class has MORE than the share `ideal` of the votes, in proto and edge cases two have at least
    the share `half` each. `ideal` is at least one half, and `half` more than a third.
    """
    # A share such as 9 / 20 must count as 0.45 whatever its rounding.
    is_ideal, halves = rows["top_share"] > ideal + 1e-9, rows[CLASSES] >= half - 1e-9
    two = halves.sum(axis=1) == 2
    case = np.select([rows["n_votes"] == 0, is_ideal, two & halves["Other"], two], ["", *CASES[:3]], CASES[3])
    return rows.assign(case=pd.Categorical(case, list(CASES)))


def list_votes(row: pd.Series) -> dict[str, int]:
    """Return how many votes a row has for each class that has any."""
    return {name: int(row[vote]) for name, vote in zip(CLASSES, VOTES, strict=True) if row[vote] > 0}


def split_populations(rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows that have votes, by population, as far as there are any."""
    voted = rows[rows["n_votes"] > 0]
    parts = {FEW: voted[~voted["many"]], MANY: voted[voted["many"]], ALL: voted}
    return {name: part for name, part in parts.items() if len(part)}


def count_missing(rows: pd.DataFrame) -> pd.Series:
    """Return how many values each column of the file lacks."""
    return rows.drop(columns=list(DERIVED), errors="ignore").isna().sum()


def list_files(data: Path, rows: pd.DataFrame) -> dict[int, Path]:
    """Return the recordings' files by id: all of `train_eegs`, and those of `test_eegs` that `train.csv` names."""
    named = set(rows["eeg_id"].dropna().astype(np.int64))
    paths = [path for folder in reversed(RECORDING_FOLDERS) for path in sorted((data / folder).glob("*.parquet"))]
    files = {int(path.stem): path for path in paths if path.stem.isdigit()}
    return {eeg_id: path for eeg_id, path in files.items() if path.parent.name == "train_eegs" or eeg_id in named}
