"""What the recording machine leaves of the potentials: band limits, saturation."""

from __future__ import annotations

import numpy as np
from scipy import fft

from kernel.constants import SFREQ


def amplify(rng: np.random.Generator, samples: np.ndarray) -> np.ndarray:
    """Return `samples` (20, n_times) as an amplifier and an export would give them, float32 microvolts."""
    n_times = samples.shape[1]
    if rng.random() < 0.55:
        padded = fft.next_fast_len(n_times, real=True)
        freqs = fft.rfftfreq(padded, 1 / SFREQ)
        keep = np.ones(len(freqs))
        if rng.random() < 0.7:  # time constants of 0.1 to 1 s are customary
            keep *= (freqs / rng.choice([0.16, 0.3, 0.5, 0.5, 1.0])) ** 2
            keep /= 1 + keep
        if rng.random() < 0.6:
            keep /= 1 + (freqs / rng.choice([30, 40, 50, 70])) ** 8
        if rng.random() < 0.4:
            keep *= 1 - np.exp(-0.5 * ((freqs - 60) / 0.7) ** 2)
        spectrum = fft.rfft(samples.astype(np.float32), padded, axis=1)
        samples = fft.irfft(spectrum * keep.astype(np.float32), padded, axis=1)[:, :n_times]
    samples = samples.astype(np.float32)
    if rng.random() < 0.02:
        limit = np.float32(rng.choice([150, 400, 1000, 3000]))
        np.clip(samples, -limit, limit, out=samples)
    if rng.random() < 0.3:  # the step of the converter
        step = np.float32(rng.choice([0.1, 0.3, 0.5]))
        samples = np.round(samples / step) * step
    return samples
