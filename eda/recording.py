"""One recording in figures: amplitude, gaps, flat and saturated electrodes, line noise, spectrum."""

from __future__ import annotations

import numpy as np
from scipy.signal import welch

from kernel.constants import SFREQ
from kernel.montage import build_montage
from kernel.recording import cut_window, repair_gaps

FLAT_MICROVOLTS = 0.5
"""An electrode or channel with samples whose standard deviation is below this over a window carries nothing."""

SATURATED_SHARE = 0.01
"""An electrode that spends this share of a window at exactly its largest or smallest value ran into its amplifier."""

SEGMENT = 4 * SFREQ
"""Welch's segments: 4 s, so that the spectrum has steps of 0.25 Hz."""

FREQS = np.fft.rfftfreq(SEGMENT, 1 / SFREQ)
EXPONENT_HZ = (2.0, 40.0)
"""Where the power law is fitted: above the drifts, below the mains."""

LINE_HZ, NOISY_LINE = (50, 60), 5.0
"""Mains frequencies, and from how many microvolts (root mean square) on a line counts as noise."""

PLACES = {"nan_start": "at the start", "nan_inside": "inside", "nan_end": "at the end"}
"""Where samples are missing in a recording, by the columns of their shares."""


def measure_recording(electrodes: np.ndarray, start: int) -> tuple[dict[str, float], np.ndarray, np.ndarray]:
    """Measure electrodes (19, n_times), microvolts with NaN in the gaps, and the window that begins at `start`.

    Returns
    -------
    row : dict
        Shares of the recording's samples that are missing, by `PLACES`, and their sum, `missing`; its `seconds`; of the
        window the number of electrodes that are `flat` and `saturated`; `amplitude` and `largest`, median and largest
        of the channels' 5-95% ranges, microvolts; `line`, the stronger mains line's root mean square, and `exponent` of
        the power law, medians over the channels. NaN where no channel is alive.
    per_electrode : ndarray, shape (3, 19)
        1 where flat, 1 where saturated, share of samples missing.
    log_power : ndarray, shape (401,)
        Median over the channels of log10 of the power spectral density at `FREQS`, NaN where no channel is alive.

    Raises
    ------
    ValueError
        If the window starts outside the recording.
    """
    window = cut_window(electrodes, start)
    flat, saturated, missing = find_flat(window), find_saturated(window), np.isnan(electrodes).mean(axis=1)
    row = dict(zip(PLACES, place_gaps(electrodes).mean(axis=1).tolist(), strict=True))
    row |= {"missing": float(missing.mean()), "seconds": electrodes.shape[1] / SFREQ}
    row |= {"flat": int(flat.sum()), "saturated": int(saturated.sum())}
    row |= dict.fromkeys(("amplitude", "largest", "line", "exponent"), np.nan)
    log_power = np.full(len(FREQS), np.nan)
    channels = repair_gaps(build_montage(window))
    alive = channels.std(axis=1) > FLAT_MICROVOLTS
    if alive.any() and channels.shape[1] >= SEGMENT:
        spread = np.ptp(np.quantile(channels[alive], (0.05, 0.95), axis=1), axis=0)
        _, power = welch(channels[alive].astype(np.float64), SFREQ, nperseg=SEGMENT, axis=1)
        log_powers = np.log10(np.maximum(power, 1e-12))
        log_power = np.median(log_powers, axis=0)
        row |= {"amplitude": float(np.median(spread)), "largest": float(spread.max())}
        row["line"] = max(float(np.median(measure_line(power, hertz))) for hertz in LINE_HZ)
        row["exponent"] = float(np.median(fit_exponent(log_powers)))
    return row, np.array([flat, saturated, missing], float), log_power


def find_flat(window: np.ndarray) -> np.ndarray:
    """Return which electrodes (n_electrodes, n_times) have samples that hardly change; a missing one is not flat."""
    some = np.isfinite(window).any(axis=1)
    flat = np.zeros(len(window), bool)
    flat[some] = np.nanstd(window[some], axis=1) < FLAT_MICROVOLTS
    return flat


def find_saturated(window: np.ndarray) -> np.ndarray:
    """Return which electrodes (n_electrodes, n_times) stay at exactly their largest or smallest value for too long."""
    at_largest = window == np.nanmax(window, axis=1, initial=-np.inf, keepdims=True)
    at_smallest = window == np.nanmin(window, axis=1, initial=np.inf, keepdims=True)
    return (np.maximum(at_largest.mean(axis=1), at_smallest.mean(axis=1)) > SATURATED_SHARE) & ~find_flat(window)


def place_gaps(electrodes: np.ndarray) -> np.ndarray:
    """Return the share of each electrode's samples missing at the start, inside and at the end: (3, n_electrodes)."""
    known = np.isfinite(electrodes)
    some = known.any(axis=1)
    first = np.where(some, known.argmax(axis=1), 0)
    after = np.where(some, known[:, ::-1].argmax(axis=1), 0)
    return np.array([first, (~known).sum(axis=1) - first - after, after]) / electrodes.shape[1]


def measure_line(power: np.ndarray, hertz: float) -> np.ndarray:
    """Return a mains line's root mean square in microvolts, its surroundings taken away: shape (n_channels,).

    `power` is the spectral density (n_channels, n_freqs); the line is what stands out within 1 Hz, the surroundings
    are the median from 2 to 5 Hz away.
    """
    distance = np.abs(FREQS - hertz)
    around = np.median(power[:, (distance >= 2) & (distance <= 5)], axis=1, keepdims=True)
    excess = (power[:, distance <= 1] - around).sum(axis=1) * (FREQS[1] - FREQS[0])
    return np.sqrt(np.maximum(excess, 0))


def fit_exponent(log_power: np.ndarray) -> np.ndarray:
    """Fit power ~ 1 / f^exponent by least squares on log-log axes: shape (n_channels,)."""
    # Steps of equal ratio, or the many high frequencies would decide alone.
    steps = np.geomspace(*EXPONENT_HZ, 40)
    levels = np.array([np.interp(steps, FREQS, one) for one in log_power])
    return -np.polyfit(np.log10(steps), levels.T, 1)[0]
