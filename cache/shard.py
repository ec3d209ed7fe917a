"""One shard of a cache: some tens of pieces as plain records in a `.npy` file, each with its key, origin and checksum.

A piece is one window's input, or, where channels are cached, 10 s of a recording. A shard appears under its name
whole, and two that hold the same pieces are the same bytes.

Plain records need no package but NumPy. Of them, Arrow, HDF5, Zarr, TFRecord and a file per window only a memory map
was read faster, by 0.03 ms of the 0.6 ms that a scalogram takes until it is float32, but a mapped file that somebody
truncates kills its reader, where a short read is an error with a name. LZ4 and Zstandard save a fifth and two fifths
of the size, and take longer to undo than that saves on a disk of 1 GB/s. An input is stored in bytes, 256 steps
between the least and the greatest value of its row: this moves a probability by up to 8e-4 under the raw network and
6e-4 under an EfficientNetV2-B2; one range for all rows moves it by 1.4e-3, and 7 bits by 1.3e-3 and 3e-3.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kernel.constants import SFREQ, WINDOW_SAMPLES
from kernel.files import replacing
from kernel.inputs import InputConfig
from kernel.montage import CHANNELS

Content = InputConfig | None
"""What a cache holds: an input of a network, or, None, the channels from which any input can be built."""

BLOCK = 10 * SFREQ
"""Samples of a cached piece of a recording's channels; pieces start at multiples of it."""

HEADER = 1024
"""Bytes of a shard before its first record."""

INPUT_LEVELS, CHANNEL_LEVELS = 255, 65534
"""Steps between the least and the greatest value of a row; a channel's gap has a code of its own."""
GAP = 65535

Key = tuple[int, int]
"""(eeg_id, first sample)."""


@dataclass(frozen=True)
class Piece:
    """One piece on its way into a shard, and of its recording the file's size and checksum, and the length."""

    key: Key
    values: np.ndarray
    source_size: int = 0
    source_crc32: int = 0
    n_samples: int = WINDOW_SAMPLES


def pieces_per_shard(content: Content) -> int:
    """Return how many records a full shard has: about half a second of work, 29 MB of scalograms or 18 of channels."""
    return 64 if content else 256


def piece_shape(content: Content) -> tuple[int, ...]:
    """Return the shape of a piece's values."""
    return content.shape(len(CHANNELS), WINDOW_SAMPLES) if content else (len(CHANNELS), BLOCK)


def record_type(content: Content) -> np.dtype:
    """Return the type of one record: `low + step * codes` are its values; `crc32` covers all that precedes it.

    A row is what lies along the last axis: one frequency of one channel, or one channel.
    """
    shape = piece_shape(content)
    return np.dtype(
        [
            *(("eeg_id", "<i8"), ("start", "<i8"), ("source_size", "<i8"), ("source_crc32", "<u4")),
            *(("n_samples", "<i8"), ("low", "<f4", shape[:-1]), ("step", "<f4", shape[:-1])),
            *(("codes", "u1" if content else "<u2", shape), ("crc32", "<u4")),
        ]
    )


def encode(piece: Piece, content: Content) -> np.ndarray:
    """Return a piece as one record, shape (1,)."""
    record = np.zeros(1, record_type(content))
    record["eeg_id"], record["start"] = piece.key
    for name in ("source_size", "source_crc32", "n_samples"):
        record[name] = getattr(piece, name)
    values, known = piece.values, np.isfinite(piece.values)
    low = np.min(values, axis=-1, where=known, initial=np.inf)
    high = np.max(values, axis=-1, where=known, initial=-np.inf)
    low, high = np.where(low <= high, (low, high), 0)
    levels = INPUT_LEVELS if content else CHANNEL_LEVELS
    step = ((high.astype(np.float64) - low) / levels).astype(np.float32)
    with np.errstate(invalid="ignore"):  # the gaps
        codes = (values - low[..., None]) / np.where(step > 0, step, np.float32(1))[..., None]
        np.clip(np.rint(codes, out=codes), 0, levels, out=codes)
    codes[~known] = GAP
    record["low"], record["step"], record["codes"] = low, step, codes
    record["crc32"] = zlib.crc32(record.view(np.uint8)[:-4].data)
    return record


def decode(records: np.ndarray) -> np.ndarray:
    """Return the values of records, shape (n, *piece_shape), float32; NaN in the gaps of channels."""
    codes = records["codes"]
    values = codes * records["step"][..., None]
    values += records["low"][..., None]
    if codes.dtype != np.uint8 and (gaps := codes == GAP).any():
        values[gaps] = np.nan
    return values


def shard_path(folder: Path, index: int) -> Path:
    """Return where a shard lies."""
    return folder / f"shard_{index:05d}.npy"


def _header(content: Content, count: int) -> bytes:
    """Return what precedes the records in a shard's file: NumPy's header, of one length whatever it says."""
    file = io.BytesIO()
    fields = {"descr": np.lib.format.dtype_to_descr(record_type(content)), "fortran_order": False, "shape": (count,)}
    np.lib.format.write_array_header_1_0(file, fields)
    text = file.getvalue()[10:].rstrip()
    return b"\x93NUMPY\x01\x00" + (HEADER - 10).to_bytes(2, "little") + text.ljust(HEADER - 11) + b"\n"


def write_shard(folder: Path, index: int, content: Content, count: int, pieces: Iterable[Piece]) -> None:
    """Write one shard of `count` pieces: those that `pieces.npy` lists for it, in that order."""
    with replacing(shard_path(folder, index)) as part, part.open("wb") as file:
        file.write(_header(content, count))
        file.writelines(encode(piece, content).view(np.uint8).data for piece in pieces)


def read_count(path: Path, content: Content, expected: int) -> int:
    """Return how many records a shard says it holds, 0 where there is none; reading finds out whether it does."""
    try:
        if path.stat().st_size == HEADER + expected * record_type(content).itemsize:
            return expected
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
            (count,), _, _ = np.lib.format.read_array_header_1_0(file)
    except FileNotFoundError:
        return 0
    except ValueError:  # not even a header: whoever reads a piece is told
        return expected
    return count


def is_intact(record: np.ndarray, key: np.ndarray) -> bool:
    """Tell whether a record, shape (1,), is the one that was written for `key`."""
    same = zlib.crc32(record.view(np.uint8)[:-4].data) == record["crc32"][0]
    return bool(same and record["eeg_id"][0] == key[0] and record["start"][0] == key[1])


def read_sources(folder: Path, index: int, content: Content, keys: np.ndarray) -> list[tuple[int, int]]:
    """Read a shard from end to end, verify it, and return size and checksum of each piece's recording.

    Raises
    ------
    FileNotFoundError
        If there is no such shard.
    ValueError
        If it is truncated or altered, or holds other pieces than `keys`, int64 (n, 2).
    """
    path = shard_path(folder, index)
    type_ = record_type(content)
    with path.open("rb") as file:
        held = file.read()
    if len(held) != HEADER + len(keys) * type_.itemsize or held[:HEADER] != _header(content, len(keys)):
        raise ValueError(f"{path}: truncated, or it holds other pieces")
    records = np.frombuffer(held, type_, offset=HEADER)
    for row, key in enumerate(keys):
        if not is_intact(records[row : row + 1], key):
            raise ValueError(f"{path}: altered, the checksum of record {row} differs")
    return list(zip(records["source_size"].tolist(), records["source_crc32"].tolist(), strict=True))
