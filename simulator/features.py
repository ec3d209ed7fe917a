"""Figures of a labelled 10 s by which real and simulated recordings are compared.

Thirteen describe any EEG, `measure_rhythm` and `measure_discharges` add what readers look at in rhythmic delta and in
discharges. All are computed on every window, so that none needs to know its class. Channels are (18, n_times) in
microvolts, 0.5 to 40 Hz, at least 10 s, as `read_channels` returns them.
"""

from __future__ import annotations

import numpy as np
from scipy import signal

from eda.page import filter_for_display
from kernel.constants import SFREQ
from kernel.montage import MONTAGE, build_montage
from simulator.head import compute_laterality

FRONTO_POLAR = [i for i, (anode, cathode) in enumerate(MONTAGE) if anode[:2] == "Fp" and cathode in ("F7", "F8")]
FRONTAL = [i for i, (anode, _) in enumerate(MONTAGE) if anode[:2] == "Fp"]
CENTRO_PARIETAL = [i for i, (anode, cathode) in enumerate(MONTAGE) if anode[0] == "C" and cathode[0] == "P"]

NEIGHBOURS = [
    (i, j) for i, (_, cathode) in enumerate(MONTAGE) for j, (anode, _) in enumerate(MONTAGE) if cathode == anode
]
"""Channels that follow one another in a chain: they share an electrode, so a wave under it flips between them."""

BANDS = {"delta": (0.5, 4), "theta": (4, 8), "alpha": (8, 13), "beta": (13, 30)}  # in hertz


def read_channels(samples: np.ndarray) -> np.ndarray:
    """Return the 18 channels of `samples` (20, n_times) as a reader sees them: gaps at zero, 0.5 to 40 Hz."""
    return filter_for_display(np.nan_to_num(build_montage(samples[:19]).astype(np.float64)))


def measure_features(channels: np.ndarray) -> dict[str, float]:
    """Measure all 25 figures of `channels` (18, n_times): medians over channels where nothing else is said.

    The periodicity index is the highest autocorrelation of the absolute slope at lags of 0.25 to 2.5 s, the dominant
    rate the spectral peak from 0.5 to 13 Hz.
    """
    deviation = channels.std(axis=1) + 1e-6
    freqs, power = signal.welch(channels, SFREQ, nperseg=800, axis=1)
    used = (freqs >= 1) & (freqs <= 30)
    slope = np.polyfit(np.log(freqs[used]), np.log(power[:, used] + 1e-9).T, 1)[0]
    total = power[:, (freqs >= 0.5) & (freqs < 30)].sum(axis=1) + 1e-9
    shares = {name: power[:, (freqs >= a) & (freqs < b)].sum(axis=1) / total for name, (a, b) in BANDS.items()}
    z = (channels - channels.mean(axis=1, keepdims=True)) / deviation[:, None]
    activity = signal.decimate(np.abs(np.diff(channels, axis=1)), 8, axis=1)
    activity = activity - activity.mean(axis=1, keepdims=True)
    n = activity.shape[1]
    autocorrelation = np.fft.irfft(np.abs(np.fft.rfft(activity, 2 * n, axis=1)) ** 2, axis=1)[:, :n]
    rate = SFREQ / 8
    lags = slice(int(0.25 * rate), int(2.5 * rate))
    periodic = (autocorrelation[:, lags] / (autocorrelation[:, :1] + 1e-9)).max(axis=1)
    low = (freqs >= 0.5) & (freqs <= 13)
    return {
        "amplitude_median_uv": np.median(deviation),
        "amplitude_weakest_uv": np.percentile(deviation, 5),
        "amplitude_strongest_uv": np.percentile(deviation, 95),
        "spectral_exponent": -np.median(slope),
        **{f"{name}_share": np.median(share) for name, share in shares.items()},
        "neighbour_correlation": np.median([(z[i] * z[j]).mean() for i, j in NEIGHBOURS]),
        "left_right_asymmetry": abs(compute_laterality(channels)),
        "periodicity_index": np.median(periodic),
        "dominant_hz": np.median(freqs[low][power[:, low].argmax(axis=1)]),
        "line_length_uv_per_s": np.median(np.abs(np.diff(channels, axis=1)).mean(axis=1) * SFREQ),
        **measure_rhythm(channels),
        **measure_discharges(channels, autocorrelation[:, : lags.stop].mean(axis=0), rate),
    }


def measure_rhythm(channels: np.ndarray) -> dict[str, float]:
    """Measure what describes rhythmic delta, and where delta lies.

    Over the four channels with most delta: its peak in hertz; the root mean square within 0.35 Hz of the peak and of
    its double over that of all else below 20 Hz; the power at the double over that at the peak; the share of the time
    in which the rhythm's envelope exceeds half of its 90th percentile. Over all channels: the first principal
    component's share of the delta; the share of Fp1-F7 and Fp2-F8, of the four frontal channels, of C3-P3, C4-P4 and
    Cz-Pz; the power of 20 to 40 Hz over delta.
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
    components = np.linalg.eigvalsh((spectrum[:, band] @ spectrum[:, band].conj().T).real)
    share = delta / delta.sum()
    return {
        "delta_hz": peak,
        "rhythm_over_rest": np.median(np.sqrt(of_rhythm / (rest + 1e-9))),
        "second_harmonic": np.median(harmonic),
        "rhythm_filling": (envelope > 0.5 * np.percentile(envelope, 90, axis=1, keepdims=True)).mean(),
        "first_component": components[-1] / components.sum(),
        "fronto_polar_share": share[FRONTO_POLAR].sum(),
        "frontal_share": share[FRONTAL].sum(),
        "centro_parietal_share": share[CENTRO_PARIETAL].sum(),
        "muscle_over_delta": np.median(power[:, (freqs >= 20) & (freqs < 40)].sum(axis=1) / delta),
    }


def measure_discharges(channels: np.ndarray, autocorrelation: np.ndarray, rate: float) -> dict[str, float]:
    """Measure discharges, given the `autocorrelation` of the absolute slope at `rate` lags a second.

    Median width at half height, in seconds, of the waves that stand out in the four strongest channels; the rate in
    hertz of the highest autocorrelation from 0.25 to 2.5 s; the effective number of channels, (sum of power)^2 over the
    sum of its squares.
    """
    energy = (channels**2).sum(axis=1) + 1e-9
    widths = []
    for channel in channels[np.argsort(energy)[-4:]]:
        size = np.abs(channel)
        at, _ = signal.find_peaks(size, height=0.6 * np.percentile(size, 99), distance=SFREQ // 5)
        widths.extend(signal.peak_widths(size, at, rel_height=0.5)[0] / SFREQ)
    first = int(0.25 * rate)
    return {
        "discharge_width_s": np.median(widths) if widths else 0.0,
        "discharge_hz": rate / (first + int(autocorrelation[first:].argmax())),
        "effective_channels": energy.sum() ** 2 / (energy**2).sum(),
    }
