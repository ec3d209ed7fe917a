"""One shard of a store: up to 64 windows as plain records in a `.npy` file, each with its key, origin and checksum.

Written and read by `cache.py`; checked from end to end by `dataset_builder/cache.py`. A shard appears under its name
whole, and two that hold the same windows are the same bytes.

Why so (`python build.py bench cache_formats cache_types` prints the tables). Of plain records, Arrow, HDF5, Zarr,
TFRecord and a file per window, plain records need no package and only a memory map is read faster, by 0.03 ms of the
0.6 that a window takes until it is float32. But a mapped file that somebody truncates kills its reader, where a short
read is an error with a name. LZ4 and Zstandard save a fifth and two fifths of the size, and take longer to undo than
that saves on a disk of 1 GB/s. A value is one of 256 steps between the least and the greatest of its row: this moves a
probability by up to 8e-4 under the raw network and 6e-4 under a fitted EfficientNetV2-B2, where one range for all rows
moves it by 1.4e-3, and 7 bits by 1.3e-3 and 3e-3; the bound is 1e-3. float16 is more exact, but twice the size, and
widening it costs more than scaling bytes.
"""

from __future__ import annotations

import errno
import io
import itertools
import uuid
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kernel.constants import WINDOW_SAMPLES
from kernel.inputs import InputConfig
from kernel.montage import CHANNELS

HEADER = 1024
"""Bytes of a shard before its first record."""

LEVELS = 255
"""Steps between the least and the greatest value of a row."""

Key = tuple[int, int]


@dataclass(frozen=True)
class Source:
    """The recording that a window was cut from: its file's size and checksum."""

    size: int = 0
    crc32: int = 0


@dataclass(frozen=True)
class Window:
    """One window on its way into a shard: key, input and origin."""

    key: Key
    values: np.ndarray
    source: Source = Source()


def record_type(config: InputConfig) -> np.dtype:
    """Return the type of one stored window: `low + step * codes` are its values; `crc32` covers all that precedes it.

    A row is what lies along the last axis: one frequency of one channel, or one channel of the raw signal.
    """
    shape = config.shape(len(CHANNELS), WINDOW_SAMPLES)
    return np.dtype(
        [
            *(("eeg_id", "<i8"), ("start", "<i8"), ("source_size", "<i8"), ("source_crc32", "<u4")),
            *(("low", "<f4", shape[:-1]), ("step", "<f4", shape[:-1]), ("codes", "u1", shape), ("crc32", "<u4")),
        ]
    )


def encode(window: Window, config: InputConfig) -> np.ndarray:
    """Return a window as the bytes of its record, shape (record_type(config).itemsize,), uint8."""
    record = np.zeros((), record_type(config))
    record["eeg_id"], record["start"] = window.key
    record["source_size"], record["source_crc32"] = window.source.size, window.source.crc32
    low, high = window.values.min(axis=-1), window.values.max(axis=-1)
    step = (high - low) / np.float32(LEVELS)
    codes = (window.values - low[..., None]) / np.where(step > 0, step, np.float32(1))[..., None]
    record["low"], record["step"], record["codes"] = low, step, np.rint(codes, out=codes)
    content = record.reshape(1).view(np.uint8)
    record["crc32"] = zlib.crc32(content[:-4].data)
    return content


def decode(record: np.ndarray, out: np.ndarray) -> None:
    """Write the values of one record, a scalar of `record_type`, to `out`, float32."""
    np.copyto(out, record["codes"])
    out *= record["step"][..., None]
    out += record["low"][..., None]


def shard_path(folder: Path, index: int) -> Path:
    """Return where a shard lies."""
    return folder / f"shard_{index:05d}.npy"


def write_whole(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write a file under a temporary name and rename it, so that a broken file never has the name."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with part.open("wb") as file:
            file.writelines(parts)
        part.replace(path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            said = f"no space left to write {path}: free some, then run the same command again to go on"
            raise OSError(error.errno, said) from error
        raise
    finally:
        part.unlink(missing_ok=True)


def _header(config: InputConfig, count: int) -> bytes:
    """Return what precedes the records in a shard's file: NumPy's header, of one length whatever it says."""
    file = io.BytesIO()
    fields = {"descr": np.lib.format.dtype_to_descr(record_type(config)), "fortran_order": False, "shape": (count,)}
    np.lib.format.write_array_header_1_0(file, fields)
    text = file.getvalue()[10:].rstrip()
    return b"\x93NUMPY\x01\x00" + (HEADER - 10).to_bytes(2, "little") + text.ljust(HEADER - 11) + b"\n"


def write_shard(folder: Path, index: int, config: InputConfig, count: int, windows: Iterable[Window]) -> None:
    """Write one shard of `count` windows: those that `windows.npy` lists for it, in that order."""
    records = (encode(window, config).data for window in windows)
    write_whole(shard_path(folder, index), itertools.chain([_header(config, count)], records))


def read_count(path: Path, config: InputConfig, expected: int) -> int:
    """Return how many records a shard says it holds, 0 where there is none; reading finds out whether it does."""
    try:
        if path.stat().st_size == HEADER + expected * record_type(config).itemsize:
            return expected
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
            (count,), _, _ = np.lib.format.read_array_header_1_0(file)
    except FileNotFoundError:
        return 0
    except ValueError:  # not even a header: whoever reads a window is told
        return expected
    return count


def is_intact(record: np.ndarray, key: np.ndarray) -> bool:
    """Tell whether a record, shape (1,), is the one that was written for `key`."""
    same = zlib.crc32(record.view(np.uint8)[:-4].data) == record["crc32"][0]
    return bool(same and record["eeg_id"][0] == key[0] and record["start"][0] == key[1])


def read_sources(folder: Path, index: int, config: InputConfig, keys: np.ndarray) -> list[Source]:
    """Read a shard from end to end, verify it, and return where each of its windows, int64 (n, 2), came from.

    Raises
    ------
    FileNotFoundError
        If there is no such shard.
    ValueError
        If it is truncated or altered, or holds other windows.
    """
    path = shard_path(folder, index)
    type_ = record_type(config)
    with path.open("rb") as file:
        content = file.read()
    if len(content) != HEADER + len(keys) * type_.itemsize or content[:HEADER] != _header(config, len(keys)):
        raise ValueError(f"{path}: truncated, or it holds other windows")
    records = np.frombuffer(content, type_, offset=HEADER)
    for row, key in enumerate(keys):
        if not is_intact(records[row : row + 1], key):
            raise ValueError(f"{path}: altered, the checksum of window {row} differs")
    return [Source(int(one["source_size"]), int(one["source_crc32"])) for one in records]
