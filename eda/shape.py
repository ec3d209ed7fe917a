"""The shape of a training set: what there is, what is missing, how rows, recordings and patients hang together.

Everything but the files and their lengths comes from `train.csv` alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.contrib.concurrent import thread_map

from eda.charts import draw_columns
from eda.rows import OFFSET, count_missing
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


def measure_recordings(rows: pd.DataFrame, files: dict[int, Path]) -> pd.DataFrame:
    """Return what there is of every recording that has rows or a file.

    Columns: `rows` and `patients`, their numbers; `end`, seconds from its start to the end of its last window, which is
    all that `train.csv` says of its length; `file`, whether it has one; `seconds`, its length as read from the file's
    footer; `error`, why that cannot be read. Indexed by `eeg_id`; a row without an id counts nowhere.
    """

    def read(path: Path) -> tuple[float, str | None]:
        try:
            return read_length(path) / SFREQ, None
        except (ValueError, OSError) as error:
            return np.nan, str(error)

    found = thread_map(read, files.values(), max_workers=READERS, desc="lengths", unit="rec", disable=None)
    groups = rows.groupby("eeg_id")
    on_disk = pd.DataFrame(found, pd.Index(files, dtype=np.int64), ["seconds", "error"])
    ids = on_disk.index.union(pd.Index(rows["eeg_id"].dropna().astype(np.int64).unique()))
    return pd.DataFrame(
        {
            "rows": groups.size().reindex(ids, fill_value=0),
            "patients": groups["patient_id"].nunique().reindex(ids, fill_value=0),
            "end": groups[OFFSET].max().reindex(ids) + WINDOW_SECONDS,
            "file": ids.isin(on_disk.index),
            "seconds": on_disk["seconds"].reindex(ids).astype(float),
            "error": on_disk["error"].reindex(ids).astype(object),
        },
        ids.rename("eeg_id"),
    )


def find_short(recordings: pd.DataFrame) -> pd.Series:
    """Return which recordings are shorter than one window."""
    return recordings["seconds"] < WINDOW_SECONDS


def find_past_end(recordings: pd.DataFrame) -> pd.Series:
    """Return which recordings have a window that reaches past their end, short ones among them."""
    return recordings["end"] > recordings["seconds"] + 0.5 / SFREQ


def count_twins(rows: pd.DataFrame) -> int:
    """Count the rows that repeat another row's recording and offset."""
    return int(rows.dropna(subset=["eeg_id", OFFSET]).duplicated(["eeg_id", OFFSET]).sum())


def measure_steps(rows: pd.DataFrame) -> pd.Series:
    """Return the seconds from each window of a recording to its next."""
    return rows.sort_values(OFFSET).groupby("eeg_id")[OFFSET].diff().dropna()


def measure_covered(rows: pd.DataFrame, recordings: pd.DataFrame) -> float:
    """Return the seconds of EEG under at least one window.

    A window that would reach past its recording's end is held inside it, as `kernel.recording.place_window` does.
    """
    known = rows.dropna(subset=["eeg_id", OFFSET]).sort_values(["eeg_id", OFFSET])
    length = known["eeg_id"].map(recordings["seconds"]).fillna(np.inf)
    starts = known[OFFSET].clip(upper=(length - WINDOW_SECONDS).clip(lower=0))
    to_next = starts.groupby(known["eeg_id"]).diff(-1).abs().fillna(np.inf)
    return float(to_next.clip(upper=WINDOW_SECONDS).clip(upper=length).sum())


def measure_recorded(recordings: pd.DataFrame) -> float:
    """Return the seconds of all recordings with rows, of an unread one those up to the end of its last window."""
    return float(recordings["seconds"].fillna(recordings["end"])[recordings["end"].notna()].sum())


def bin_shares(values: pd.Series, bins: Sequence[int], whole: bool = False, weighted: bool = False) -> pd.Series:
    """Return the share of values, or of their sum, per bin [first, next), the last open, by the bin's name."""
    counts = np.histogram(values, [*bins, np.inf], weights=values if weighted else None)[0]
    names = [
        f"<{b}" if a == 0 and b > 9 else str(a) if b - a == 1 else f"{a}–{b - whole}"
        for a, b in itertools.pairwise(bins)
    ]
    return pd.Series(counts / max(1, counts.sum()), [*names, f"{bins[-1]}+"])


def build_shape_section(rows: pd.DataFrame, recordings: pd.DataFrame) -> Section:
    """Lay the shape out as text, charts and tables."""
    sizes = recordings.loc[recordings["rows"] > 0, "rows"]
    per_patient = rows.groupby("patient_id")["eeg_id"].nunique()
    covered = number(measure_covered(rows, recordings) / 3600, 1)
    recorded = number(measure_recorded(recordings) / 3600, 1)
    at_least = "at least " if recordings.loc[recordings["end"].notna(), "seconds"].isna().any() else ""
    section = Section("shape", "Shape of the data")
    section.text = [
        f"A row of train.csv is one labelled window of {WINDOW_SECONDS} s. The recordings with rows last {at_least}"
        f"{recorded} h; {covered} h of that lie under one window or more.",
    ]
    section.tables = [_totals_table(rows, recordings, per_patient), _missing_table(rows)]
    for name, title, groups, parts, values in (
        ("windows_per_recording", "Windows per recording", "recordings", "rows", sizes),
        ("recordings_per_patient", "Recordings per patient", "patients", "recordings", per_patient),
    ):
        if len(values):
            _add_sizes(section, name, title, groups, parts, values)
    steps = measure_steps(rows)
    overlapping = percent(float((steps < WINDOW_SECONDS).mean()))
    caption = f"{overlapping} of consecutive windows overlap; the median step is {steps.median():g} s."
    labels = ("seconds from one window to the next", "share of the steps")
    _add_shares(section, "window_overlap", "Overlap of windows", steps, GAP_BINS, labels, caption)
    lengths, title, known = recordings["seconds"].dropna(), "Lengths of the recordings", ""
    if lengths.empty:
        lengths, title = recordings["end"].dropna(), f"{title}, at least"
        known = " Only the end of the last labelled window is known without the files."
    caption = f"The median lasts {lengths.median():g} s, the longest {number(lengths.max())} s.{known}"
    labels = ("length in seconds", "share of recordings")
    _add_shares(section, "lengths", title, lengths, LENGTH_BINS, labels, caption)
    return section


def _totals_table(rows: pd.DataFrame, recordings: pd.DataFrame, per_patient: pd.Series) -> Table:
    named, files = recordings["rows"] > 0, recordings["file"]
    counts = {
        "rows": len(rows),
        "recordings (eeg_id)": named.sum(),
        "spectrogram ids": rows["spectrogram_id"].nunique(),
        "patients": len(per_patient),
        "recordings with one row": (recordings["rows"] == 1).sum(),
        "patients with one recording": (per_patient == 1).sum(),
        "rows with the same recording and offset as another": count_twins(rows),
    }
    if files.any():
        counts |= {
            "recordings on disk": files.sum(),
            "files without a row": (files & ~named).sum(),
            "recordings with rows and no file": (named & ~files).sum(),
            "unreadable files": recordings["error"].count(),
            f"recordings shorter than {WINDOW_SECONDS} s": find_short(recordings).sum(),
            "recordings whose window reaches past their end": find_past_end(recordings).sum(),
        }
    frame = pd.DataFrame(counts.items(), columns=["what", "count"])
    note = "" if files.any() else "No recordings were found beside train.csv, so nothing is said about files."
    return Table("shape", "Counts", frame, frame, note)


def _missing_table(rows: pd.DataFrame) -> Table:
    frame = count_missing(rows).rename_axis("column").to_frame("missing").reset_index()
    frame["share"] = frame["missing"] / len(rows)
    some = frame[frame["missing"] > 0]
    note = f"{'No' if some.empty else 'No other'} column of train.csv lacks a value."
    return Table("missing_values", "Missing values", frame, None if some.empty else some, note)


def _add_shares(
    section: Section,
    name: str,
    title: str,
    values: pd.Series,
    bins: Sequence[int],
    labels: tuple[str, str],
    caption: str,
) -> None:
    """Add how values are shared out to bins, if there are values."""
    if len(values):
        frame = bin_shares(values, bins).rename_axis("seconds").to_frame("share")
        section.add(name, title, draw_columns(frame, RAMP[1:2], *labels), caption, frame.reset_index())


def _add_sizes(section: Section, name: str, title: str, groups: str, parts: str, sizes: pd.Series) -> None:
    """Add how many groups have how many parts, and how much of all parts they hold."""
    frame = pd.DataFrame(
        {
            f"share of {groups}": bin_shares(sizes, COUNT_BINS, whole=True),
            f"share of their {parts}": bin_shares(sizes, COUNT_BINS, whole=True, weighted=True),
        }
    ).rename_axis(parts)
    top = max(1, round(0.01 * len(sizes)))
    held = percent(sizes.nlargest(top).sum() / max(1, sizes.sum()))
    largest = f"the largest of the {number(len(sizes))} {groups} holds" if top == 1 else f"the largest 1% ({top}) hold"
    single = f"{count(int((sizes == 1).sum()), groups[:-1] + ' has', groups + ' have')} one"
    caption = (
        f"{single}; the median is {sizes.median():g}, the maximum {number(sizes.max())}; {largest} {held} of the "
        f"{parts}."
    )
    section.add(
        name, title, draw_columns(frame, PAIR, f"{parts} of a {groups[:-1]}", "share"), caption, frame.reset_index()
    )
