"""The cache: the channels of every labelled stretch, read once, in a folder that all networks, folds and epochs share.

Each epoch builds its inputs from them, after whatever augmentation. `cache.build` writes it. Reading needs numpy alone
beside this package, and any number of processes and threads may, while it is being built or repaired.

    cache = Cache(folder)
    channels = cache.read(eeg_id, start)   # (18, 10000); KeyError: not stored, read the recording itself

The folder holds `config.json` (format, and the montage's numbers), `pieces.npy` (int64 (n, 2): eeg_id and first sample
of each record, in order) and `shard_00000.npy`, ... with `PER_SHARD` records each, which any NumPy opens.

Why channels, and not scalograms (ms of processor time a window, on a machine busy with other work):

    read from     MB a window    build    raw_1d    ... augmented    scalogram_b2    ... augmented
    recordings              -        -       9.0             10.2            13.6             14.4
    channels             0.12      2.1       5.2              6.9            11.1             10.6
    scalograms           0.46      9.9       0.6      for 45 % only            4.1    for 45 % only

Noise, band-stop, mixup and crop change the channels, so 55 % of the windows of a recipe with all four could not use a
stored scalogram. `python build.py bench cache` measures the first two rows.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from cache.shard import BLOCK, HEADER, PER_SHARD, RECORD, Key, decode, is_intact, read_count, shard_path
from kernel.constants import EEG_ELECTRODES, WINDOW_SAMPLES
from kernel.files import replacing
from kernel.montage import build_montage
from kernel.recording import pad_window, place_window, repair_gaps

FORMAT = 3
CONFIG, PIECES = "config.json", "pieces.npy"
BUILD = "`python build.py cache --data DIR` builds one"
REPAIR = "run `python build.py cache` again with the same arguments, which repairs it"


def create_cache(folder: Path, keys: np.ndarray) -> None:
    """Write a cache's configuration and its list of pieces, int64 (n, 2); the shards follow by `write_shard`."""
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / CONFIG) as part:
        part.write_text(json.dumps(_describe(), indent=2) + "\n")
    with replacing(folder / PIECES) as part, part.open("wb") as file:
        np.save(file, np.ascontiguousarray(keys, "<i8").reshape(-1, 2))


def read_pieces(folder: Path) -> np.ndarray:
    """Return the pieces that a cache lists, int64 (n, 2), be they stored yet or not.

    Raises
    ------
    FileNotFoundError, ValueError
        If the folder holds no cache, or one of another format or montage than this code's: what differs is named.
    """
    path, expected = folder / CONFIG, _describe()
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {BUILD}")
    try:
        found = json.loads(path.read_text())
        differs = [
            f"{name} is {found[name]} there, {expected[name]} here"
            for name in expected
            if found[name] != expected[name]
        ]
        pieces: np.ndarray = np.load(folder / PIECES)
    except (OSError, ValueError, EOFError, KeyError, TypeError) as error:
        raise ValueError(f"{folder}: not a readable cache ({error!r}); remove it and build it again") from None
    if differs:
        raise ValueError(f"{folder}: was written by other code: {'; '.join(differs)}; remove it and build it again")
    return pieces


def _describe() -> dict[str, Any]:
    """Return what a cache's numbers depend on: its format, and what the montage makes of numbered electrodes."""
    squares = np.arange(len(EEG_ELECTRODES), dtype=np.float32)[:, None] ** 2  # of which no two differ by the same
    return {"format": FORMAT, "montage": build_montage(squares)[:, 0].tolist()}


class Cache:
    """A cache open for reading, after comparing it with this code."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.planned = folder, read_pieces(folder)
        counts = [read_count(shard_path(folder, index)) for index in range(-(-len(self.planned) // PER_SHARD))]
        keys = map(tuple, self.planned.tolist())
        self.rows: dict[Key, int] = {
            key: row for row, key in enumerate(keys) if row % PER_SHARD < counts[row // PER_SHARD]
        }
        """The stored pieces, and where each is."""
        self._checked = np.zeros(len(self.planned), bool)
        self._lengths: dict[int, int] = {}

    def __len__(self) -> int:
        """Return the number of stored pieces."""
        return len(self.rows)

    def read(self, eeg_id: int, start: int) -> np.ndarray:
        """Read the window of a recording that begins at the sample `start`.

        Returns
        -------
        channels : ndarray, shape (18, 10000), float32
            What `read_channels` gives, each value within half a step: 1/131,068 of its channel's range within 10 s.

        Raises
        ------
        KeyError
            If not all of the window is stored.
        FileNotFoundError, ValueError
            If a shard is gone, truncated or altered: the file is named. Each piece is verified when first read.
        """
        if eeg_id not in self._lengths:
            self._lengths[eeg_id] = int(self._read_record(self.rows[eeg_id, start // BLOCK * BLOCK])["n_samples"][0])
        n_samples = self._lengths[eeg_id]
        start = place_window(start, n_samples)
        stop = min(start + WINDOW_SAMPLES, n_samples)
        begin = start // BLOCK * BLOCK
        rows = [self.rows[eeg_id, at] for at in range(begin, stop, BLOCK)]
        channels = np.concatenate([decode(self._read_record(row)) for row in rows], axis=1)
        return pad_window(repair_gaps(channels[:, start - begin : stop - begin]))

    def _read_record(self, row: int) -> np.ndarray:
        """Read one record, shape (1,)."""
        shard, place = divmod(row, PER_SHARD)
        path, record = shard_path(self.folder, shard), np.empty(1, RECORD)
        try:
            with path.open("rb", buffering=0) as file:
                file.seek(HEADER + place * RECORD.itemsize)
                read = file.readinto(record.view(np.uint8).data)
        except FileNotFoundError:
            raise FileNotFoundError(f"{path}: no such file any more; {REPAIR}") from None
        if read != RECORD.itemsize:
            raise ValueError(f"{path}: truncated, record {place} is not whole; {REPAIR}")
        if not self._checked[row] and not is_intact(record, self.planned[row]):
            raise ValueError(f"{path}: altered, the checksum of record {place} differs; {REPAIR}")
        self._checked[row] = True
        return record
