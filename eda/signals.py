"""The signals of a sample of recordings: amplitude, gaps, flat and saturated channels, line noise, spectra, per class.

One recording at a time, so memory does not grow with their number beyond a row of figures each.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.signal import welch
from tqdm import tqdm

from eda.charts import draw_boxes, draw_spectra, draw_stacks
from eda.section import Section, Table
from eda.style import RAMP, count, number, percent
from kernel.constants import CLASS_NAMES, EEG_ELECTRODES, SFREQ
from kernel.montage import build_montage
from kernel.recording import cut_window, read_electrodes, repair_gaps

FLAT_MICROVOLTS = 0.5
"""An electrode or channel with samples whose standard deviation is below this over a window carries nothing."""

SATURATED_SHARE = 0.01
"""An electrode that spends this share of a window at exactly its largest or smallest value ran into its amplifier."""

SEGMENT = 4 * SFREQ
"""Welch's segments: 4 s, so that the spectrum has steps of 0.25 Hz."""

EXPONENT_HZ = (2.0, 40.0)
"""Where the power law is fitted: above the drifts, below the mains."""

LINE_HZ, NOISY_LINE = (50, 60), 5.0
"""Mains frequencies, and from how many microvolts (root mean square) on a line counts as noise."""

PLACES = {"start": "at the start", "inside": "inside", "end": "at the end"}
"""Where samples are missing in a recording."""


@dataclass(frozen=True)
class Signals:
    """What was measured: one row per recording read, electrodes, a mean spectrum per class, and what was unreadable."""

    recordings: pd.DataFrame
    electrodes: pd.DataFrame
    """Of each electrode the share of recordings where it is `flat`, `saturated`, and of its samples `missing`."""
    spectra: pd.DataFrame
    """By frequency (0 to 100 Hz) and class: power in uV^2 / Hz, the logarithm's mean over channels and recordings."""
    unreadable: dict[int, str]


def choose_sample(rows: pd.DataFrame, files: dict[int, Path], size: int, seed: int = 0) -> pd.DataFrame:
    """Choose up to `size` recordings, as evenly over the classes as there are, each with its most voted window."""
    known = rows[(rows["n_votes"] > 0) & rows["eeg_id"].isin(files.keys()) & rows["start"].notna()]
    best = known.sort_values(["n_votes", "top_share"], ascending=False, kind="stable").drop_duplicates("eeg_id")
    mixed = best.sample(frac=1, random_state=seed)
    # The k-th recording of every class comes before the (k + 1)-th of any.
    turn = mixed.groupby("consensus").cumcount()
    return mixed.iloc[np.argsort(turn.to_numpy(), kind="stable")[:size]].sort_values("eeg_id")


def measure_signals(sample: pd.DataFrame, files: dict[int, Path], progress: bool = True) -> Signals:
    """Read each recording of a sample and measure it; an unreadable one is noted and left out."""
    measured, electrodes, log_powers = [], [], {name: [] for name in CLASS_NAMES}
    unreadable = {}
    chosen = sample[["eeg_id", "start", "consensus"]].itertuples(index=False)
    quiet = None if progress else True
    for eeg_id, start, consensus in tqdm(chosen, desc="signals", unit="rec", total=len(sample), disable=quiet):
        try:
            row, per_electrode, log_power = measure_recording(read_electrodes(files[int(eeg_id)]), int(start))
        except (ValueError, OSError) as error:
            unreadable[int(eeg_id)] = str(error)
            continue
        measured.append({"eeg_id": int(eeg_id), "class": consensus, **row})
        electrodes.append(per_electrode)
        if log_power is not None:
            log_powers[consensus].append(log_power)
    mean = np.mean(electrodes, axis=0) if electrodes else np.zeros((3, len(EEG_ELECTRODES)))
    return Signals(
        recordings=pd.DataFrame(measured),
        electrodes=pd.DataFrame(mean.T, list(EEG_ELECTRODES), ["flat", "saturated", "missing"]),
        spectra=pd.DataFrame(
            {name: 10 ** np.mean(powers, axis=0) for name, powers in log_powers.items() if powers},
            index=pd.Index(np.fft.rfftfreq(SEGMENT, 1 / SFREQ), name="hertz"),
        ),
        unreadable=unreadable,
    )


def measure_recording(electrodes: np.ndarray, start: int) -> tuple[dict[str, float], np.ndarray, np.ndarray | None]:
    """Measure one recording.

    Parameters
    ----------
    electrodes : ndarray, shape (19, n_times), float32
        Microvolts, NaN in the gaps.
    start : int
        First sample of the labelled window; amplitudes and spectra are those of the window.

    Returns
    -------
    row : dict
        `nan_start`, `nan_inside`, `nan_end`: share of the recording's samples; `flat`, `saturated`: number of
        electrodes; `seconds`: the recording's length; `amplitude`: median over the channels of the 5-95% range,
        microvolts; `largest`: the same range of the largest channel; `line`: the stronger mains line's root mean
        square, median over the channels, microvolts; `exponent`: of the power law, median over the channels. NaN
        where no channel is alive.
    per_electrode : ndarray, shape (3, 19)
        1 where flat, 1 where saturated, share of samples missing.
    log_power : ndarray, shape (401,), or None
        Median over the channels of log10 of the power spectral density, None where no channel is alive.

    Raises
    ------
    ValueError
        If the window starts outside the recording.
    """
    window = cut_window(electrodes, start)
    flat, saturated = find_flat(window), find_saturated(window)
    gaps = place_gaps(electrodes)
    channels = repair_gaps(build_montage(window))
    spread = np.ptp(np.quantile(channels, (0.05, 0.95), axis=1), axis=0)
    alive = channels.std(axis=1) > FLAT_MICROVOLTS
    row = {f"nan_{place}": float(share.mean()) for place, share in zip(PLACES, gaps, strict=True)}
    row |= {"flat": int(flat.sum()), "saturated": int(saturated.sum()), "seconds": electrodes.shape[1] / SFREQ}
    per_electrode = np.array([flat, saturated, np.isnan(electrodes).mean(axis=1)], float)
    if not alive.any() or channels.shape[1] < SEGMENT:
        empty = dict.fromkeys(("amplitude", "largest", "line", "exponent"), np.nan)
        return row | empty, per_electrode, None
    freqs, power = welch(channels[alive].astype(np.float64), SFREQ, nperseg=SEGMENT, axis=1)
    log_power = np.log10(np.maximum(power, 1e-12))
    row |= {
        "amplitude": float(np.median(spread[alive])),
        "largest": float(spread.max()),
        "line": max(float(np.median(measure_line(freqs, power, hertz))) for hertz in LINE_HZ),
        "exponent": float(np.median(fit_exponent(freqs, log_power))),
    }
    return row, per_electrode, np.median(log_power, axis=0)


def find_flat(window: np.ndarray) -> np.ndarray:
    """Return which electrodes (n_electrodes, n_times) have samples that hardly change; a missing one is not flat."""
    some = np.isfinite(window).any(axis=1)
    flat = np.zeros(len(window), bool)
    flat[some] = np.nanstd(window[some], axis=1) < FLAT_MICROVOLTS
    return flat


def find_saturated(window: np.ndarray) -> np.ndarray:
    """Return which electrodes (n_electrodes, n_times) stay at exactly their largest or smallest value for too long."""
    largest = np.nanmax(window, axis=1, initial=-np.inf, keepdims=True)
    smallest = np.nanmin(window, axis=1, initial=np.inf, keepdims=True)
    at_end = np.maximum((window == largest).mean(axis=1), (window == smallest).mean(axis=1))
    return (at_end > SATURATED_SHARE) & ~find_flat(window)


def place_gaps(electrodes: np.ndarray) -> np.ndarray:
    """Return the share of each electrode's samples missing at the start, inside and at the end: (3, n_electrodes)."""
    known = np.isfinite(electrodes)
    n_times = electrodes.shape[1]
    some = known.any(axis=1)
    first = np.where(some, known.argmax(axis=1), 0)
    after = np.where(some, known[:, ::-1].argmax(axis=1), 0)
    return np.array([first, (~known).sum(axis=1) - first - after, after]) / n_times


def measure_line(freqs: np.ndarray, power: np.ndarray, hertz: float) -> np.ndarray:
    """Return a mains line's root mean square in microvolts, its surroundings taken away: shape (n_channels,).

    `power` is the spectral density (n_channels, n_freqs); the line is what stands out within 1 Hz, the surroundings
    are the median from 2 to 5 Hz away.
    """
    distance = np.abs(freqs - hertz)
    around = np.median(power[:, (distance >= 2) & (distance <= 5)], axis=1, keepdims=True)
    excess = (power[:, distance <= 1] - around).sum(axis=1) * (freqs[1] - freqs[0])
    return np.sqrt(np.maximum(excess, 0))


def fit_exponent(freqs: np.ndarray, log_power: np.ndarray) -> np.ndarray:
    """Fit power ~ 1 / f^exponent by least squares on log-log axes: shape (n_channels,)."""
    inside = (freqs >= EXPONENT_HZ[0]) & (freqs <= EXPONENT_HZ[1])
    # Steps of equal ratio, or the many high frequencies would decide alone.
    steps = np.geomspace(*EXPONENT_HZ, 40)
    levels = np.array([np.interp(steps, freqs[inside], one[inside]) for one in log_power])
    return -np.polyfit(np.log10(steps), levels.T, 1)[0]


def build_signals_section(signals: Signals, available: int) -> Section:
    """Lay the signals out as text, charts and tables."""
    section = Section("signals", "Signals")
    frame = signals.recordings
    section.tables.append(Table("signals", "Signals, one row a recording", frame))
    if frame.empty:
        section.text = [f"None of the {count(len(signals.unreadable), 'recording')} chosen could be read."]
        return section
    section.text = [
        f"{count(len(frame), 'recording')} of {number(available)} with votes and a file, chosen evenly over the "
        "classes; of each its window with the most votes. Amplitudes and spectra are those of the 18 bipolar channels.",
    ]
    _add_by_class(section, frame)
    if len(signals.spectra.columns):
        caption = (
            "Mean over recordings and channels of the logarithm of the power spectral density, 0.5 to 70 Hz, one line "
            "a class. 50 and 60 Hz are dotted."
        )
        figure = draw_spectra(signals.spectra.iloc[1:])
        section.add("spectra", "Mean spectrum by class", figure, caption, signals.spectra.reset_index())
    _add_gaps(section, frame)
    _add_electrodes(section, signals)
    return section


def _add_by_class(section: Section, frame: pd.DataFrame) -> None:
    alive = frame.dropna(subset=["amplitude"])
    noisy = float((alive["line"] > NOISY_LINE).mean()) if len(alive) else 0.0
    for column, title, xlabel, log, caption in (
        ("amplitude", "Amplitude by class", "5–95% range of the median channel, µV", True, "Of the repaired window."),
        ("line", "Line noise by class", "50 or 60 Hz, median channel, µV (root mean square)", False,
         f"{percent(noisy)} of the recordings have more than {NOISY_LINE:g} µV."),
        ("exponent", "Spectral exponent by class", f"exponent, {EXPONENT_HZ[0]:g} to {EXPONENT_HZ[1]:g} Hz", False,
         "Power falls as 1 / frequency to this exponent: the higher, the slower the EEG."),
    ):  # fmt: skip
        groups = {name: alive.loc[alive["class"] == name, column].to_numpy() for name in CLASS_NAMES}
        medians = ", ".join(f"{name} {np.median(values):.3g}" for name, values in groups.items() if len(values))
        figure = draw_boxes({"": groups}, xlabel, log)
        section.add(f"signal_{column}", title, figure, caption, details=f"Medians: {medians}.")


def _add_gaps(section: Section, frame: pd.DataFrame) -> None:
    columns = [f"nan_{place}" for place in PLACES]
    means = frame.groupby("class")[columns].mean().reindex(CLASS_NAMES).dropna()
    touched = float((frame[columns].sum(axis=1) > 0).mean())
    title, table = "Missing samples by place", means.reset_index()
    if not touched:
        section.text.append("No recording read lacks a sample.")
        section.tables.append(Table("missing_samples", title, table))
        return
    listed = ", ".join(
        f"{percent(frame[f'nan_{place}'].mean())} are missing {where}" for place, where in PLACES.items()
    )
    caption = f"{percent(touched)} of the recordings lack samples; of all samples, {listed}."
    means.columns = pd.Index(PLACES.values())
    figure = draw_stacks(means, RAMP[:3], "share of the samples", columns=3, whole=False)
    section.add("missing_samples", title, figure, caption, table)


def _add_electrodes(section: Section, signals: Signals) -> None:
    title, table = "Flat or saturated electrodes", signals.electrodes.rename_axis("electrode").reset_index()
    bad = signals.electrodes[["flat", "saturated"]]
    if not bad.to_numpy().any():
        section.text.append("No electrode is flat or saturated in the recordings read.")
        section.tables.append(Table("bad_electrodes", title, table))
        return
    either = bad.sum(axis=1)
    any_flat, any_saturated = (percent(float((signals.recordings[kind] > 0).mean())) for kind in bad)
    caption = (
        f"Flat: a deviation under {FLAT_MICROVOLTS} µV; saturated: over {percent(SATURATED_SHARE)} of the samples at "
        f"the very extreme. {any_flat} of the recordings have a flat electrode, {any_saturated} a saturated one; most "
        f"often {either.idxmax()} ({percent(float(either.max()))})."
    )
    figure = draw_stacks(bad, RAMP[::2], "share of the recordings", whole=False)
    section.add("bad_electrodes", title, figure, caption, table)
