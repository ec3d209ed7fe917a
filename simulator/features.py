"""Figures of a window by which real and simulated recordings are compared; called by `simulator.compare`."""

from __future__ import annotations

import numpy as np
from scipy import signal

from eda.page import filter_for_display
from kernel.constants import SFREQ
from kernel.montage import MONTAGE, build_montage
from simulator.fields import compute_laterality

NEIGHBOURS = [
    (i, j) for i, (_, cathode) in enumerate(MONTAGE) for j, (anode, _) in enumerate(MONTAGE) if cathode == anode
]
"""Channels that follow one another in a chain: they share an electrode, so a wave under it flips between them."""

FEATURES = (
    *("amplitude_median_uv", "amplitude_weakest_uv", "amplitude_strongest_uv", "spectral_exponent"),
    *("delta_share", "theta_share", "alpha_share", "beta_share", "neighbour_correlation"),
    *("left_right_asymmetry", "periodicity_index", "dominant_hz", "line_length_uv_per_s"),
)


def read_channels(samples: np.ndarray) -> np.ndarray:
    """Return the 18 channels of `samples` (20, n_times) as a reader sees them: gaps at zero, 0.5 to 40 Hz."""
    return filter_for_display(np.nan_to_num(build_montage(samples[:19]).astype(np.float64)))


def compute_features(channels: np.ndarray) -> np.ndarray:
    """Compute the figures of FEATURES.

    Parameters
    ----------
    channels : ndarray, shape (18, n_times)
        Bipolar channels in microvolts, 0.5 to 40 Hz, at least 10 s.

    Returns
    -------
    ndarray, shape (13,)
        Medians over channels where nothing else is said. The periodicity index is the highest autocorrelation of the
        absolute slope at lags of 0.25 to 2.5 s, the dominant rate the spectral peak from 0.5 to 13 Hz.
    """
    deviation = channels.std(axis=1) + 1e-6
    freqs, power = signal.welch(channels, SFREQ, nperseg=800, axis=1)
    used = (freqs >= 1) & (freqs <= 30)
    slope = np.polyfit(np.log(freqs[used]), np.log(power[:, used] + 1e-9).T, 1)[0]
    total = power[:, (freqs >= 0.5) & (freqs < 30)].sum(axis=1) + 1e-9
    bands = [power[:, (freqs >= a) & (freqs < b)].sum(axis=1) / total for a, b in ((0.5, 4), (4, 8), (8, 13), (13, 30))]
    z = (channels - channels.mean(axis=1, keepdims=True)) / deviation[:, None]
    correlation = [float((z[i] * z[j]).mean()) for i, j in NEIGHBOURS]
    activity = signal.decimate(np.abs(np.diff(channels, axis=1)), 8, axis=1)
    activity = activity - activity.mean(axis=1, keepdims=True)
    n = activity.shape[1]
    spectrum = np.abs(np.fft.rfft(activity, 2 * n, axis=1)) ** 2
    autocorrelation = np.fft.irfft(spectrum, axis=1)[:, :n]
    rate = SFREQ / 8
    lags = slice(int(0.25 * rate), int(2.5 * rate))
    periodic = (autocorrelation[:, lags] / (autocorrelation[:, :1] + 1e-9)).max(axis=1)
    low = (freqs >= 0.5) & (freqs <= 13)
    dominant = freqs[low][power[:, low].argmax(axis=1)]
    length = np.abs(np.diff(channels, axis=1)).mean(axis=1) * SFREQ
    return np.array(
        [
            np.median(deviation),
            np.percentile(deviation, 5),
            np.percentile(deviation, 95),
            -np.median(slope),
            *(np.median(b) for b in bands),
            np.median(correlation),
            abs(compute_laterality(channels)),
            np.median(periodic),
            np.median(dominant),
            np.median(length),
        ]
    )
