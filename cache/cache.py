"""The cache: windows read and prepared once, in a folder that several networks, folds and epochs read from.

It holds the channels of every labelled stretch, from which each epoch builds its inputs after whatever augmentation;
or, where asked for, the inputs of one network. `cache.build` writes it. Needs numpy alone beside this package.

    cache = open_cache(folder, content)   # None for channels, or an input's configuration; ValueError: what differs
    keys = [(eeg_id, start), ...]         # start: the window's first sample
    (eeg_id, start) in cache              # what is not cached is read the usual way (`kernel.recording`)
    batch = cache.read(keys)              # float32 (n, 18, 10000), or inputs (n, *content.shape(18, 10000))

The folder holds `config.json`, `pieces.npy` (int64 (n, 2): eeg_id and first sample of each record, in order) and
`shard_00000.npy`, ... with `pieces_per_shard` records each: a structured array (`record_type`) that any NumPy opens.

FIGURES
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

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
from kernel.constants import EEG_ELECTRODES, SFREQ, WINDOW_SAMPLES
from kernel.files import replacing
from kernel.inputs import build_input, from_json, to_json
from kernel.montage import CHANNELS
from kernel.recording import build_channels, pad_window, place_window, repair_gaps

FORMAT = 2
CONFIG, PIECES = "config.json", "pieces.npy"

REPAIR = "run `python build.py cache` again with the same arguments, which repairs it"
BUILD = "`python build.py cache --data DIR` builds one"


def create_cache(folder: Path, content: Content, keys: np.ndarray) -> None:
    """Write a cache's configuration and its list of pieces, int64 (n, 2); the shards follow by `write_shard`.

    Raises
    ------
    ValueError
        If the folder holds a cache of something else: the fields are named.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / CONFIG).exists():
        check_config(folder, content)
    else:
        values = {"format": FORMAT, "content": _to_json(content), "probe": _probe(content)}
        with replacing(folder / CONFIG) as part:
            part.write_text(json.dumps(values, indent=2) + "\n")
    with replacing(folder / PIECES) as part, part.open("wb") as file:
        np.save(file, np.ascontiguousarray(keys, "<i8").reshape(-1, 2))


def read_config(folder: Path) -> tuple[Content, np.ndarray]:
    """Return what a cache holds, and the values of the fixed signal that its writer's code computed.

    Raises
    ------
    FileNotFoundError, ValueError
        If the folder holds no cache, or one that this code cannot read.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {BUILD}")
    try:
        values = json.loads(path.read_text())
        version = values["format"]
        if version != FORMAT:
            raise ValueError(f"{path}: format {version}, this code reads {FORMAT}; remove {folder} and build it again")
        content, probe = values["content"], np.array(values["probe"], float)
        is_channels = content["kind"] == "channels"
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a cache's configuration ({error!r}); remove {folder}, build it again") from None
    return None if is_channels else from_json(content, str(path)), probe


def check_config(folder: Path, content: Content) -> None:
    """Compare a cache with what is asked for and with this code.

    Raises
    ------
    FileNotFoundError
        If the folder holds no cache.
    ValueError
        Naming each field in which the two differ, or that the code now computes other numbers.
    """
    stored, probe = read_config(folder)
    found, asked = _to_json(stored), _to_json(content)
    names = ["kind"] if found["kind"] != asked["kind"] else [name for name in found if found[name] != asked[name]]
    if names:
        said = ", ".join(f"{name} is {found[name]} there, {asked[name]} asked" for name in names)
        raise ValueError(f"{folder}: holds something else: {said}; build a cache for this in another folder")
    if not np.allclose(probe, _probe(content), rtol=1e-3, atol=1e-3):
        raise ValueError(
            f"{folder}: the code computes other numbers from the same configuration now; remove it and build it again"
        )


def open_cache(folder: Path, content: Content) -> Cache:
    """Open a cache for reading, after comparing it with what is asked for and with this code; takes 20 ms."""
    check_config(Path(folder), content)
    return Cache(Path(folder), content, read_pieces(Path(folder)))


def read_pieces(folder: Path) -> np.ndarray:
    """Return the pieces that a cache lists, int64 (n, 2), be they stored yet or not."""
    path = folder / PIECES
    try:
        return np.load(path)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path}: not readable ({error}); remove {folder} and build it again") from None


def find_cache(root: Path, content: Content) -> Cache:
    """Open the cache under `root` that holds what is asked for.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is none: what each cache there holds instead.
    """
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
        """Read records, those that lie side by side at once; verified when this process reads them first."""
        records = np.empty(len(rows), self._type)
        content = records.view(np.uint8).reshape(len(rows), -1)
        done = 0
        while done < len(rows):
            shard, place = divmod(rows[done], self._per_shard)
            count = 1
            while done + count < len(rows) and rows[done + count] == rows[done] + count < (shard + 1) * self._per_shard:
                count += 1
            self._read_run(shard, place, content[done : done + count])
            done += count
        for record, row in zip(range(len(rows)), rows, strict=True):
            if not self._checked[row]:
                if not is_intact(records[record : record + 1], self._keys[row]):
                    path, place = shard_path(self.folder, row // self._per_shard), row % self._per_shard
                    raise ValueError(f"{path}: altered, the checksum of record {place} differs; {REPAIR}")
                self._checked[row] = True
        return records

    def _read_run(self, shard: int, place: int, content: np.ndarray) -> None:
        path = shard_path(self.folder, shard)
        try:
            file = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            raise FileNotFoundError(f"{path}: no such file any more; {REPAIR}") from None
        try:
            read = os.preadv(file, [content.data], HEADER + place * self._type.itemsize)
        finally:
            os.close(file)
        if read != content.size:
            raise ValueError(f"{path}: truncated, record {place + read // self._type.itemsize} is not whole; {REPAIR}")


def _to_json(content: Content) -> dict[str, Any]:
    return to_json(content) if content else {"kind": "channels"}


def _probe(content: Content) -> list[float]:
    """Return 64 values of the content of a fixed signal with gaps: they change when the code that computes changes."""
    times = np.arange(WINDOW_SAMPLES) / SFREQ
    rates = 0.4 + 1.7 * np.arange(len(EEG_ELECTRODES))
    electrodes = (40 * np.sin(2 * np.pi * np.outer(rates, times * (1 + 0.01 * times)))).astype(np.float32)
    electrodes[3, 500:700] = electrodes[8, :400] = np.nan
    channels = build_channels(electrodes)
    values = (build_input(channels, content) if content else channels).reshape(-1)
    return [round(float(value), 5) for value in values[np.linspace(0, len(values) - 1, 64).astype(int)]]
