"""The competition's tables: `train.csv`, `test.csv` and `test_votes.csv`, read and checked in one place.

A row of `train.csv` is one labelled window, which begins `eeg_label_offset_seconds` after the recording. `to_sample` is
the only rule from seconds to samples, and `kernel.recording.place_window` the only one that keeps a window inside its
recording: training, the cache and the drawings see the same samples.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from kernel.constants import SFREQ, VOTES

MANY_VOTES = 10
"""Rows with at least so many votes are like those of the hidden test, as far as is known."""

COLUMNS = ("eeg_id", "patient_id", "eeg_label_offset_seconds", *VOTES)
"""What `read_rows` needs of `train.csv`."""

RECORDING_FOLDERS = ("train_eegs", "test_eegs")
"""Where recordings lie; a folder of real recordings with votes may have `train.csv` beside `test_eegs/`."""

Seconds = TypeVar("Seconds", float, np.ndarray, pd.Series)

_EXPECTED = {
    "eeg_label_offset_seconds": "seconds from the recording's start, not negative",
    **dict.fromkeys(VOTES, "a count of votes: 0, 1, 2, ..."),
}


def to_sample(seconds: Seconds) -> Seconds:
    """Return the number of the sample nearest to a time in seconds; NaN stays NaN, the type stays the same."""
    samples: Seconds = np.rint(seconds * SFREQ)
    return samples


def read_table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """Read a CSV file that must have certain columns and at least one row."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a table with {', '.join(columns)}")
    try:
        table = pd.read_csv(path)
    except (ValueError, OSError) as error:  # pandas' parser errors and bad encodings are ValueErrors
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path}: not a readable CSV file ({reason}); expected {', '.join(columns)}") from error
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise ValueError(f"{path}: lacks the column {', '.join(missing)}; found {', '.join(map(str, table.columns))}")
    if table.empty:
        raise ValueError(f"{path}: has no rows; copy it again")
    return table


def read_ids(path: Path) -> np.ndarray:
    """Read the recordings that `test.csv` asks for: (n,), int64, in the file's order, each once."""
    ids = read_table(path, ("eeg_id",))["eeg_id"]
    if not pd.api.types.is_integer_dtype(ids):
        raise ValueError(f"{path}: eeg_id must hold whole numbers, found {ids.iloc[0]!r} ... ({ids.dtype})")
    twice = ids[ids.duplicated()]
    if len(twice):
        raise ValueError(f"{path}: eeg_id {twice.iloc[0]} appears twice ({len(twice)} duplicates); each must be unique")
    return ids.to_numpy(np.int64)


def read_rows(data: Path, columns: tuple[str, ...] = (), *, complete: bool = True) -> pd.DataFrame:
    """Read `train.csv`, which must have `columns` beside `COLUMNS`; a wrong value is an error that names its line.

    The file's columns come with two more: `start`, the first sample of the window, and `n_votes`. Numbers are int64.
    Unless `complete`, rows with a missing value or without votes are kept too, for a report about the table itself,
    and columns with missing values are floats.
    """
    path = data / "train.csv"
    if not data.is_dir():
        raise FileNotFoundError(f"{data}: no such folder; expected one in the competition's layout, with train.csv")
    rows = read_table(path, (*COLUMNS, *columns))
    for name in COLUMNS:
        rows[name] = _check_numbers(path, rows[name], complete)
    rows["start"] = to_sample(rows["eeg_label_offset_seconds"])
    rows["n_votes"] = rows[list(VOTES)].sum(axis=1)
    if complete:
        if not rows["n_votes"].all():
            line = int(np.flatnonzero(rows["n_votes"] == 0)[0]) + 2
            raise ValueError(f"{path}: line {line} has no votes; take it out, a window without votes teaches nothing")
        rows["start"] = rows["start"].astype(np.int64)
    return rows


def read_patterns(data: Path) -> pd.DataFrame:
    """Read `train.csv` as one row for each recording and vote pattern, ordered by recording.

    Overlapping windows of one recording with the same votes are one observation: the competition's 106,800 windows are
    20,183 of them. The columns are eeg_id, patient_id, the six votes, `n_votes`, `starts` (a rising tuple of the
    windows' first samples) and `path`, the recording's file.
    """
    rows, folder = read_rows(data), find_recordings(data)
    groups = rows.groupby(["eeg_id", "patient_id", *VOTES])["start"]
    patterns = groups.agg(lambda starts: tuple(sorted(set(starts)))).rename("starts").reset_index()
    patterns["n_votes"] = patterns[list(VOTES)].sum(axis=1)
    patterns["path"] = [folder / f"{eeg_id}.parquet" for eeg_id in patterns["eeg_id"]]
    return patterns


def read_votes(data: Path, ids: np.ndarray) -> pd.DataFrame | None:
    """Read the shares of the six votes of recordings from `test_votes.csv`, or else from `train.csv`.

    The table has `eeg_id` and the shares over all rows of a recording, in the order of `ids`; it is None where neither
    file has all recordings.
    """
    for path in filter(Path.is_file, (data / "test_votes.csv", data / "train.csv")):
        table = read_table(path, ("eeg_id", *VOTES))
        for name in ("eeg_id", *VOTES):
            table[name] = _check_numbers(path, table[name], complete=True)
        counts = table.groupby("eeg_id")[list(VOTES)].sum()
        if set(ids) <= set(counts.index):
            counts = counts.loc[ids]
            totals = counts.sum(axis=1)
            if not totals.all():
                raise ValueError(f"{path}: eeg_id {totals.idxmin()} has no votes; take it out")
            return counts.div(totals, axis=0).reset_index()
    return None


def find_recordings(data: Path) -> Path:
    """Return the folder of a data set's labelled recordings: `train_eegs`, or `test_eegs` where there is no other."""
    for name in RECORDING_FOLDERS:
        if (data / name).is_dir():
            return data / name
    raise FileNotFoundError(f"{data / 'train_eegs'}: no such folder; the recordings of train.csv belong there")


def _check_numbers(path: Path, column: pd.Series, complete: bool) -> pd.Series:
    """Return a column as numbers, or name the first line that holds none: whole ones but for the offset."""
    name = str(column.name)
    values = pd.to_numeric(column, errors="coerce")
    wrong = np.isinf(values) | values.isna() & (column.notna() | complete)
    if name in _EXPECTED:
        wrong |= values < 0
    whole = name != "eeg_label_offset_seconds"
    if whole:
        wrong |= values.notna() & (values % 1 != 0)
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"{path}: {name} in line {first + 2} is {column.iloc[first]}, expected "
            f"{_EXPECTED.get(name, 'a whole number')} ({int(wrong.sum())} such values in the column); "
            "fix the file or copy it again"
        )
    return values.astype(np.int64) if whole and complete else values
