"""What many tests need: a quiet TensorFlow, signals, recordings on disk, and the real recordings where they are."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# What `make test ARGS=...` hands down would reach the make that tests call.
for _name in ("MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS"):
    os.environ.pop(_name, None)
# Tests run side by side, one process a core: each keeps to one thread.
for _name in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kernel.constants import ELECTRODES, WINDOW_SAMPLES

ROOT = Path(__file__).resolve().parent.parent
REAL = ROOT.parent / "shared" / "iiic"


def make_eeg(n_times: int = WINDOW_SAMPLES, seed: int = 0) -> np.ndarray:
    """A 1/f signal of some 30 microvolts with a 10 Hz rhythm at the back, (20, n_times) float32, another each seed."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft(rng.standard_normal((len(ELECTRODES), n_times)))
    spectrum /= np.maximum(1, np.arange(spectrum.shape[1]) * 200 / n_times)
    eeg = np.fft.irfft(spectrum, n_times)
    eeg *= 30 / eeg.std()
    eeg[[7, 18]] += 20 * np.sin(2 * np.pi * 10 * np.arange(n_times) / 200)
    return eeg.astype(np.float32)


def write_recording(path: Path, eeg: np.ndarray, columns: tuple[str, ...] = ELECTRODES) -> Path:
    """Write a recording as the competition does."""
    pq.write_table(pa.table(dict(zip(columns, eeg, strict=True))), path)
    return path


@pytest.fixture(scope="session")
def real_recordings() -> Path:
    if not REAL.is_dir():
        pytest.skip(f"{REAL} is not here: the real recordings are not part of the project")
    return REAL
