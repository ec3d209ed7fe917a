"""One recording: read the electrodes, cut a window, repair its gaps.

`read_channels` does all of it, from a parquet file to the channels that a network's input is built from. Gaps are
repaired after the montage: the noise of the reference can be ten times the EEG, and it cancels only where both
electrodes of a channel still have it. A gap becomes a straight line between its two ends, which adds next to nothing
above 0.5 Hz. A recording shorter than a window goes on as its own mirror image, so that what it shows goes on too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kernel.constants import EEG_ELECTRODES, SFREQ, WINDOW_SAMPLES
from kernel.montage import build_montage

MIN_SIGNAL_SECONDS = 2
"""Less signal than one period of the slowest pattern (0.5 Hz) says nothing: the prior answers better."""


def read_electrodes(path: Path) -> np.ndarray:
    """Read the 19 electrodes of a recording, whatever the order and the number type of the file's columns.

    Returns
    -------
    electrodes : ndarray, shape (19, n_times), float32
        Microvolts. NaN where the file has nulls, NaN, infinities or text; an absent electrode is a row of NaN.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file; if it cannot be read, or has no row or no electrode.
    """
    with _open_recording(path) as file:
        present = [name for name in EEG_ELECTRODES if name in file.schema_arrow.names]
        columns = _read_columns(file, present)
    if not present:
        raise ValueError(f"{path}: no electrode columns; expected {', '.join(EEG_ELECTRODES[:3])}, ...")
    n_times = max(len(column) for column in columns.values())
    if n_times == 0:
        raise ValueError(f"{path}: no samples; expected {WINDOW_SAMPLES} rows at {SFREQ} Hz")
    electrodes = np.full((len(EEG_ELECTRODES), n_times), np.nan, np.float32)
    for name, column in columns.items():
        electrodes[EEG_ELECTRODES.index(name), : len(column)] = _read_numbers(column)
    electrodes[np.isinf(electrodes)] = np.nan
    return electrodes


def read_length(path: Path) -> int:
    """Read a recording's number of samples from the file's footer; errors are those of `read_electrodes`."""
    with _open_recording(path) as file:
        return file.metadata.num_rows


@contextmanager
def _open_recording(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a recording; what Arrow says about a damaged one becomes one line that names the file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such recording; check the folder and the ids in the table")
    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path}: not a readable parquet file ({reason}); copy it again") from error


def _read_columns(file: pq.ParquetFile, names: list[str]) -> dict[str, pa.ChunkedArray]:
    """Read columns at once, or, where that fails, those that can be read one by one: damage may spare some."""
    try:
        table = file.read(columns=names, use_threads=False)
        return {name: table.column(name) for name in names}
    except (pa.ArrowException, OSError):
        columns = {}
        for name in names:
            with suppress(pa.ArrowException, OSError):
                columns[name] = file.read(columns=[name], use_threads=False).column(name)
        if not columns:
            raise
        return columns


def _read_numbers(column: pa.ChunkedArray) -> np.ndarray:
    """Return a column as float32, NaN where a cell of text holds no number."""
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        with np.errstate(over="ignore", invalid="ignore"):
            return column.to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
    numbers = np.full(len(column), np.nan, np.float32)
    for i, value in enumerate(column.to_pylist()):
        with suppress(TypeError, ValueError, OverflowError):
            numbers[i] = float(value)
    return numbers


def place_window(start: int | None, n_samples: int, n_times: int = WINDOW_SAMPLES) -> int:
    """Return the first sample of a window of `n_times` that lies inside its recording of `n_samples`.

    That is `start` (None: of the centre, where the experts looked), or earlier where the window would end after the
    recording; 0 in a shorter recording. A start outside the recording is a ValueError: table and recording do not
    belong together.
    """
    last = max(0, n_samples - n_times)
    if start is None:
        return last // 2
    if not 0 <= start < n_samples:
        raise ValueError(f"a window cannot start at sample {start} of a recording with {n_samples} samples")
    return min(start, last)


def cut_window(samples: np.ndarray, start: int | None = None, n_times: int = WINDOW_SAMPLES) -> np.ndarray:
    """Cut the window that `place_window` places: (n_rows, n_samples) -> (n_rows, min(n_times, n_samples)), a view."""
    start = place_window(start, samples.shape[1], n_times)
    return samples[:, start : start + n_times]


def repair_gaps(channels: np.ndarray) -> np.ndarray:
    """Take away each channel's median and fill its gaps: a line inside, zero at both ends.

    (n_channels, n_times), float32 microvolts with NaN in the gaps, -> the same, finite; a channel without a sample is
    zero.
    """
    finite = np.isfinite(channels)
    whole = finite.all(axis=1)
    if whole.all():
        return channels - np.median(channels, axis=1, keepdims=True)
    repaired = np.zeros_like(channels)
    repaired[whole] = channels[whole] - np.median(channels[whole], axis=1, keepdims=True)
    times = np.arange(channels.shape[1])
    for row in np.flatnonzero(~whole & finite.any(axis=1)):
        known = finite[row]
        values = channels[row, known]
        repaired[row] = np.interp(times, times[known], values - np.median(values), left=0.0, right=0.0)
    return repaired


def pad_window(channels: np.ndarray, n_times: int = WINDOW_SAMPLES) -> np.ndarray:
    """Centre a short recording, so that its middle lies where the experts looked; around it its mirror image goes on.

    (n_channels, n_samples), with at most `n_times` samples, -> (n_channels, n_times). Around less than
    `MIN_SIGNAL_SECONDS` there are zeros.
    """
    n_samples = channels.shape[1]
    missing = n_times - n_samples
    if missing <= 0:
        return channels
    around = ((0, 0), (missing // 2, missing - missing // 2))
    if n_samples < MIN_SIGNAL_SECONDS * SFREQ:
        return np.pad(channels, around)
    return np.pad(channels, around, mode="symmetric")


def build_channels(electrodes: np.ndarray, start: int | None = None) -> np.ndarray:
    """Go from electrodes to the repaired channels of one window.

    Parameters
    ----------
    electrodes : ndarray, shape (19 or 20, n_samples), float32
        Microvolts, NaN in the gaps.
    start : int, optional
        First sample of the window, as `place_window` takes it; None takes the centre.

    Returns
    -------
    channels : ndarray, shape (18, 10000), float32
        Finite microvolts, rows as in `kernel.montage.CHANNELS`; a channel that cannot be read is zero.
    """
    return pad_window(repair_gaps(build_montage(cut_window(electrodes, start))))


def read_channels(path: Path, start: int | None = None) -> np.ndarray:
    """Read the channels of one window from a file: `read_electrodes`, then `build_channels`."""
    return build_channels(read_electrodes(path), start)
