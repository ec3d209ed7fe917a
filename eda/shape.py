"""The shape of a training set: what there is, what is missing, how rows, recordings and patients hang together.

Everything but the files and their lengths comes from `train.csv` alone.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.contrib.concurrent import thread_map

from eda.charts import draw_columns
from eda.content import Content
from eda.rows import OFFSET, count_missing
from eda.style import PAIR, RAMP, count, number, percent
from kernel.constants import SFREQ, VOTES, WINDOW_SECONDS
from kernel.recording import read_length

COUNTS = {"1": 1, "2": 2, "3": 3, "4–5": 4, "6–10": 6, "11–20": 11, "21–50": 21, "51–100": 51, "101+": 101}
STEPS = {"0–2": 0, "2–4": 2, "4–6": 4, "6–10": 6, "10–20": 10, "20–30": 20, "30–40": 30, "40–50": 40, "50+": 50}
LENGTHS = {"<50": 0, "50": 50, "51–60": 51, "60–90": 60, "90–120": 90, "120–180": 120, "180–300": 180, "300–600": 300,
           "600–1200": 600, "1200+": 1200}  # fmt: skip
"""Bins by their names: the first value of each; a bin ends where the next begins, the last one is open."""

FOLDS = 5
"""Folds of the split that leakage is computed for."""

READERS = 8
"""Files whose footers are read at once: on a mounted disk that is waiting, not work."""


def read_seconds(path: Path) -> tuple[float, str | None]:
    """Return a recording's length in seconds, from the file's footer, or NaN and why it cannot be read."""
    try:
        return read_length(path) / SFREQ, None
    except (ValueError, OSError) as error:
        return np.nan, str(error)


def measure_recordings(rows: pd.DataFrame, files: dict[int, Path]) -> pd.DataFrame:
    """Return what there is of every recording that has rows or a file.

    Columns: `rows` and `patients`, their numbers; `end`, seconds from its start to the end of its last window, which is
    all that `train.csv` says of its length; `file`, whether it has one; `seconds` and `error`, as of `read_seconds`;
    `short`, whether it is shorter than one window; `past_end`, whether one reaches past its end. Indexed by `eeg_id`; a
    row without an id counts nowhere.
    """
    found = thread_map(read_seconds, files.values(), max_workers=READERS, desc="lengths", unit="rec", disable=None)
    on_disk = pd.DataFrame(found, pd.Index(files, dtype=np.int64, name="eeg_id"), ["seconds", "error"])
    groups = rows.dropna(subset="eeg_id").astype({"eeg_id": np.int64}).groupby("eeg_id")
    named = groups.agg(rows=(OFFSET, "size"), patients=("patient_id", "nunique"), end=(OFFSET, "max"))
    both = named.join(on_disk.astype({"seconds": float, "error": object}), how="outer")
    end = both["end"] + WINDOW_SECONDS
    return (
        both.fillna({"rows": 0, "patients": 0})
        .astype({"rows": int, "patients": int})
        .assign(
            end=end,
            file=both.index.isin(on_disk.index),
            short=both["seconds"] < WINDOW_SECONDS,
            past_end=end > both["seconds"] + 0.5 / SFREQ,
        )
    )


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


def bin_shares(values: pd.Series, bins: dict[str, int], weighted: bool = False) -> pd.Series:
    """Return the share of values, or of their sum, in each bin, by the bin's name."""
    counts = np.histogram(values, [*bins.values(), np.inf], weights=values if weighted else None)[0]
    return pd.Series(counts / max(1, counts.sum()), list(bins))


def describe_sizes(sizes: pd.Series, group: str, part: str) -> str:
    """Say how many parts the groups have, such as windows of recordings, and how much the largest hold."""
    top = max(1, round(0.01 * len(sizes)))
    held = percent(sizes.nlargest(top).sum() / max(1, sizes.sum()))
    largest = f"the largest of the {number(len(sizes))} {group}s holds" if top == 1 else f"the largest 1% ({top}) hold"
    return (
        f"{count(int((sizes == 1).sum()), f'{group} has', f'{group}s have')} one; the median is {sizes.median():g}, "
        f"the maximum {number(sizes.max())}; {largest} {held} of the {part}s."
    )


def count_all(rows: pd.DataFrame, recordings: pd.DataFrame) -> pd.Series:
    """Return the numbers of what there is, and of what is odd about it."""
    named, files = recordings["rows"] > 0, recordings["file"]
    per_patient = rows.groupby("patient_id")["eeg_id"].nunique()
    twins = rows.dropna(subset=["eeg_id", OFFSET]).duplicated(["eeg_id", OFFSET])
    counts = {
        "rows": len(rows),
        "recordings (eeg_id)": named.sum(),
        "spectrogram ids": rows["spectrogram_id"].nunique(),
        "patients": len(per_patient),
        "recordings with one row": (recordings["rows"] == 1).sum(),
        "patients with one recording": (per_patient == 1).sum(),
        "rows with the same recording and offset as another": twins.sum(),
    }
    on_disk = {
        "recordings on disk": files.sum(),
        "files without a row": (files & ~named).sum(),
        "recordings with rows and no file": (named & ~files).sum(),
        "unreadable files": recordings["error"].count(),
        f"recordings shorter than {WINDOW_SECONDS} s": recordings["short"].sum(),
        "recordings whose window reaches past their end": recordings["past_end"].sum(),
    }
    return pd.Series(counts | on_disk if files.any() else counts)


def leak(groups: pd.Series) -> float:
    """Return the expected share of rows with another row of their group outside their fold, in a random split.

    `groups` names each row's group. A row of a group of n does not leak only if all n - 1 others fall into its own one
    of `FOLDS` folds, which has the probability FOLDS^-(n - 1).
    """
    sizes = groups.map(groups.value_counts()).dropna()
    return float((1 - FOLDS ** -(sizes - 1.0)).mean()) if len(sizes) else 0.0


def add_shape(content: Content, rows: pd.DataFrame, recordings: pd.DataFrame) -> None:
    """Add the shape: counts, missing values, how windows, recordings and patients hang together, lengths."""
    content.tables["shape"] = count_all(rows, recordings).rename_axis("what").to_frame("count")
    missing = count_missing(rows).rename_axis("column").to_frame("missing")
    content.tables["missing_values"] = missing.assign(share=missing["missing"] / len(rows))
    known = recordings["seconds"].notna().any()
    steps, lengths = measure_steps(rows), recordings["seconds" if known else "end"].dropna()
    content.facts |= {
        "leaks": {
            "folds": FOLDS,
            "recording": leak(rows["eeg_id"]),
            "patient": leak(rows["patient_id"]),
            "between": leak(rows.drop_duplicates("eeg_id")["patient_id"]),
        },
        "distinct": len(rows.drop_duplicates(["eeg_id", *VOTES])),
        "largest_recordings": recordings["rows"].nlargest(max(1, round(0.01 * (recordings["rows"] > 0).sum()))),
        "hours_at_least": recordings.loc[recordings["end"].notna(), "seconds"].isna().any(),
        "hours_recorded": measure_recorded(recordings) / 3600,
        "hours_covered": measure_covered(rows, recordings) / 3600,
        "steps": steps,
        "lengths": lengths,
        "lengths_known": known,
        "sizes": {},
    }
    for group, part, sizes in (
        ("recording", "window", recordings.loc[recordings["rows"] > 0, "rows"]),
        ("patient", "recording", rows.groupby("patient_id")["eeg_id"].nunique()),
    ):
        if len(sizes):
            shares = {
                f"share of {group}s": bin_shares(sizes, COUNTS),
                f"share of their {part}s": bin_shares(sizes, COUNTS, weighted=True),
            }
            table = pd.DataFrame(shares).rename_axis(f"{part}s")
            name = f"{part}s_per_{group}"
            content.draw(name, draw_columns(table, PAIR, f"{part}s of a {group}", "share"), table)
            content.facts["sizes"][name] = describe_sizes(sizes, group, part)
    for name, values, bins, xlabel, ylabel in (
        ("window_overlap", steps, STEPS, "seconds from one window to the next", "the steps"),
        ("lengths", lengths, LENGTHS, "length in seconds", "recordings"),
    ):
        if len(values):
            table = bin_shares(values, bins).rename_axis("seconds").to_frame("share")
            content.draw(name, draw_columns(table, RAMP[1:2], xlabel, f"share of {ylabel}"), table)
