"""The signals of a sample of recordings: amplitude, gaps, flat and saturated electrodes, mains, spectra, by class.

One recording at a time, so memory does not grow with their number beyond a row of figures each.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.signal import welch
from tqdm import tqdm

from eda.charts import draw_boxes, draw_spectra, draw_stacks, measure_boxes
from eda.content import Content
from eda.style import RAMP
from kernel.constants import EEG_ELECTRODES, SFREQ
from kernel.montage import build_montage
from kernel.recording import cut_window, read_electrodes, repair_gaps

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

MOSTLY = 0.5
"""A recording with more than this share of its samples missing, or of its electrodes dead, has little to teach."""


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


@dataclass(frozen=True)
class Signals:
    """What was measured: one row per recording read, electrodes, a mean spectrum per class, and what was unreadable."""

    recordings: pd.DataFrame
    electrodes: pd.DataFrame
    """Of each electrode the share of recordings where it is `flat`, `saturated`, and of its samples `missing`."""
    spectra: pd.DataFrame
    """By frequency (0 to 100 Hz) and class: power in uV^2 / Hz, the logarithm's mean over channels and recordings."""
    errors: dict[int, str]


def choose_sample(rows: pd.DataFrame, files: dict[int, Path], size: int, seed: int = 0) -> pd.DataFrame:
    """Choose up to `size` recordings, as evenly over the classes as there are, each with its most voted window."""
    known = rows[(rows["n_votes"] > 0) & rows["eeg_id"].isin(files.keys()) & rows["start"].notna()]
    best = known.sort_values(["n_votes", "top_share"], ascending=False, kind="stable").drop_duplicates("eeg_id")
    mixed = best.sample(frac=1, random_state=seed)
    # The k-th recording of every class comes before the (k + 1)-th of any.
    turn = mixed.groupby("consensus", observed=True).cumcount()
    return mixed.iloc[np.argsort(turn.to_numpy(), kind="stable")[:size]].sort_values("eeg_id")


def measure_signals(sample: pd.DataFrame, files: dict[int, Path]) -> Signals:
    """Read each recording of a sample and measure it; an unreadable one is noted and left out."""
    measured, errors = {}, {}
    chosen = sample[["eeg_id", "start"]].itertuples(index=False)
    for eeg_id, start in tqdm(chosen, desc="signals", unit="rec", total=len(sample), disable=None):
        try:
            measured[int(eeg_id)] = measure_recording(read_electrodes(files[int(eeg_id)]), int(start))
        except (ValueError, OSError) as error:
            errors[int(eeg_id)] = str(error)
    ids = pd.Index(measured, dtype=np.int64, name="eeg_id")
    recordings = pd.DataFrame([row for row, _, _ in measured.values()], ids)
    recordings.insert(0, "class", sample.set_index("eeg_id")["consensus"])
    spectra = pd.DataFrame([power for _, _, power in measured.values()], ids, pd.Index(FREQS, name="hertz"))
    electrodes = np.array([one for _, one, _ in measured.values()]).reshape(-1, 3, len(EEG_ELECTRODES))
    shares = electrodes.sum(axis=0).T / max(1, len(electrodes))
    return Signals(
        recordings=recordings,
        electrodes=pd.DataFrame(shares, pd.Index(EEG_ELECTRODES, name="electrode"), ["flat", "saturated", "missing"]),
        spectra=10 ** spectra.groupby(recordings["class"], observed=True).mean().dropna().T,
        errors=errors,
    )


def list_recordings_to_leave_out(recordings: pd.DataFrame, read: pd.DataFrame) -> pd.Series:
    """Return, by `eeg_id`, the `reason` why a recording has little or nothing to teach.

    `read` is what was measured of those whose signals were read. A recording shorter than a window is not among them:
    what it has is the middle, which was labelled.
    """
    unreadable = recordings["error"].notna()
    past_end = recordings["past_end"] & ~recordings["short"] & ~unreadable
    reasons = pd.DataFrame({"cannot be read": unreadable, "a window reaches past the end": past_end})
    if len(read):
        read = read.reindex(recordings.index)
        reasons["most samples are missing"] = read["missing"] > MOSTLY
        reasons["most electrodes are dead"] = read["flat"] + read["saturated"] > MOSTLY * len(EEG_ELECTRODES)
    reasons = reasons[reasons.any(axis=1)]
    joined = ["; ".join(reasons.columns[row]) for row in reasons.to_numpy(bool)]
    return pd.Series(joined, reasons.index, dtype=object, name="reason")


def add_signals(content: Content, signals: Signals, recordings: pd.DataFrame) -> None:
    """Add the signals: which recordings to leave out, figures and spectra by class, gaps, dead electrodes."""
    frame = signals.recordings
    left_out = list_recordings_to_leave_out(recordings, frame)
    content.facts |= {"signals": signals, "left_out": left_out}
    content.tables["recordings_to_leave_out"] = left_out.to_frame()
    if frame.empty:
        return
    content.tables["signals"] = frame
    alive = frame.dropna(subset=["amplitude"])
    for column, xlabel in (
        ("amplitude", "5–95% range of the median channel, µV"),
        ("line", "50 or 60 Hz, median channel, µV (root mean square)"),
        ("exponent", f"exponent, {EXPONENT_HZ[0]:g} to {EXPONENT_HZ[1]:g} Hz"),
    ):
        boxes = {"": measure_boxes(alive[column], alive["class"])}
        content.draw(f"signal_{column}", draw_boxes(boxes, xlabel, log=column == "amplitude"))
    if len(signals.spectra.columns):
        content.draw("spectra", draw_spectra(signals.spectra.iloc[1:]), signals.spectra)
    missing = frame.groupby("class", observed=True)[list(PLACES)].mean()
    for name, table, shares, colours, xlabel in (
        ("missing_samples", missing, missing.rename(columns=PLACES), RAMP[:3], "samples"),
        ("bad_electrodes", signals.electrodes, signals.electrodes[["flat", "saturated"]], RAMP[::2], "recordings"),
    ):
        content.tables[name] = table
        if shares.any(axis=None):
            content.draw(name, draw_stacks(shares, colours, f"share of the {xlabel}", columns=3, whole=False))
