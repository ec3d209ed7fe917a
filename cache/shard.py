"""One shard of a cache: some pieces as plain records in a `.npy` file, each with its key, origin and checksum.

A piece is 10 s of a recording's 18 channels. A shard appears under its name whole, and two that hold the same pieces
are the same bytes.

Plain records need no package but NumPy. Of them, Arrow, HDF5, Zarr, TFRecord and a file per window only a memory map
was read faster, by 0.03 ms of 0.6 ms, but a mapped file that somebody truncates kills its reader, where a short read is
an error with a name. LZ4 and Zstandard save a fifth and two fifths of the size, and take longer to undo than that saves
on a disk of 1 GB/s. 16 bits between the least and the greatest value of 10 s move a probability of `raw_1d` by up to
3e-5 on 100 real recordings; one range for the whole window moves it by 6e-5, float16 by 3e-4, 8 bits by 1.4e-2.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from kernel.constants import SFREQ
from kernel.files import replacing
from kernel.montage import CHANNELS

BLOCK = 10 * SFREQ
"""Samples of a piece; pieces start at multiples of it."""
PER_SHARD = 64
"""Pieces of a full shard: about an eighth of a second of work, 4.6 MB."""
HEADER = 1024
"""Bytes of a shard before its first record."""
LEVELS, GAP = 65534, 65535
"""Steps between the least and the greatest value of a channel; the code of a gap."""

RECORD = np.dtype(
    [
        *(("eeg_id", "<i8"), ("start", "<i8"), ("source_size", "<i8"), ("source_crc32", "<u4"), ("n_samples", "<i8")),
        *(("low", "<f4", len(CHANNELS)), ("step", "<f4", len(CHANNELS))),
        *(("codes", "<u2", (len(CHANNELS), BLOCK)), ("crc32", "<u4")),
    ]
)
"""A piece: `low + step * codes` are its values; `crc32` covers all that precedes it; the rest is of its recording."""

Key = tuple[int, int]
"""(eeg_id, first sample)."""


def encode(key: Key, values: np.ndarray, source: tuple[int, int], n_samples: int) -> np.ndarray:
    """Return a piece as one record, shape (1,).

    Parameters
    ----------
    values : ndarray, shape (18, BLOCK), float32
        Microvolts, NaN in the gaps and after the recording's end.
    source : (int, int)
        Size and CRC-32 of the recording's file.
    n_samples : int
        The recording's length.
    """
    known = np.isfinite(values)
    low = np.min(values, axis=-1, where=known, initial=np.inf)
    high = np.max(values, axis=-1, where=known, initial=-np.inf)
    low, high = np.where(low <= high, (low, high), 0)
    step = ((high.astype(np.float64) - low) / LEVELS).astype(np.float32)
    with np.errstate(invalid="ignore"):  # the gaps
        codes = np.clip(np.rint((values - low[:, None]) / np.where(step > 0, step, np.float32(1))[:, None]), 0, LEVELS)
    codes[~known] = GAP
    record = np.zeros(1, RECORD)
    record[0] = (*key, *source, n_samples, low, step, codes, 0)
    record["crc32"] = _checksum(record)
    return record


def decode(record: np.ndarray) -> np.ndarray:
    """Return the values of a record, shape (1,): (18, BLOCK), float32, NaN in the gaps."""
    codes = record["codes"][0]
    values: np.ndarray = codes * record["step"][0][:, None] + record["low"][0][:, None]
    values[codes == GAP] = np.nan
    return values


def is_intact(record: np.ndarray, key: np.ndarray) -> bool:
    """Tell whether a record, shape (1,), is the one that was written for `key`."""
    return bool(_checksum(record) == record["crc32"] and (record["eeg_id"], record["start"]) == tuple(key))


def _checksum(record: np.ndarray) -> int:
    return zlib.crc32(record.view(np.uint8)[:-4].data)


def shard_path(folder: Path, index: int) -> Path:
    """Return where a shard lies."""
    return folder / f"shard_{index:05d}.npy"


def _header(count: int) -> bytes:
    """Return what precedes the records in a shard's file: NumPy's header, of one length whatever it says."""
    file = io.BytesIO()
    fields = {"descr": np.lib.format.dtype_to_descr(RECORD), "fortran_order": False, "shape": (count,)}
    np.lib.format.write_array_header_1_0(file, fields)
    text = file.getvalue()[10:].rstrip()
    return b"\x93NUMPY\x01\x00" + (HEADER - 10).to_bytes(2, "little") + text.ljust(HEADER - 11) + b"\n"


def write_shard(path: Path, count: int, records: Iterable[np.ndarray]) -> None:
    """Write one shard of `count` records."""
    with replacing(path) as part, part.open("wb") as file:
        file.write(_header(count))
        file.writelines(record.view(np.uint8).data for record in records)


def read_count(path: Path) -> int:
    """Return how many records a shard says it holds, 0 where there is none; reading finds out whether it does."""
    try:
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
            return int(np.lib.format.read_array_header_1_0(file)[0][0])
    except FileNotFoundError:
        return 0
    except ValueError:  # not even a header: whoever reads a piece is told
        return PER_SHARD


def read_shard(path: Path, keys: np.ndarray) -> np.ndarray:
    """Read a shard from end to end and return its records, once they are those of `keys`, int64 (n, 2).

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such shard; if it is truncated or altered, or holds other pieces.
    """
    held = path.read_bytes()
    if len(held) != HEADER + len(keys) * RECORD.itemsize or held[:HEADER] != _header(len(keys)):
        raise ValueError(f"{path}: truncated, or it holds other pieces")
    records = np.frombuffer(held, RECORD, offset=HEADER)
    for row, key in enumerate(keys):
        if not is_intact(records[row : row + 1], key):
            raise ValueError(f"{path}: altered, the checksum of record {row} differs")
    return records
