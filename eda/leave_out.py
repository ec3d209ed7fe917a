"""Recordings that have little to teach, and what else the files and their signals say before training.

Called by `findings.py`, and by `report.py` for the list.
"""

from __future__ import annotations

import pandas as pd

from eda.section import Finding
from eda.shape import Shape
from eda.signals import NOISY_LINE, PLACES, Signals
from eda.style import count, number, percent
from kernel.constants import EEG_ELECTRODES

MOSTLY = 0.5
"""A recording with more than this share of its samples missing, or of its electrodes dead, has little to teach."""


def list_recordings_to_leave_out(shape: Shape, signals: Signals | None) -> pd.DataFrame:
    """Return `eeg_id` and `reason` of every recording that has little or nothing to teach."""
    reasons: dict[int, list[str]] = {}
    unreadable = shape.unreadable | (signals.unreadable if signals else {})
    for eeg_id in unreadable:
        reasons.setdefault(eeg_id, []).append("cannot be read")
    for eeg_id in set(shape.past_end) - unreadable.keys():
        reasons.setdefault(eeg_id, []).append("a window reaches past the end")
    if signals is not None and not signals.recordings.empty:
        frame = signals.recordings
        missing = frame[[f"nan_{place}" for place in PLACES]].sum(axis=1)
        dead = (frame["flat"] + frame["saturated"]) / len(EEG_ELECTRODES)
        for mask, reason in (
            (missing > MOSTLY, "most samples are missing"),
            (dead > MOSTLY, "most electrodes are dead"),
        ):
            for eeg_id in frame.loc[mask, "eeg_id"]:
                reasons.setdefault(int(eeg_id), []).append(reason)
    lines = [(eeg_id, "; ".join(why)) for eeg_id, why in sorted(reasons.items())]
    return pd.DataFrame(lines, columns=["eeg_id", "reason"])


def find_in_recordings(shape: Shape, signals: Signals | None) -> list[Finding]:
    """Return what the files and the signals show."""
    return [*_find_bad(shape, signals), *_find_files(shape), *_find_noise(signals), *_find_gaps(signals)]


def _find_bad(shape: Shape, signals: Signals | None) -> list[Finding]:
    bad = list_recordings_to_leave_out(shape, signals)
    if bad.empty:
        return []
    reasons = bad["reason"].str.split("; ").explode().value_counts()
    text = (
        f"{count(len(bad), 'recording')}: " + "; ".join(f"{reason}: {number(n)}" for reason, n in reasons.items()) + "."
    )
    unreadable = list((shape.unreadable | (signals.unreadable if signals else {})).values())
    if unreadable:
        text += f" The first that cannot be read: {unreadable[0]}."
    advice = "They are listed in recordings_to_leave_out.csv."
    if signals is not None:
        advice += " Signals were read for the sample only; --sample reads more."
    return [Finding(True, "Recordings to leave out", text, advice)]


def _find_files(shape: Shape) -> list[Finding]:
    found = []
    if shape.files and shape.without_file:
        text = f"{count(len(shape.without_file), 'recording has', 'recordings have')} rows in train.csv and no file."
        found.append(Finding(True, "Rows without a file", text, "Download them, or leave their rows out."))
    if shape.without_row:
        text = f"{count(len(shape.without_row), 'file has', 'files have')} no row in train.csv."
        found.append(Finding(False, "Files without a row", text, "Unlabelled EEG: for pretraining, or to be ignored."))
    return found


def _find_noise(signals: Signals | None) -> list[Finding]:
    if signals is None or signals.recordings.empty:
        return []
    noisy = float((signals.recordings["line"] > NOISY_LINE).mean())
    if noisy <= 0.05:
        return []
    text = (
        f"In {percent(noisy)} of the recordings read, the mains add more than {NOISY_LINE:g} µV to the median channel."
    )
    return [Finding(False, "Line noise", text, "Scalograms end at 40 Hz; on the raw signal, filter first.")]


def _find_gaps(signals: Signals | None) -> list[Finding]:
    if signals is None or signals.recordings.empty:
        return []
    gaps = signals.recordings[[f"nan_{place}" for place in PLACES]]
    lacking = gaps.sum(axis=1)
    if not (lacking > 0).any():
        return []
    most = max(PLACES, key=lambda place: float(gaps[f"nan_{place}"].mean()))
    text = (
        f"{percent(float((lacking > 0).mean()))} of the recordings read lack samples, most of them {_WHERE[most]}; at "
        f"worst {percent(float(lacking.max()))} of a recording."
    )
    return [Finding(False, "Gaps in the signal", text, "Repair after the montage, as kernel/recording.py does.")]


_WHERE = {"start": "at the start", "inside": "inside the recording", "end": "at the end"}
