"""Figures of a labelled 10 s by which real and simulated recordings are compared.

Thirteen describe any EEG, `compute_rhythm` and `compute_discharges` add what readers look at in rhythmic delta and in
discharges. All are computed on every window, so that none needs to know its class.
"""

from __future__ import annotations

import numpy as np
from scipy import signal

from eda.page import filter_for_display
from kernel.constants import SFREQ
from kernel.montage import MONTAGE, build_montage
from simulator.fields import compute_laterality

FRONTO_POLAR = [i for i, (anode, cathode) in enumerate(MONTAGE) if anode[:2] == "Fp" and cathode in ("F7", "F8")]
FRONTAL = [i for i, (anode, _) in enumerate(MONTAGE) if anode[:2] == "Fp"]
CENTRO_PARIETAL = [i for i, (anode, cathode) in enumerate(MONTAGE) if anode[0] == "C" and cathode[0] == "P"]

NEIGHBOURS = [
    (i, j) for i, (_, cathode) in enumerate(MONTAGE) for j, (anode, _) in enumerate(MONTAGE) if cathode == anode
]
"""Channels that follow one another in a chain: they share an electrode, so a wave under it flips between them."""

FEATURES = (
    *("amplitude_median_uv", "amplitude_weakest_uv", "amplitude_strongest_uv", "spectral_exponent"),
    *("delta_share", "theta_share", "alpha_share", "beta_share", "neighbour_correlation"),
    *("left_right_asymmetry", "periodicity_index", "dominant_hz", "line_length_uv_per_s"),
    *("delta_hz", "rhythm_over_rest", "second_harmonic", "rhythm_filling", "first_component"),
    *("fronto_polar_share", "frontal_share", "centro_parietal_share", "muscle_over_delta"),
    *("discharge_width_s", "discharge_hz", "effective_channels"),
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
    ndarray, shape (25,)
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
            *compute_rhythm(channels),
            *compute_discharges(channels, autocorrelation[:, : lags.stop].mean(axis=0), rate),
        ]
    )


def compute_rhythm(channels: np.ndarray) -> np.ndarray:
    """Compute what describes rhythmic delta, and where delta lies.

    Parameters
    ----------
    channels : ndarray, shape (18, n_times)
        Bipolar channels in microvolts, 0.5 to 40 Hz.

    Returns
    -------
    ndarray, shape (9,)
        Over the four channels with most delta: its peak in hertz; the root mean square within 0.35 Hz of the peak and
        of its double over that of all else below 20 Hz; the power at the double over that at the peak; the share of
        the time in which the rhythm's envelope exceeds half of its 90th percentile; then, over all channels, the first
        principal component's share of the delta, that of Fp1-F7 and Fp2-F8, of the four frontal channels, of C3-P3,
        C4-P4 and Cz-Pz; and the power of 20 to 40 Hz over delta, again of those four.
    """
    n_times = channels.shape[1]
    freqs = np.fft.rfftfreq(n_times, 1 / SFREQ)
    spectrum = np.fft.rfft(channels * np.hanning(n_times), axis=1)
    power = np.abs(spectrum) ** 2
    band = (freqs >= 0.5) & (freqs <= 4)
    delta = power[:, band].sum(axis=1) + 1e-9
    top = np.argsort(delta)[-4:]
    candidates = freqs[(freqs >= 0.6) & (freqs <= 3.5)]
    nearness = np.clip(1 - np.abs(candidates[:, None] - freqs) / 0.35, 0, None)
    peak = float(candidates[(nearness @ power[top].sum(axis=0)).argmax()])
    first, second = ((np.abs(freqs - f) <= 0.35) & (freqs >= 0.5) for f in (peak, 2 * peak))
    of_rhythm = power[top][:, first | second].sum(axis=1)
    rest = power[top][:, (freqs >= 0.5) & (freqs < 20)].sum(axis=1) - of_rhythm
    harmonic = power[top][:, second].sum(axis=1) / (power[top][:, first].sum(axis=1) + 1e-9)
    sos = signal.butter(2, [max(0.4, peak - 0.5), peak + 0.5], "bandpass", fs=SFREQ, output="sos")
    envelope = np.abs(signal.hilbert(signal.sosfiltfilt(sos, channels[top], axis=1), axis=1))
    filling = (envelope > 0.5 * np.percentile(envelope, 90, axis=1, keepdims=True)).mean()
    values = np.linalg.eigvalsh((spectrum[:, band] @ spectrum[:, band].conj().T).real)
    share = delta / delta.sum()
    return np.array(
        [
            peak,
            np.median(np.sqrt(of_rhythm / (rest + 1e-9))),
            np.median(harmonic),
            filling,
            values[-1] / values.sum(),
            share[FRONTO_POLAR].sum(),
            share[FRONTAL].sum(),
            share[CENTRO_PARIETAL].sum(),
            np.median(power[:, (freqs >= 20) & (freqs < 40)].sum(axis=1) / delta),
        ]
    )


def compute_discharges(channels: np.ndarray, autocorrelation: np.ndarray, rate: float) -> np.ndarray:
    """Compute what describes discharges: width, rate, extent.

    Parameters
    ----------
    channels : ndarray, shape (18, n_times)
        Bipolar channels in microvolts, 0.5 to 40 Hz.
    autocorrelation : ndarray, shape (n_lags,)
        Of the absolute slope, `rate` lags a second.
    rate : float

    Returns
    -------
    ndarray, shape (3,)
        Median width at half height, in seconds, of the waves that stand out in the four strongest channels; the rate in
        hertz of the highest autocorrelation from 0.25 to 2.5 s; the effective number of channels, (sum of power)^2 over
        the sum of its squares.
    """
    energy = (channels**2).sum(axis=1) + 1e-9
    widths = []
    for channel in channels[np.argsort(energy)[-4:]]:
        size = np.abs(channel)
        at, _ = signal.find_peaks(size, height=0.6 * np.percentile(size, 99), distance=SFREQ // 5)
        widths.extend(signal.peak_widths(size, at, rel_height=0.5)[0] / SFREQ)
    first = int(0.25 * rate)
    lag = first + int(autocorrelation[first:].argmax())
    return np.array([np.median(widths) if widths else 0.0, rate / lag, energy.sum() ** 2 / (energy**2).sum()])
