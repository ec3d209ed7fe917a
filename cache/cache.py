"""The cache: windows read and prepared once, in a folder that several networks, folds and epochs read from.

It holds the channels of every labelled stretch, from which each epoch builds its inputs after whatever augmentation;
or, where asked for, the inputs of one network. `cache.build` writes it. Needs numpy alone beside this package.

    cache = open_cache(folder, content)   # None for channels, or an input's configuration; ValueError: what differs
    keys = [(eeg_id, start), ...]         # start: the window's first sample
    (eeg_id, start) in cache              # what is not cached is read the usual way (`kernel.recording`)
    batch = cache.read(keys)              # float32 (n, 18, 10000), or inputs (n, *content.shape(18, 10000))

The folder holds `config.json`, `pieces.npy` (int64 (n, 2): eeg_id and first sample of each record, in order) and
`shard_00000.npy`, ... with `pieces_per_shard` records each: a structured array (`record_type`) that any NumPy opens.

Why channels (`python build.py bench cache`: ms of processor time a window, on a machine busy with other work):

    read from     MB a window    build    raw_1d    ... augmented    scalogram_b2    ... augmented
    recordings              -        -       9.0             10.2            13.6             14.4
    channels             0.12      2.1       5.2              6.9            11.1             10.6
    inputs               0.46      9.9       0.6      for 45 % only            4.1    for 45 % only

Noise, band-stop, mixup and crop need channels: 55 % of the windows of a recipe with all four could not use inputs. Four
cores' worth of 1,000 augmented windows a second would be 4 ms; most of what is missing is the scalogram itself.

Channels are stored in 16 bits between the least and the greatest value of 10 s. This moves a probability of `raw_1d` by
up to 3e-5 on 100 real recordings, where one range for the window moves it by 6e-5, float16 by 3e-4, 8 bits by 1.4e-2.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from cache.config import BUILD, CONFIG, check_config, read_pieces
from cache.shard import (
    BLOCK,
    HEADER,
    Content,
    Key,
    decode,
    is_intact,
    pieces_per_shard,
    read_count,
    record_type,
    shard_path,
)
from kernel.constants import WINDOW_SAMPLES
from kernel.montage import CHANNELS
from kernel.recording import pad_window, place_window, repair_gaps

REPAIR = "run `python build.py cache` again with the same arguments, which repairs it"


def open_cache(folder: Path, content: Content) -> Cache:
    """Open a cache for reading, after comparing it with what is asked for and with this code; takes 20 ms."""
    check_config(Path(folder), content)
    return Cache(Path(folder), content, read_pieces(Path(folder)))


def find_cache(root: Path, content: Content) -> Cache:
    """Open the cache under `root` that holds what is asked for, or say what each cache there holds instead."""
    reasons = []
    for folder in sorted(path.parent for path in Path(root).glob(f"*/{CONFIG}")):
        try:
            return open_cache(folder, content)
        except ValueError as error:
            reasons.append(str(error))
    if not reasons:
        raise FileNotFoundError(f"{root}: no cache there; {BUILD}")
    raise ValueError("; ".join(reasons))


class Cache:
    """A cache open for reading; any number of processes and threads may, while it is being built or repaired."""

    def __init__(self, folder: Path, content: Content, keys: np.ndarray) -> None:
        self.folder, self.content = folder, content
        n_channels = len(CHANNELS)
        self.shape = content.shape(n_channels, WINDOW_SAMPLES) if content else (n_channels, WINDOW_SAMPLES)
        """Of one window, as it is read."""
        self._type, self._per_shard = record_type(content), pieces_per_shard(content)
        self._keys = keys
        per = self._per_shard
        counts = [
            read_count(shard_path(folder, first // per), content, len(keys[first : first + per]))
            for first in range(0, len(keys), per)
        ]
        stored = np.flatnonzero(np.arange(len(keys)) % per < np.repeat(counts, per)[: len(keys)])
        self.keys = keys[stored]
        """The stored pieces, (n, 2)."""
        self._rows: dict[Key, int] = dict(zip(map(tuple, self.keys.tolist()), stored.tolist(), strict=True))
        self._checked = np.zeros(len(keys), bool)
        self._lengths: dict[int, int] = {}

    def __len__(self) -> int:
        """Return the number of stored pieces."""
        return len(self._rows)

    def __contains__(self, key: Key) -> bool:
        """Tell whether the whole window is stored."""
        try:
            self._find(key)
        except KeyError:
            return False
        return True

    def read(self, keys: Iterable[Key] | np.ndarray) -> np.ndarray:
        """Read windows, in the order asked.

        Parameters
        ----------
        keys : sequence of (eeg_id, start), or ndarray, shape (n, 2), int
            Which windows; each must be in the cache.

        Returns
        -------
        windows : ndarray, shape (n, 18, 10000) or (n, *content.shape(18, 10000)), float32
            What `read_channels` or `build_input` gives, each value within half a step: 1/131,068 of its channel's
            range within 10 s, or 1/510 of its input's row.

        Raises
        ------
        KeyError
            If a window is not in the cache.
        FileNotFoundError, ValueError
            If a shard is gone, truncated or altered: the file is named. Each piece is verified when first read.
        """
        keys = list(keys)
        windows = np.empty((len(keys), *self.shape), np.float32)
        for window, key in zip(windows, keys, strict=True):
            window[...] = self._read_window(key)
        return windows

    def _read_window(self, key: Key) -> np.ndarray:
        rows, first, last = self._find(key)
        values = decode(self._read_records(rows))
        if self.content:
            return values[0]
        channels = values.transpose(1, 0, 2).reshape(values.shape[1], -1)
        return pad_window(repair_gaps(channels[:, first:last]))

    def _find(self, key: Key) -> tuple[list[int], int, int]:
        """Return the rows that hold a window, and where it starts and stops in their samples."""
        eeg_id, start = int(key[0]), int(key[1])
        if self.content:
            return [self._rows[eeg_id, start]], 0, 0
        n_samples = self._lengths.get(eeg_id)
        if n_samples is None:
            n_samples = int(self._read_records([self._rows[eeg_id, start // BLOCK * BLOCK]])["n_samples"][0])
            self._lengths[eeg_id] = n_samples
        start = place_window(start, n_samples)
        stop = min(start + WINDOW_SAMPLES, n_samples)
        begin = start // BLOCK * BLOCK
        return [self._rows[eeg_id, at] for at in range(begin, stop, BLOCK)], start - begin, stop - begin

    def _read_records(self, rows: list[int]) -> np.ndarray:
        records = np.empty(len(rows), self._type)
        for place, row in enumerate(rows):
            self._read_record(row, records[place : place + 1])
        return records

    def _read_record(self, row: int, record: np.ndarray) -> None:
        """Read one record into an array, shape (1,); it is verified when this process reads it first."""
        shard, place = divmod(row, self._per_shard)
        path = shard_path(self.folder, shard)
        try:
            with path.open("rb", buffering=0) as file:
                file.seek(HEADER + place * record.itemsize)
                read = file.readinto(record.view(np.uint8).data)
        except FileNotFoundError:
            raise FileNotFoundError(f"{path}: no such file any more; {REPAIR}") from None
        if read != record.itemsize:
            raise ValueError(f"{path}: truncated, record {place} is not whole; {REPAIR}")
        if not self._checked[row] and not is_intact(record, self._keys[row]):
            raise ValueError(f"{path}: altered, the checksum of record {place} differs; {REPAIR}")
        self._checked[row] = True
