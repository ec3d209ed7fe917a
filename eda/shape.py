"""The shape of a training set: what there is, what is missing, how rows, recordings and patients hang together.

Everything but the files and their lengths comes from `train.csv` alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.contrib.concurrent import thread_map

from eda.charts import draw_columns
from eda.rows import DERIVED
from eda.section import Section, Table
from eda.style import PAIR, RAMP, count, number, percent
from kernel.constants import SFREQ, WINDOW_SECONDS
from kernel.recording import read_length

COUNT_BINS = (1, 2, 3, 4, 6, 11, 21, 51, 101)
"""First count of each bin; the last one is open."""

LENGTH_BINS = (0, 50, 51, 60, 90, 120, 180, 300, 600, 1200)
GAP_BINS = (0, 2, 4, 6, 10, 20, 30, 40, 50)

READERS = 8
"""Files whose footers are read at once: on a mounted disk that is waiting, not work."""

BAR = RAMP[1:2]
OFFSET = "eeg_label_offset_seconds"


@dataclass(frozen=True)
class Shape:
    """What the shape of the data is, in tables; `lengths` has one entry per readable file, empty without files."""

    totals: dict[str, int]
    missing: pd.Series
    rows_per_recording: pd.Series
    recordings_per_patient: pd.Series
    gaps: np.ndarray
    """Seconds from each window of a recording to its next, shape (n_rows - n_recordings,)."""
    covered_seconds: float
    """EEG under at least one window."""
    recorded_seconds: float
    """Length of all recordings with rows, that of an unread one up to the end of its last window."""
    mixed: list[int]
    """Recordings that have rows of several patients."""
    twins: int
    """Rows that repeat another row's recording and offset."""
    files: int
    without_row: list[int]
    without_file: list[int]
    lengths: pd.Series
    at_least: pd.Series
    """Seconds from each recording's start to the end of its last window: what train.csv alone says of its length."""
    unreadable: dict[int, str]
    short: list[int]
    """Recordings shorter than one window."""
    past_end: list[int]
    """Recordings with a window that reaches past their end, short ones among them."""


def read_lengths(files: dict[int, Path], progress: bool = True) -> tuple[pd.Series, dict[int, str]]:
    """Read every recording's length in seconds from its footer; what cannot be read is returned with its reason."""

    def read(path: Path) -> float | str:
        try:
            return read_length(path) / SFREQ
        except (ValueError, OSError) as error:
            return str(error)

    quiet = None if progress and files else True
    found = thread_map(read, files.values(), max_workers=READERS, desc="lengths", unit="rec", disable=quiet)
    pairs = list(zip(files, found, strict=True))
    lengths = {eeg_id: value for eeg_id, value in pairs if not isinstance(value, str)}
    return pd.Series(lengths, dtype=float), {eeg_id: value for eeg_id, value in pairs if isinstance(value, str)}


def measure_shape(rows: pd.DataFrame, files: dict[int, Path], progress: bool = True) -> Shape:
    """Count what there is; a row without an id counts in no group of it."""
    lengths, unreadable = read_lengths(files, progress)
    known = rows.dropna(subset=["eeg_id", OFFSET]).sort_values(["eeg_id", OFFSET])
    gaps = known.groupby("eeg_id")[OFFSET].diff().to_numpy()
    per_recording = rows["eeg_id"].value_counts().sort_index()
    named = {int(eeg_id) for eeg_id in per_recording.index}
    ends = known.groupby("eeg_id")[OFFSET].max() + WINDOW_SECONDS
    real = lengths.reindex(ends.index)
    several = rows.groupby("eeg_id")["patient_id"].nunique()
    return Shape(
        totals={
            "rows": len(rows),
            "recordings": len(named),
            "patients": rows["patient_id"].nunique(),
            "spectrograms": rows["spectrogram_id"].nunique(),
        },
        missing=rows.drop(columns=list(DERIVED), errors="ignore").isna().sum(),
        rows_per_recording=per_recording,
        recordings_per_patient=rows.groupby("patient_id")["eeg_id"].nunique(),
        gaps=gaps[~np.isnan(gaps)],
        covered_seconds=measure_covered(known["eeg_id"], known[OFFSET], lengths),
        recorded_seconds=float(real.fillna(ends).sum()),
        mixed=[int(eeg_id) for eeg_id in several.index[several > 1]],
        twins=int(known.duplicated(["eeg_id", OFFSET]).sum()),
        files=len(files),
        without_row=sorted(files.keys() - named),
        without_file=sorted(named - files.keys()),
        lengths=lengths,
        at_least=ends,
        unreadable=unreadable,
        short=[int(eeg_id) for eeg_id in lengths.index[lengths < WINDOW_SECONDS]],
        past_end=[int(eeg_id) for eeg_id in ends.index[(ends > real + 0.5 / SFREQ).to_numpy()]],
    )


def measure_covered(eeg_ids: pd.Series, offsets: pd.Series, lengths: pd.Series) -> float:
    """Return the seconds of EEG under at least one window, of rows sorted by recording and offset.

    A window that would reach past its recording's end is held inside it, as `kernel.recording.place_window` does.
    """
    length = eeg_ids.map(lengths).fillna(np.inf)
    starts = np.minimum(offsets, np.maximum(0, length - WINDOW_SECONDS))
    to_next = pd.Series(starts, eeg_ids.index).groupby(eeg_ids).diff(-1).abs().fillna(np.inf)
    return float(np.minimum(np.minimum(to_next, WINDOW_SECONDS), length).sum())


def bin_shares(values: np.ndarray, bins: Sequence[int], whole: bool = False, weighted: bool = False) -> pd.Series:
    """Return the share of values, or of their sum, per bin [first, next), the last open, by the bin's name."""
    counts = np.histogram(values, [*bins, np.inf], weights=values if weighted else None)[0]
    names = [
        f"<{b}" if a == 0 and b > 9 else str(a) if b - a == 1 else f"{a}–{b - whole}"
        for a, b in itertools.pairwise(bins)
    ]
    return pd.Series(counts / max(1, counts.sum()), [*names, f"{bins[-1]}+"])


def build_shape_section(shape: Shape) -> Section:
    """Lay the shape out as text, charts and tables."""
    sizes = shape.rows_per_recording.to_numpy()
    single = int((sizes == 1).sum())
    covered, recorded = (number(s / 3600, 1) for s in (shape.covered_seconds, shape.recorded_seconds))
    at_least = "at least " if shape.lengths.reindex(shape.at_least.index).isna().any() else ""
    section = Section("shape", "Shape of the data")
    section.text = [
        f"A row of train.csv is one labelled window of {WINDOW_SECONDS} s. The recordings with rows last {at_least}"
        f"{recorded} h; {covered} h of that lie under one window or more.",
        f"{count(single, 'recording has', 'recordings have')} one row ({percent(single / max(1, len(sizes)))}); the "
        f"median has {number(float(np.median(sizes)))}, the largest {number(sizes.max())}."
        if len(sizes)
        else "No row names a recording.",
    ]
    section.tables = [_totals_table(shape), _missing_table(shape)]
    for name, title, groups, parts, values in (
        ("windows_per_recording", "Windows per recording", "recordings", "rows", shape.rows_per_recording),
        ("recordings_per_patient", "Recordings per patient", "patients", "recordings", shape.recordings_per_patient),
    ):
        if len(values):
            _add_sizes(section, name, title, groups, parts, values.to_numpy())
    if len(shape.gaps):
        overlapping = percent(float((shape.gaps < WINDOW_SECONDS).mean()))
        frame = bin_shares(shape.gaps, GAP_BINS).rename_axis("step_seconds").to_frame("share")
        figure = draw_columns(frame, BAR, "seconds from one window to the next", "share of the steps")
        caption = f"{overlapping} of consecutive windows overlap; the median step is {np.median(shape.gaps):g} s."
        section.add("window_overlap", "Overlap of windows", figure, caption, frame.reset_index())
    _add_lengths(section, shape)
    return section


def _totals_table(shape: Shape) -> Table:
    lines = {
        "rows": shape.totals["rows"],
        "recordings (eeg_id)": shape.totals["recordings"],
        "spectrogram ids": shape.totals["spectrograms"],
        "patients": shape.totals["patients"],
        "recordings with one row": int((shape.rows_per_recording == 1).sum()),
        "patients with one recording": int((shape.recordings_per_patient == 1).sum()),
        "rows with the same recording and offset as another": shape.twins,
    }
    if shape.files:
        lines |= {
            "recordings on disk": shape.files,
            "files without a row": len(shape.without_row),
            "recordings with rows and no file": len(shape.without_file),
            "unreadable files": len(shape.unreadable),
            f"recordings shorter than {WINDOW_SECONDS} s": len(shape.short),
            "recordings whose window reaches past their end": len(shape.past_end),
        }
    frame = pd.DataFrame(lines.items(), columns=["what", "count"])
    shown = pd.DataFrame({"What there is": frame["what"], "Count": frame["count"].map(number)})
    note = "" if shape.files else "No recordings were found beside train.csv, so nothing is said about files."
    if not shape.missing.any():
        note = f"No value is missing from train.csv. {note}".strip()
    return Table("shape", "Counts", frame, shown, note)


def _missing_table(shape: Shape) -> Table:
    frame = shape.missing.rename_axis("column").to_frame("missing").reset_index()
    frame["share"] = frame["missing"] / max(1, shape.totals["rows"])
    some = frame[frame["missing"] > 0]
    if some.empty:
        return Table("missing_values", "Missing values", frame)
    shown = some.assign(missing=some["missing"].map(number), share=some["share"].map(percent)).rename(columns=str.title)
    return Table("missing_values", "Missing values", frame, shown, "Other columns have no missing value.")


def _add_sizes(section: Section, name: str, title: str, groups: str, parts: str, sizes: np.ndarray) -> None:
    """Add how many groups have how many parts, and how much of all parts they hold."""
    frame = pd.DataFrame(
        {
            f"share of {groups}": bin_shares(sizes, COUNT_BINS, whole=True),
            f"share of their {parts}": bin_shares(sizes, COUNT_BINS, whole=True, weighted=True),
        }
    ).rename_axis(parts)
    figure = draw_columns(frame, PAIR, f"{parts} of a {groups[:-1]}", "share")
    top = max(1, round(0.01 * len(sizes)))
    held = percent(np.sort(sizes)[-top:].sum() / max(1, sizes.sum()))
    largest = f"the largest of the {number(len(sizes))} {groups} holds" if top == 1 else f"the largest 1% ({top}) hold"
    caption = f"The median is {np.median(sizes):g}, the maximum {number(sizes.max())}; {largest} {held} of the {parts}."
    section.add(name, title, figure, caption, frame.rename(columns=lambda n: n.replace(" ", "_")).reset_index())


def _add_lengths(section: Section, shape: Shape) -> None:
    real = len(shape.lengths) > 0
    values = (shape.lengths if real else shape.at_least).to_numpy()
    if not len(values):
        return
    frame = bin_shares(values, LENGTH_BINS).rename_axis("seconds").to_frame("share")
    title = "Lengths of the recordings" if real else "Lengths of the recordings, at least"
    figure = draw_columns(frame, BAR, "length in seconds", "share of recordings")
    known = "" if real else " Only the end of the last labelled window is known without the files."
    caption = f"The median lasts {np.median(values):g} s, the longest {number(values.max())} s.{known}"
    section.add("lengths", title, figure, caption, frame.reset_index())
