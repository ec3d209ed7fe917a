"""The shape of a training set: what there is, what is missing, how rows, recordings and patients hang together.

Called by `report.py`; everything but the files and their lengths comes from `train.csv` alone.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from eda.charts import draw_columns
from eda.rows import DERIVED, ID_COLUMNS
from eda.section import Section, Table, render
from eda.style import count, number, percent
from kernel.constants import SFREQ, WINDOW_SECONDS

COUNT_BINS = (1, 2, 3, 4, 6, 11, 21, 51, 101)
"""First count of each bin; the last one is open."""

LENGTH_BINS = (0, 50, 51, 60, 90, 120, 180, 300, 600, 1200)
GAP_BINS = (0, 2, 4, 6, 10, 20, 30, 40, 50)

BAR, OTHER_BAR = "#5B7DB1", "#C9A227"


@dataclass(frozen=True)
class Shape:
    """What the shape of the data is, in tables; `lengths` has one entry per readable file, empty without files."""

    totals: dict[str, float]
    missing: pd.Series
    rows_per_recording: pd.Series
    recordings_per_patient: pd.Series
    gaps: np.ndarray
    """Seconds from each window of a recording to its next, shape (n_rows - n_recordings,)."""
    covered_seconds: float
    """EEG under at least one window."""
    mixed: dict[str, list[int]]
    """Recordings that have several values of an id, by the id's name."""
    twins: int
    """Rows that repeat another row's recording and offset."""
    files: int
    without_row: list[int]
    without_file: list[int]
    lengths: pd.Series
    at_least: pd.Series
    """Seconds from each recording's start to the end of its last window: what train.csv alone says of its length."""
    unreadable: dict[int, str]
    past_end: list[int]
    """Recordings with a window that reaches past their end."""


def read_lengths(files: dict[int, Path], progress: bool = True) -> tuple[pd.Series, dict[int, str]]:
    """Read every recording's length in seconds from its footer; what cannot be read is returned with its reason."""
    lengths, unreadable = {}, {}
    for eeg_id, path in tqdm(files.items(), desc="lengths", unit="rec", disable=not (progress and files)):
        try:
            lengths[eeg_id] = pq.read_metadata(path).num_rows / SFREQ
        except (pa.ArrowException, OSError) as error:
            unreadable[eeg_id] = f"{path}: not a readable parquet file ({str(error).splitlines()[0]}); copy it again"
    return pd.Series(lengths, dtype=float, name="seconds"), unreadable


def measure_shape(rows: pd.DataFrame, files: dict[int, Path], progress: bool = True) -> Shape:
    """Count what there is; a row without an id counts in no group of it."""
    lengths, unreadable = read_lengths(files, progress)
    known = rows.dropna(subset=["eeg_id", "eeg_label_offset_seconds"])
    ordered = known.sort_values(["eeg_id", "eeg_label_offset_seconds"])
    gaps = ordered.groupby("eeg_id")["eeg_label_offset_seconds"].diff().to_numpy()
    per_recording = rows["eeg_id"].value_counts().sort_index()
    named = {int(eeg_id) for eeg_id in per_recording.index}
    ends = known.groupby("eeg_id")["eeg_label_offset_seconds"].max() + WINDOW_SECONDS
    real = lengths.reindex(ends.index)
    # A recording shorter than one window is no error of its row: its middle is what was labelled.
    past_end = ends.index[(ends > np.maximum(real, WINDOW_SECONDS) + 1 / SFREQ).to_numpy()]
    kinds = rows.groupby("eeg_id")[["patient_id", "spectrogram_id"]].nunique()
    return Shape(
        totals={"rows": len(rows), "recordings": len(named), **{n: rows[n].nunique() for n in ID_COLUMNS[1:]}},
        missing=rows.drop(columns=list(DERIVED)).isna().sum(),
        rows_per_recording=per_recording,
        recordings_per_patient=rows.groupby("patient_id")["eeg_id"].nunique(),
        gaps=gaps[~np.isnan(gaps)],
        covered_seconds=float(np.where(np.isnan(gaps), WINDOW_SECONDS, np.minimum(gaps, WINDOW_SECONDS)).sum()),
        mixed={str(name): sorted(map(int, kinds.index[kinds[name] > 1])) for name in kinds},
        twins=int(known.duplicated(["eeg_id", "eeg_label_offset_seconds"]).sum()),
        files=len(files),
        without_row=sorted(files.keys() - named),
        without_file=sorted(named - files.keys()),
        lengths=lengths,
        at_least=ends,
        unreadable=unreadable,
        past_end=[int(eeg_id) for eeg_id in past_end],
    )


def bin_counts(values: np.ndarray, bins: tuple[int, ...], weights: np.ndarray | None = None) -> np.ndarray:
    """Count whole or real values per bin [first, next), the last open: shape (len(bins),)."""
    return np.histogram(values, [*bins, np.inf], weights=weights)[0]


def bin_labels(bins: tuple[int, ...], whole: bool = True) -> list[str]:
    """Name the bins: `4-5` for whole numbers, `60-90` for real ones, `101+`."""
    last = [f"{bins[-1]}+"]
    pairs = itertools.pairwise(bins)
    if not whole:
        return [f"<{b}" if a == 0 else str(a) if b - a == 1 else f"{a}–{b}" for a, b in pairs] + last
    return [str(a) if b - a == 1 else f"{a}–{b - 1}" for a, b in pairs] + last


def build_shape_section(shape: Shape) -> Section:
    """Lay the shape out as text, charts and tables."""
    section = Section("shape", "Shape of the data")
    totals, sizes = shape.totals, shape.rows_per_recording.to_numpy()
    single = int((sizes == 1).sum())
    hours, covered = totals["rows"] * WINDOW_SECONDS / 3600, shape.covered_seconds / 3600
    section.text = [
        f"A row of train.csv is one labelled window of {WINDOW_SECONDS} s. "
        + (
            f"Windows overlap: laid end to end they would last {number(hours, 1)} h, but they cover "
            f"{number(covered, 1)} h of distinct EEG."
            if covered < hours - 0.05
            else f"They cover {number(hours, 1)} h of EEG and hardly overlap."
        ),
        f"{count(single, 'recording has', 'recordings have')} one row ({percent(single / max(1, len(sizes)))}); the "
        f"median has {number(float(np.median(sizes)))}, the largest {number(sizes.max())}."
        if len(sizes)
        else "No row names a recording.",
    ]
    section.tables = [_totals_table(shape), _missing_table(shape)]
    _draw_counts(section, shape)
    gap_share = bin_counts(shape.gaps, GAP_BINS) / max(1, len(shape.gaps))
    if len(shape.gaps):
        overlapping = percent(float((shape.gaps < WINDOW_SECONDS).mean()))
        summary = f"{overlapping} of consecutive windows overlap; the median step is {np.median(shape.gaps):g} s."
        labels = [f"{a}–{b}" for a, b in itertools.pairwise(GAP_BINS)] + [f"{GAP_BINS[-1]}+"]
        section.pictures.append(
            render(
                draw_columns(
                    labels, [("", gap_share, BAR)], "seconds from one window to the next", "share of the steps"
                ),
                "window_overlap",
                "Overlap of windows",
                f"Column chart of the seconds between consecutive windows of a recording. {summary}",
                summary,
            )
        )
        section.tables.append(
            Table("window_overlap", "Overlap of windows", pd.DataFrame({"step_seconds": labels, "share": gap_share}))
        )
    _draw_lengths(section, shape)
    return section


def _totals_table(shape: Shape) -> Table:
    lines: list[tuple[str, float]] = [
        ("rows", shape.totals["rows"]),
        ("recordings (eeg_id)", shape.totals["recordings"]),
        ("spectrogram ids", shape.totals["spectrogram_id"]),
        ("patients", shape.totals["patient_id"]),
        ("recordings with one row", int((shape.rows_per_recording == 1).sum())),
        ("patients with one recording", int((shape.recordings_per_patient == 1).sum())),
        ("rows with the same recording and offset as another", shape.twins),
    ]
    if shape.files:
        lines += [
            ("recordings on disk", shape.files),
            ("files without a row", len(shape.without_row)),
            ("recordings with rows and no file", len(shape.without_file)),
            ("unreadable files", len(shape.unreadable)),
            ("recordings whose window reaches past their end", len(shape.past_end)),
        ]
    frame = pd.DataFrame(lines, columns=["what", "count"])
    shown = pd.DataFrame({"What there is": frame["what"], "Count": frame["count"].map(number)})
    note = "" if shape.files else "No recordings were found beside train.csv, so nothing is said about files."
    return Table("shape", "Counts", frame, shown, note)


def _missing_table(shape: Shape) -> Table:
    frame = pd.DataFrame({"column": shape.missing.index, "missing": shape.missing.to_numpy()})
    frame["share"] = frame["missing"] / max(1, shape.totals["rows"])
    some = frame[frame["missing"] > 0]
    if some.empty:
        return Table("missing_values", "Missing values", frame, None, "No value is missing from train.csv.")
    shown = pd.DataFrame(
        {"Column": some["column"], "Missing": some["missing"].map(number), "Share": some["share"].map(percent)}
    )
    return Table("missing_values", "Missing values", frame, shown, "Other columns have no missing value.")


def _draw_counts(section: Section, shape: Shape) -> None:
    """Draw rows per recording and recordings per patient: how many groups have that size, and how much they hold."""
    for name, title, groups, parts, sizes in (
        ("windows_per_recording", "Windows per recording", "recordings", "rows", shape.rows_per_recording),
        ("recordings_per_patient", "Recordings per patient", "patients", "recordings", shape.recordings_per_patient),
    ):
        values = sizes.to_numpy()
        if not len(values):
            continue
        of_groups = bin_counts(values, COUNT_BINS) / len(values)
        of_parts = bin_counts(values, COUNT_BINS, weights=values) / max(1, values.sum())
        labels = bin_labels(COUNT_BINS)
        figure = draw_columns(
            labels, [(f"share of {groups}", of_groups, BAR), (f"share of their {parts}", of_parts, OTHER_BAR)],
            f"{parts} of a {groups[:-1]}", "share",
        )  # fmt: skip
        top = np.sort(values)[-max(1, round(0.01 * len(values))) :]
        held = percent(top.sum() / max(1, values.sum()))
        summary = (
            f"The median is {np.median(values):g}, the maximum {number(values.max())}; the largest 1% of the {groups} "
            f"hold {held} of the {parts}."
        )
        alt = f"Column chart: {title.lower()}, as share of {groups} and of their {parts}. {summary}"
        section.pictures.append(render(figure, name, title, alt, summary))
        frame = pd.DataFrame({parts: labels, f"share_of_{groups}": of_groups, f"share_of_{parts}": of_parts})
        section.tables.append(Table(name, title, frame))


def _draw_lengths(section: Section, shape: Shape) -> None:
    real = len(shape.lengths) > 0
    values = (shape.lengths if real else shape.at_least).to_numpy()
    if not len(values):
        return
    labels = [f"<{LENGTH_BINS[1]}", "50", *bin_labels(LENGTH_BINS[2:], whole=False)]
    share = bin_counts(values, LENGTH_BINS) / len(values)
    title = "Lengths of the recordings" if real else "Lengths of the recordings, at least"
    figure = draw_columns(labels, [("", share, BAR)], "length in seconds", "share of recordings")
    known = "" if real else " at least: only the last labelled window of each is known without its file"
    summary = (
        f"{number(len(values))} recordings, {number(values.sum() / 3600, 1)} h{known}; the median lasts "
        f"{np.median(values):g} s, the longest {number(values.max())} s."
    )
    section.pictures.append(render(figure, "lengths", title, f"Column chart of the lengths. {summary}", summary))
    section.tables.append(Table("lengths", title, pd.DataFrame({"seconds": labels, "share": share})))
