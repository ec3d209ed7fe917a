"""What is odd about a training set: what leaks, repeats or is missing, and which recordings to leave out."""

from __future__ import annotations

import pandas as pd

from eda.content import Content
from eda.rows import CLASSES
from eda.votes import count_not_on_top
from kernel.constants import EEG_ELECTRODES, VOTES

FOLDS = 5
"""Folds of the split that leakage is computed for."""

MOSTLY = 0.5
"""A recording with more than this share of its samples missing, or of its electrodes dead, has little to teach."""


def leak(groups: pd.Series) -> float:
    """Return the expected share of rows with another row of their group outside their fold, in a random split.

    `groups` names each row's group. A row of a group of n does not leak only if all n - 1 others fall into its own one
    of `FOLDS` folds, which has the probability FOLDS^-(n - 1).
    """
    sizes = groups.map(groups.value_counts()).dropna()
    return float((1 - FOLDS ** -(sizes - 1.0)).mean()) if len(sizes) else 0.0


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


def add_findings(content: Content, rows: pd.DataFrame, recordings: pd.DataFrame, read: pd.DataFrame) -> None:
    """Add what `findings.html.j2` speaks of, beside the facts of the other parts."""
    means = pd.DataFrame({name: part[CLASSES].mean() for name, part in content.facts["populations"].items()})
    left_out = list_recordings_to_leave_out(recordings, read)
    content.tables["recordings_to_leave_out"] = left_out.to_frame()
    content.facts |= {
        "leaks": {
            "folds": FOLDS,
            "recording": leak(rows["eeg_id"]),
            "patient": leak(rows["patient_id"]),
            "between": leak(rows.drop_duplicates("eeg_id")["patient_id"]),
        },
        "furthest_apart": (means.iloc[:, 0] - means.iloc[:, -1]).abs().idxmax(),
        "distinct": len(rows.drop_duplicates(["eeg_id", *VOTES])),
        "largest_recordings": recordings["rows"].nlargest(max(1, round(0.01 * (recordings["rows"] > 0).sum()))),
        "patients": rows.groupby("consensus", observed=True)["patient_id"].nunique(),
        "scores": content.tables["populations"][means.columns[-1]],
        "left_out": left_out,
        "not_on_top": count_not_on_top(content.facts["voted"]),
    }
