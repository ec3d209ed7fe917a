"""Inputs computed once: a folder of windows that several networks, folds and passes read instead of computing again.

Written by `dataset_builder/cache.py` over a whole data set, or by whoever passes over the same windows more than once
(`create_cache`, then `write_shard` for each shard); read by training. Needs numpy alone beside this package.

    cache = open_cache(folder, config)       # ValueError names each field in which the store differs from `config`
    keys = [(eeg_id, start), ...]            # start: the window's first sample, CENTRE for a recording's middle
    (eeg_id, start) in cache                 # what is not stored is built the usual way (`kernel.inputs.build_input`)
    batch = cache.read(keys)                 # float32 (n, *config.shape(18, 10000)); also `cache.read(keys, out=...)`

The folder holds `config.json`, `windows.npy` (int64 (n, 2): eeg_id and start; window i is record i % 64 of shard
i // 64) and `shard_00000.npy`, ... of up to 64 records each: a structured array (`record_type`) that any NumPy opens.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from cache.shard import HEADER, Key, decode, is_intact, read_count, record_type, shard_path, write_whole
from kernel.constants import EEG_ELECTRODES, SFREQ, WINDOW_SAMPLES
from kernel.inputs import InputConfig, build_input, from_json, to_json
from kernel.montage import CHANNELS
from kernel.recording import build_channels

FORMAT = 1
CONFIG, WINDOWS = "config.json", "windows.npy"

WINDOWS_PER_SHARD = 64
"""The unit of work and of loss: 29 MB of scalograms, half a second of one core."""

READ_AHEAD = 32
"""Windows asked from the disk at once."""

CENTRE = -1
"""The start of a window that is the centre of its recording."""

MEND = "run `python build.py cache` again with the same arguments, which mends it"


def create_cache(folder: Path, config: InputConfig, keys: np.ndarray) -> None:
    """Write a store's configuration and its list of windows, int64 (n, 2); the shards follow by `write_shard`.

    Raises
    ------
    ValueError
        If the folder holds a store of another configuration: the fields are named.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / CONFIG).exists():
        check_config(folder, config)
    else:
        values = {"format": FORMAT, "input": to_json(config), "probe": _probe(config)}
        write_whole(folder / CONFIG, [(json.dumps(values, indent=2) + "\n").encode()])
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(keys, "<i8").reshape(-1, 2))
    write_whole(folder / WINDOWS, [file.getvalue()])


def read_config(folder: Path) -> tuple[InputConfig, np.ndarray]:
    """Return what a store holds, and the values of the fixed signal that its writer's code computed.

    Raises
    ------
    FileNotFoundError, ValueError
        If the folder holds no store, or one that this code cannot read.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; `python build.py cache --data DIR` writes a store")
    try:
        values = json.loads(path.read_text())
        version, stored, probe = values["format"], values["input"], np.array(values["probe"], float)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a store's configuration ({error!r}); remove {folder} and build again") from None
    if version != FORMAT:
        raise ValueError(f"{path}: format {version}, this code reads {FORMAT}; remove {folder} and build again")
    return from_json(stored, str(path)), probe


def check_config(folder: Path, config: InputConfig) -> None:
    """Hold a store against a configuration and against this code.

    Raises
    ------
    FileNotFoundError
        If the folder holds no store.
    ValueError
        Naming each field in which the two differ, or that the code now computes other numbers.
    """
    stored, probe = read_config(folder)
    found, asked = to_json(stored), to_json(config)
    names = [name for name in {**found, **asked} if found.get(name) != asked.get(name)]
    if names:
        said = ", ".join(f"{name} is {found.get(name)} there, {asked.get(name)} asked" for name in names)
        raise ValueError(f"{folder}: holds another input: {said}; build a store for this one in another folder")
    if not np.allclose(probe, _probe(config), rtol=1e-3, atol=1e-3):
        raise ValueError(
            f"{folder}: the code computes other numbers from the same configuration now; remove it and build again"
        )


def open_cache(folder: Path, config: InputConfig) -> Cache:
    """Open a store for reading, after holding it against `config` and this code (`check_config`); takes 20 ms."""
    folder = Path(folder)
    check_config(folder, config)
    return Cache(folder, config, read_windows(folder))


def read_windows(folder: Path) -> np.ndarray:
    """Return the windows that a store lists, int64 (n, 2), be they stored yet or not."""
    path = folder / WINDOWS
    try:
        return np.load(path)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path}: not readable ({error}); remove {folder} and build again") from None


def find_cache(root: Path, config: InputConfig) -> Cache:
    """Open the store under `root` that holds `config`.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is none: what each store there holds instead. The caller then computes, and says so.
    """
    folders = sorted(path.parent for path in Path(root).glob(f"*/{CONFIG}"))
    reasons = []
    for folder in folders:
        try:
            return open_cache(folder, config)
        except ValueError as error:
            reasons.append(str(error))
    if not reasons:
        raise FileNotFoundError(f"{root}: no store there; `python build.py cache --data DIR` writes one")
    raise ValueError("; ".join(reasons))


class Cache:
    """A store open for reading; any number of processes and threads may, while it is being built or mended."""

    def __init__(self, folder: Path, config: InputConfig, keys: np.ndarray) -> None:
        self.folder, self.config = folder, config
        self.shape = config.shape(len(CHANNELS), WINDOW_SAMPLES)
        self._type = record_type(config)
        self._keys = keys
        counts = [
            read_count(shard_path(folder, first // WINDOWS_PER_SHARD), config, len(keys[first:][:WINDOWS_PER_SHARD]))
            for first in range(0, len(keys), WINDOWS_PER_SHARD)
        ]
        rows = np.flatnonzero(
            np.arange(len(keys)) % WINDOWS_PER_SHARD < np.repeat(counts, WINDOWS_PER_SHARD)[: len(keys)]
        )
        self.keys = keys[rows]
        self._rows = {(key[0], key[1]): row for key, row in zip(self.keys.tolist(), rows.tolist(), strict=True)}
        self._checked = np.zeros(len(keys), bool)

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: Key) -> bool:
        return (int(key[0]), int(key[1])) in self._rows

    def read(self, keys: Iterable[Key] | np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Read windows, in the order asked.

        Parameters
        ----------
        keys : sequence of (eeg_id, start), or ndarray, shape (n, 2), int
            Which windows; each must be in the store.
        out : ndarray, shape (n, *shape), float32, optional
            Where to put them; a fresh array by default.

        Returns
        -------
        inputs : ndarray, shape (n, *shape), float32
            Within half a step, 1/510 of each row's range, of what `build_input` gives.

        Raises
        ------
        KeyError
            If a window is not in the store.
        FileNotFoundError, ValueError
            If a shard is gone, truncated or altered: the file is named. Each window is verified when first read.
        """
        rows = [self._rows[int(eeg_id), int(start)] for eeg_id, start in keys]
        if out is None:
            out = np.empty((len(rows), *self.shape), np.float32)
        elif out.shape != (len(rows), *self.shape) or out.dtype != np.float32:
            raise ValueError(f"out must be float32 {(len(rows), *self.shape)}, found {out.dtype} {out.shape}")
        buffer = np.empty(1, self._type)
        for first in range(0, len(rows), READ_AHEAD):
            block = rows[first : first + READ_AHEAD]
            with ExitStack() as stack:
                files = [self._ask(row, stack) for row in block]
                for place, row, file in zip(out[first:], block, files, strict=False):
                    self._read(row, file, buffer)
                    decode(buffer[0], place)
        return out

    def _place(self, row: int) -> tuple[Path, int]:
        shard, index = divmod(row, WINDOWS_PER_SHARD)
        return shard_path(self.folder, shard), HEADER + index * self._type.itemsize

    def _ask(self, row: int, stack: ExitStack) -> int:
        """Open a window's shard and have the system fetch the window, so that a batch's reads go to disk together."""
        path, offset = self._place(row)
        try:
            file = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            raise FileNotFoundError(f"{path}: no such file any more; {MEND}") from None
        stack.callback(os.close, file)
        if not self._checked[row] and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file, offset, self._type.itemsize, os.POSIX_FADV_WILLNEED)
        return file

    def _read(self, row: int, file: int, buffer: np.ndarray) -> None:
        """Read one record into `buffer`, verified when this process reads it for the first time."""
        path, offset = self._place(row)
        content = buffer.view(np.uint8)
        if os.preadv(file, [content.data], offset) != len(content):
            raise ValueError(f"{path}: truncated, window {row % WINDOWS_PER_SHARD} is not whole; {MEND}")
        if not self._checked[row]:
            if not is_intact(buffer, self._keys[row]):
                raise ValueError(f"{path}: altered, the checksum of window {row % WINDOWS_PER_SHARD} differs; {MEND}")
            self._checked[row] = True


def _probe(config: InputConfig) -> list[float]:
    """Return 64 values of the input of a fixed signal with gaps: they change when the code that computes changes."""
    times = np.arange(WINDOW_SAMPLES) / SFREQ
    rates = 0.4 + 1.7 * np.arange(len(EEG_ELECTRODES))
    electrodes = (40 * np.sin(2 * np.pi * np.outer(rates, times * (1 + 0.01 * times)))).astype(np.float32)
    electrodes[3, 500:700] = electrodes[8, :400] = np.nan
    values = build_input(build_channels(electrodes), config).reshape(-1)
    return [round(float(value), 5) for value in values[np.linspace(0, len(values) - 1, 64).astype(int)]]
