"""The labelled windows of a data set: which (recording, start) pairs a store of inputs holds. Called by `cache.py`.

A labelled window is a distinct (recording, offset) of `train.csv`: 106,800 at most in the competition's
set, 49 GB as scalograms. They overlap, and the 20,183 distinct (recording, vote pattern) pairs are what an epoch draws
from; but of each pair's windows it should draw another one every time, since a random shift is worth more than most
augmentations, and here it is a free one: every start that the experts labelled is there. A scalogram cannot be shifted
inside itself instead: its edges count the signal outside as zero. Where the disk is small `--per-pattern N` keeps at
most N windows of each pair, evenly spaced: 9 GB with N = 1 (the middle one).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from kernel.constants import SFREQ, VOTES


def find_windows(data: Path, per_pattern: int | None = None) -> np.ndarray:
    """Return the distinct labelled windows of a data set.

    Parameters
    ----------
    data : Path
        A folder in the competition's layout.
    per_pattern : int, optional
        At most so many windows of each (recording, vote pattern), evenly spaced; all by default.

    Returns
    -------
    keys : ndarray, shape (n, 2), int64
        (eeg_id, first sample), rising.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no `train.csv`, it lacks a column, or an offset is no number of seconds.
    """
    path = data / "train.csv"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; --data is a folder in the competition's layout")
    if per_pattern is not None and per_pattern < 1:
        raise ValueError(f"--per-pattern must be at least 1, found {per_pattern}")
    names = ["eeg_id", "eeg_label_offset_seconds", *VOTES]
    try:
        rows = pd.read_csv(path, usecols=names)
    except ValueError as error:
        raise ValueError(f"{path}: {error}; expected the competition's columns") from None
    if len(rows) and not pd.api.types.is_integer_dtype(rows["eeg_id"]):
        raise ValueError(f"{path}: eeg_id must be whole numbers, found {rows['eeg_id'].dtype}")
    seconds = pd.to_numeric(rows["eeg_label_offset_seconds"], errors="coerce").to_numpy(float)
    if not (seconds >= 0).all():
        line = int(np.argmin(seconds >= 0)) + 2
        raise ValueError(f"{path}: line {line}: eeg_label_offset_seconds must be a number of seconds, not negative")
    rows["start"] = np.rint(seconds * SFREQ).astype(np.int64)
    rows = rows.sort_values(["eeg_id", "start"]).drop_duplicates(["eeg_id", "start"])
    if per_pattern is not None:
        groups = rows.groupby(["eeg_id", *VOTES])["start"]
        order, count = groups.cumcount().to_numpy(), groups.transform("size").to_numpy()
        kept = np.minimum(count, per_pattern)
        # Cut the windows into `kept` equal parts and keep those in whose place a part's middle lies.
        passed = [-((count - 2 * place * kept) // (2 * count)) for place in (order, order + 1)]
        rows = rows[passed[1] > passed[0]]
    return rows[["eeg_id", "start"]].to_numpy(np.int64)


def find_recordings(data: Path) -> Path:
    """Return the folder of a data set's labelled recordings: `train_eegs`, or `test_eegs` where there is no other."""
    for name in ("train_eegs", "test_eegs"):
        if (data / name).is_dir():
            return data / name
    raise FileNotFoundError(f"{data / 'train_eegs'}: no such folder; --data is a folder in the competition's layout")
