"""The signals of a sample of recordings: amplitude, gaps, flat and saturated channels, line noise, spectra, per class.

Called by `report.py`. One recording at a time, so memory does not grow with their number beyond a row of figures each.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.signal import welch
from tqdm import tqdm

from eda.charts import draw_boxes, draw_spectra, draw_stacks
from eda.section import Section, Table, render
from eda.style import CLASS_COLOURS, count, number, percent
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

PLACES = ("start", "inside", "end")


@dataclass
class Signals:
    """What was measured: one row per recording read, a mean spectrum per class, and what could not be read."""

    recordings: pd.DataFrame
    flat: np.ndarray
    saturated: np.ndarray
    missing: np.ndarray
    """Share of the recordings in which an electrode is flat, saturated; of the samples that it lacks: (19,) each."""
    freqs: np.ndarray
    spectra: dict[str, np.ndarray]
    """Mean of the log10 power (uV^2 / Hz) over channels and recordings, by class."""
    unreadable: dict[int, str] = field(default_factory=dict)


def choose_sample(rows: pd.DataFrame, files: dict[int, Path], size: int, seed: int = 0) -> pd.DataFrame:
    """Choose up to `size` recordings, as evenly over the classes as there are, each with its most voted window."""
    known = rows[(rows["n_votes"] > 0) & rows["eeg_id"].isin(files.keys()) & rows["eeg_label_offset_seconds"].notna()]
    best = known.sort_values(["n_votes", "top_share"], ascending=False, kind="stable").drop_duplicates("eeg_id")
    mixed = best.sample(frac=1, random_state=seed)
    # The k-th recording of every class comes before the (k + 1)-th of any.
    turn = mixed.groupby("consensus").cumcount()
    return mixed.iloc[np.argsort(turn.to_numpy(), kind="stable")[:size]].sort_values("eeg_id")


def measure_signals(sample: pd.DataFrame, files: dict[int, Path], progress: bool = True) -> Signals:
    """Read each recording of a sample and measure it; an unreadable one is noted and left out."""
    freqs = np.fft.rfftfreq(SEGMENT, 1 / SFREQ)
    sums = {name: np.zeros(len(freqs)) for name in CLASS_NAMES}
    numbers = dict.fromkeys(CLASS_NAMES, 0)
    flat, saturated, missing = (np.zeros(len(EEG_ELECTRODES)) for _ in range(3))
    measured, unreadable = [], {}
    chosen = sample[["eeg_id", "eeg_label_offset_seconds", "consensus"]].itertuples(index=False)
    for eeg_id, offset, consensus in tqdm(chosen, desc="signals", unit="rec", total=len(sample), disable=not progress):
        try:
            electrodes = read_electrodes(files[int(eeg_id)])
            row, per_electrode, log_power = measure_recording(electrodes, int(offset * SFREQ))
        except (ValueError, OSError) as error:
            unreadable[int(eeg_id)] = str(error)
            continue
        measured.append({"eeg_id": int(eeg_id), "class": consensus, **row})
        flat, saturated, missing = flat + per_electrode[0], saturated + per_electrode[1], missing + per_electrode[2]
        if log_power is not None:
            sums[consensus] += log_power
            numbers[consensus] += 1
    total = max(1, len(measured))
    return Signals(
        recordings=pd.DataFrame(measured),
        flat=flat / total,
        saturated=saturated / total,
        missing=missing / total,
        freqs=freqs,
        spectra={name: sums[name] / numbers[name] for name in CLASS_NAMES if numbers[name]},
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
    _draw_by_class(section, frame)
    if signals.spectra:
        figure = draw_spectra(signals.freqs[1:], {n: p[1:] for n, p in signals.spectra.items()}, CLASS_COLOURS)
        caption = (
            "Mean over recordings and channels of the logarithm of the power spectral density. 50 and 60 Hz are dotted."
        )
        alt = f"Line chart of power against frequency, 0.5 to 70 Hz, one line a class. {caption}"
        section.pictures.append(render(figure, "spectra", "Mean spectrum by class", alt, caption))
        spectra = pd.DataFrame({"hertz": signals.freqs, **{n: 10**p for n, p in signals.spectra.items()}})
        section.tables.append(Table("spectra", "Mean spectrum by class (uV^2/Hz)", spectra))
    _draw_gaps(section, frame)
    _draw_electrodes(section, signals)
    return section


def _draw_by_class(section: Section, frame: pd.DataFrame) -> None:
    alive = frame.dropna(subset=["amplitude"])
    noisy = float((alive["line"] > NOISY_LINE).mean()) if len(alive) else 0.0
    for column, title, xlabel, log, caption in (
        ("amplitude", "Amplitude by class", "5–95% range of the median channel, µV", True, "Of the repaired window."),
        ("line", "Line noise by class", "50 or 60 Hz, median channel, µV (root mean square)", False,
         f"{percent(noisy)} of the recordings have more than {NOISY_LINE:g} µV."),
        ("exponent", "Spectral exponent by class", f"exponent, {EXPONENT_HZ[0]:g} to {EXPONENT_HZ[1]:g} Hz", False,
         "Power falls as 1 / frequency to this exponent: the higher, the slower the EEG."),
    ):  # fmt: skip
        groups = [(n, alive.loc[alive["class"] == n, column].to_numpy(), c) for n, c in CLASS_COLOURS.items()]
        medians = ", ".join(f"{n} {np.median(v):.3g}" for n, v, _ in groups if len(v))
        alt = f"Box chart. Medians: {medians}. {caption}"
        section.pictures.append(
            render(draw_boxes([("", groups)], xlabel, log), f"signal_{column}", title, alt, caption)
        )


def _draw_gaps(section: Section, frame: pd.DataFrame) -> None:
    columns = [f"nan_{place}" for place in PLACES]
    means = frame.groupby("class")[columns].mean().reindex(CLASS_NAMES).dropna()
    touched = float((frame[columns].sum(axis=1) > 0).mean())
    section.tables.append(Table("missing_samples", "Missing samples by place", means.reset_index()))
    if not touched:
        section.text.append("No recording read lacks a sample.")
        return
    caption = (
        f"{percent(touched)} of the recordings lack samples; of all samples, "
        + ", ".join(f"{percent(frame[c].mean())} are missing {_AT[p]}" for c, p in zip(columns, PLACES, strict=True))
        + "."
    )
    part = [(_AT[p], means[c].to_numpy(), colour) for c, p, colour in zip(columns, PLACES, _GAP_COLOURS, strict=True)]
    figure = draw_stacks(list(means.index), part, "share of the samples", columns=3, whole=False)
    section.pictures.append(render(figure, "missing_samples", "Missing samples by place", f"Bars. {caption}", caption))


_AT = {"start": "at the start", "inside": "inside", "end": "at the end"}
_GAP_COLOURS = ("#C9A227", "#A8446B", "#2C5F8A")


def _draw_electrodes(section: Section, signals: Signals) -> None:
    bad = pd.DataFrame({"electrode": EEG_ELECTRODES, "flat": signals.flat, "saturated": signals.saturated})
    bad["missing"] = signals.missing
    title = "Flat or saturated electrodes"
    section.tables.append(Table("bad_electrodes", title, bad))
    if not bad[["flat", "saturated"]].to_numpy().any():
        section.text.append("No electrode is flat or saturated in the recordings read.")
        return
    parts = [("flat", signals.flat, _GAP_COLOURS[0]), ("saturated", signals.saturated, _GAP_COLOURS[1])]
    figure = draw_stacks(list(EEG_ELECTRODES), parts, "share of the recordings", whole=False)
    either = signals.flat + signals.saturated
    worst = int(either.argmax())
    any_flat = percent(float((signals.recordings["flat"] > 0).mean()))
    any_saturated = percent(float((signals.recordings["saturated"] > 0).mean()))
    caption = (
        f"Flat: a deviation under {FLAT_MICROVOLTS} µV; saturated: over {percent(SATURATED_SHARE)} of the samples at "
        f"the very extreme. {any_flat} of the recordings have a flat electrode, {any_saturated} a saturated one; most "
        f"often {EEG_ELECTRODES[worst]} ({percent(float(either[worst]))})."
    )
    section.pictures.append(render(figure, "bad_electrodes", title, f"Bars by electrode. {caption}", caption))
