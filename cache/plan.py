"""Chooses what of a data set is cached: its labelled windows, and the pieces of its recordings that hold them.

The competition's 106,800 labelled windows overlap, and training draws another one of each vote pattern in every epoch:
a random shift is worth more than most augmentations, and here it is a free one.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np

from cache.shard import BLOCK, Key
from kernel.constants import SFREQ, WINDOW_SAMPLES
from kernel.recording import read_length
from kernel.table import read_patterns

MARGIN = SFREQ
"""Samples that are cached before and after a labelled window: training shifts windows by up to a second."""


def find_windows(data: Path, per_pattern: int | None = None) -> np.ndarray:
    """Return the distinct labelled windows of a data set, int64 (n, 2): (eeg_id, first sample), rising.

    At most `per_pattern` of each recording and vote pattern, evenly spaced; all by default. Errors are those of
    `kernel.table.read_patterns`.
    """
    if per_pattern is not None and per_pattern < 1:
        raise ValueError(f"--per-pattern must be at least 1, found {per_pattern}")
    keys = set()
    for eeg_id, starts in read_patterns(data)[["eeg_id", "starts"]].itertuples(index=False):
        kept = min(len(starts), per_pattern or len(starts))
        keys |= {(eeg_id, starts[int((part + 0.5) * len(starts) / kept)]) for part in range(kept)}
    return np.array(sorted(keys), np.int64)


def find_pieces(windows: np.ndarray, eegs: Path) -> np.ndarray:
    """Return the pieces of recordings that hold some windows and `MARGIN` around them, int64 (n, 2), rising."""
    pieces: set[Key] = set()
    for eeg_id, group in itertools.groupby(windows.tolist(), key=lambda key: key[0]):
        starts = [start for _, start in group]
        path = eegs / f"{eeg_id}.parquet"
        try:
            n_samples = read_length(path)
        except (FileNotFoundError, ValueError):  # the work on its shard will say what is wrong with it
            n_samples = starts[-1] + WINDOW_SAMPLES
        if starts[-1] >= n_samples:
            raise ValueError(
                f"{path}: ends at {n_samples / SFREQ:g} s, but train.csv has a window that starts at "
                f"{starts[-1] / SFREQ:g} s; copy both again"
            )
        last = max(0, n_samples - WINDOW_SAMPLES)
        for start in starts:
            begin = max(0, min(start, last) - MARGIN) // BLOCK * BLOCK
            stop = min(n_samples, min(start, last) + WINDOW_SAMPLES + MARGIN)
            pieces |= {(eeg_id, at) for at in range(begin, stop, BLOCK)}
    return np.array(sorted(pieces), np.int64)
