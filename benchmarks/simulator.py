"""How many fresh 50 s windows the simulator draws in a second and core, against coloured noise alone.

`python -m benchmarks.simulator` (part of `make bench`). The alternative is the least that could be called EEG: 20 rows
of 1/f noise by an FFT in double precision, as a notebook would. Seconds are processor time of one process.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import sys
import time
import timeit
from functools import partial

import numpy as np

from kernel.constants import SFREQ, WINDOW_SAMPLES
from simulator.generate import simulate_window

WINDOWS, BOUND = 60, 20


def draw_noise(rng: np.random.Generator) -> np.ndarray:
    """Return (20, 10000) of 1/f noise."""
    freqs = np.fft.rfftfreq(WINDOW_SAMPLES, 1 / SFREQ)
    spectrum = rng.standard_normal((20, len(freqs))) + 1j * rng.standard_normal((20, len(freqs)))
    return np.fft.irfft(spectrum / np.maximum(freqs, 0.5), WINDOW_SAMPLES, axis=1)


def main() -> int:
    """Print windows a second and core, and return 1 where fewer than twenty are drawn."""
    simulate_window(0, 0)
    rng = np.random.default_rng(0)
    noise = ours = 0.0
    for index in range(WINDOWS):  # taking turns, so that the machine's drift hits both
        noise += timeit.timeit(partial(draw_noise, rng), time.process_time, number=1)
        ours += timeit.timeit(partial(simulate_window, 1, index), time.process_time, number=1)
    rate = WINDOWS / ours
    print(f"simulated windows: {rate:.0f} a second and core (bound {BOUND}), {ours / WINDOWS * 1e3:.1f} ms each")
    print(f"1/f noise alone: {noise / WINDOWS * 1e3:.1f} ms; a window of EEG costs {ours / noise:.1f} times that")
    return int(rate < BOUND)


if __name__ == "__main__":
    sys.exit(main())
