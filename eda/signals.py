"""The signals of a sample of recordings: amplitude, gaps, flat and saturated channels, line noise, spectra, per class.

One recording at a time, so memory does not grow with their number beyond a row of figures each.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from eda.charts import draw_boxes, draw_spectra, draw_stacks, measure_boxes
from eda.content import Content
from eda.recording import EXPONENT_HZ, FREQS, PLACES, measure_recording
from eda.style import RAMP
from kernel.constants import EEG_ELECTRODES
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


def add_signals(content: Content, signals: Signals) -> None:
    """Add the signals: figures and spectra by class, gaps, dead electrodes."""
    frame = signals.recordings
    content.facts["signals"] = signals
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
