"""The signals of a sample of recordings: amplitude, gaps, flat and saturated channels, line noise, spectra, per class.

One recording at a time, so memory does not grow with their number beyond a row of figures each.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from eda.charts import draw_boxes, draw_spectra, draw_stacks, quantiles_by_class
from eda.recording import (
    EXPONENT_HZ,
    FLAT_MICROVOLTS,
    NOISY_LINE,
    PLACES,
    SATURATED_SHARE,
    SEGMENT,
    measure_recording,
)
from eda.rows import CLASSES
from eda.section import Section, Table
from eda.style import RAMP, count, number, percent
from kernel.constants import EEG_ELECTRODES, SFREQ
from kernel.recording import read_electrodes


@dataclass(frozen=True)
class Signals:
    """What was measured: one row per recording read, electrodes, a mean spectrum per class, and what was unreadable."""

    recordings: pd.DataFrame
    electrodes: pd.DataFrame
    """Of each electrode the share of recordings where it is `flat`, `saturated`, and of its samples `missing`."""
    spectra: pd.DataFrame
    """By frequency (0 to 100 Hz) and class: power in uV^2 / Hz, the logarithm's mean over channels and recordings."""
    errors: dict[int, str]

    def share_missing(self) -> pd.Series:
        """Return the share of each recording's samples that is missing."""
        return self.recordings[list(PLACES)].sum(axis=1)


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
    measured, electrodes, errors = [], [], {}
    log_powers: dict[str, list[np.ndarray]] = {name: [] for name in CLASSES}
    chosen = sample[["eeg_id", "start", "consensus"]].itertuples(index=False)
    for eeg_id, start, consensus in tqdm(chosen, desc="signals", unit="rec", total=len(sample), disable=None):
        try:
            row, per_electrode, log_power = measure_recording(read_electrodes(files[int(eeg_id)]), int(start))
        except (ValueError, OSError) as error:
            errors[int(eeg_id)] = str(error)
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
        errors=errors,
    )


def build_signals_section(signals: Signals, available: int) -> Section:
    """Lay the signals out as text, charts and tables."""
    section = Section("signals", "Signals")
    frame = signals.recordings
    section.tables.append(Table("signals", "Signals, one row a recording", frame))
    if frame.empty:
        section.text = [f"None of the {count(len(signals.errors), 'recording')} chosen could be read."]
        return section
    section.text = [
        f"{count(len(frame), 'recording')} of {number(available)} with votes and a file, chosen evenly over the "
        "classes; of each its window with the most votes. Amplitudes and spectra are those of the 18 bipolar channels."
    ]
    _add_by_class(section, frame.dropna(subset=["amplitude"]))
    if len(signals.spectra.columns):
        caption = (
            "Mean over recordings and channels of the logarithm of the power spectral density, 0.5 to 70 Hz, one line "
            "a class. 50 and 60 Hz are dotted."
        )
        figure = draw_spectra(signals.spectra.iloc[1:])
        section.add("spectra", "Mean spectrum by class", figure, caption, signals.spectra.reset_index())
    _add_gaps(section, signals)
    _add_electrodes(section, signals)
    return section


def _add_by_class(section: Section, alive: pd.DataFrame) -> None:
    noisy = percent(float((alive["line"] > NOISY_LINE).mean()) if len(alive) else 0)
    for column, title, xlabel, caption in (
        ("amplitude", "Amplitude by class", "5–95% range of the median channel, µV", "Of the repaired window."),
        ("line", "Line noise by class", "50 or 60 Hz, median channel, µV (root mean square)",
         f"{noisy} of the recordings have more than {NOISY_LINE:g} µV."),
        ("exponent", "Spectral exponent by class", f"exponent, {EXPONENT_HZ[0]:g} to {EXPONENT_HZ[1]:g} Hz",
         "Power falls as 1 / frequency to this exponent: the higher, the slower the EEG."),
    ):  # fmt: skip
        table = quantiles_by_class(alive[column], alive["class"])
        section.add(f"signal_{column}", title, draw_boxes({"": table}, xlabel, log=column == "amplitude"), caption)


def _add_gaps(section: Section, signals: Signals) -> None:
    frame, title = signals.recordings, "Missing samples by place"
    means = frame.groupby("class")[list(PLACES)].mean().reindex(CLASSES).dropna()
    section.tables.append(Table("missing_samples", title, means.reset_index()))
    if not means.any(axis=None):
        section.text.append("No recording read lacks a sample.")
        return
    listed = ", ".join(f"{percent(frame[column].mean())} are missing {where}" for column, where in PLACES.items())
    touched = percent(float((signals.share_missing() > 0).mean()))
    caption = f"{touched} of the recordings lack samples; of all samples, {listed}."
    figure = draw_stacks(means.rename(columns=PLACES), RAMP[:3], "share of the samples", columns=3, whole=False)
    section.add("missing_samples", title, figure, caption)


def _add_electrodes(section: Section, signals: Signals) -> None:
    title = "Flat or saturated electrodes"
    section.tables.append(Table("bad_electrodes", title, signals.electrodes.rename_axis("electrode").reset_index()))
    bad = signals.electrodes[["flat", "saturated"]]
    if not bad.any(axis=None):
        section.text.append("No electrode is flat or saturated in the recordings read.")
        return
    either = bad.sum(axis=1)
    flat, saturated = (percent(float((signals.recordings[kind] > 0).mean())) for kind in bad)
    caption = (
        f"Flat: a deviation under {FLAT_MICROVOLTS} µV; saturated: over {percent(SATURATED_SHARE)} of the samples at "
        f"the very extreme. {flat} of the recordings have a flat electrode, {saturated} a saturated one; most "
        f"often {either.idxmax()} ({percent(float(either.max()))})."
    )
    figure = draw_stacks(bad, RAMP[::2], "share of the recordings", whole=False)
    section.add("bad_electrodes", title, figure, caption)
