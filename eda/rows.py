"""Reads `train.csv` and derives what every part of the report asks of a row; a row is one labelled window.

Called by `report.py` and `show.py`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from kernel.constants import CLASS_NAMES, VOTES

ID_COLUMNS = ("eeg_id", "spectrogram_id", "patient_id")
COLUMNS = (*ID_COLUMNS, "eeg_label_offset_seconds", "expert_consensus", *VOTES)
"""What the report reads; further columns are only looked through for missing values."""

DERIVED = ("n_votes", "top_share", "consensus", "entropy", "many")
"""What `derive` adds."""

MANY_VOTES = 10
"""From here on a row belongs to the population that the hidden test resembles."""

_COUNT = "a count of votes: 0, 1, 2, ..."
_EXPECTED = {"eeg_id": "a whole number", "eeg_label_offset_seconds": "seconds from the recording's start"}

RECORDING_FOLDERS = ("train_eegs", "test_eegs")


def read_rows(data: Path) -> pd.DataFrame:
    """Read and check `train.csv`, and add what is derived from a row's votes.

    Parameters
    ----------
    data : Path
        A folder in the competition's layout.

    Returns
    -------
    rows : DataFrame
        The file's columns, and: `n_votes`; `top_share`, the largest share of the votes, NaN
        without votes; `consensus`, the class with the most votes as `CLASS_NAMES` spells it (the first of equals,
        as in the competition's file), "" without votes; `entropy`, of the shares, in nats; `many`, whether there are
        at least `MANY_VOTES`.

    Raises
    ------
    FileNotFoundError
        If there is no such folder or file.
    ValueError
        If the file cannot be read, has no rows, lacks columns, or has votes that are not counts.
    """
    path = data / "train.csv"
    if not data.is_dir():
        raise FileNotFoundError(f"{data}: no such folder; expected one in the competition's layout, with train.csv")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; the report starts from train.csv: download it, or simulate one")
    try:
        rows = pd.read_csv(path)
    except (ValueError, OSError) as error:  # pandas' parser errors and bad encodings are ValueErrors
        raise ValueError(f"{path}: not a readable CSV file ({_first_line(error)}); copy it again") from error
    missing = [name for name in COLUMNS if name not in rows.columns]
    if missing:
        found = ", ".join(map(str, rows.columns[:5]))
        raise ValueError(
            f"{path}: lacks the columns {', '.join(missing)}; found {found}, ...; is it the right train.csv?"
        )
    if rows.empty:
        raise ValueError(f"{path}: has a header and no rows; copy it again")
    _check_numbers(path, rows)
    return derive(rows)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _check_numbers(path: Path, rows: pd.DataFrame) -> None:
    """Raise ValueError at the first vote that is not a count, id that is no number, or offset that is no time."""
    whole = ("eeg_id", *VOTES)
    for name in (*whole, "eeg_label_offset_seconds"):
        values = pd.to_numeric(rows[name], errors="coerce")
        unread = rows[name].notna() & values.isna()
        wrong = unread | (values < 0) | np.isinf(values)
        if name in whole:
            wrong |= values.notna() & (values % 1 != 0)
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            raise ValueError(
                f"{path}: {name} in line {first + 2} is {rows[name].iloc[first]}, expected "
                f"{_EXPECTED.get(name, _COUNT)} ({int(wrong.sum())} such values in the column); "
                "mend the file or copy it again"
            )
        rows[name] = values


def derive(rows: pd.DataFrame) -> pd.DataFrame:
    """Add the columns that `read_rows` describes."""
    rows = rows.copy()
    votes = count_votes(rows)
    rows["n_votes"] = votes.sum(axis=1)
    share = shares(rows)
    rows["top_share"] = share.max(axis=1)
    rows["consensus"] = np.where(rows["n_votes"] > 0, np.array(CLASS_NAMES)[votes.argmax(axis=1)], "")
    with np.errstate(divide="ignore", invalid="ignore"):
        rows["entropy"] = -np.where(share > 0, share * np.log(share), 0).sum(axis=1)
    rows["many"] = rows["n_votes"] >= MANY_VOTES
    return rows


def count_votes(rows: pd.DataFrame) -> np.ndarray:
    """Return the votes of each row: (n_rows, 6), int64; a missing vote counts as none."""
    return rows[list(VOTES)].fillna(0).to_numpy(np.int64)


def shares(rows: pd.DataFrame) -> np.ndarray:
    """Return the votes of each row divided by their number: (n_rows, 6), float64, NaN where a row has no votes."""
    votes = count_votes(rows).astype(np.float64)
    with np.errstate(invalid="ignore"):
        return votes / votes.sum(axis=1, keepdims=True)


def find_recordings(data: Path, rows: pd.DataFrame) -> dict[int, Path]:
    """Return the recordings' files by id: all of `train_eegs`, and those of `test_eegs` that `train.csv` names."""
    files: dict[int, Path] = {}
    named = set(rows["eeg_id"].dropna().astype(np.int64))
    for folder in reversed(RECORDING_FOLDERS):
        for path in sorted((data / folder).glob("*.parquet")):
            if path.stem.isdigit() and (folder == "train_eegs" or int(path.stem) in named):
                files[int(path.stem)] = path
    return files
