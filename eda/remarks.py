"""What a reader should act on or know before training; every number comes from the data."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from eda.cases import Cases
from eda.recording import NOISY_LINE, PLACES
from eda.section import Remark
from eda.shape import Shape
from eda.signals import Signals
from eda.style import count, number, percent
from eda.votes import ALL, FEW, MANY, Votes
from kernel.constants import CLASS_NAMES, EEG_ELECTRODES, VOTES, WINDOW_SECONDS
from kernel.table import MANY_VOTES

FOLDS = 5
"""Folds of the split that leakage is computed for."""

MOSTLY = 0.5
"""A recording with more than this share of its samples missing, or of its electrodes dead, has little to teach."""


def leak(groups: pd.Series) -> float:
    """Return the expected share of rows with another row of their group outside their fold, in a random split.

    `groups` names each row's group. A row of a group of n does not leak only if all n - 1 others fall into its own one
    of `FOLDS` folds, which has the probability FOLDS^-(n - 1).
    """
    sizes = groups.map(groups.value_counts()).dropna().to_numpy(float)
    return float(np.mean(1 - FOLDS ** -(sizes - 1))) if len(sizes) else 0.0


def list_recordings_to_leave_out(shape: Shape, signals: Signals | None) -> pd.DataFrame:
    """Return `eeg_id` and `reason` of every recording that has little or nothing to teach.

    A recording shorter than a window is not among them: what it has is the middle, which was labelled.
    """
    unreadable = shape.unreadable | (signals.unreadable if signals else {})
    past_end = set(shape.past_end) - set(shape.short) - unreadable.keys()
    found = [(eeg_id, "cannot be read") for eeg_id in unreadable]
    found += [(eeg_id, "a window reaches past the end") for eeg_id in past_end]
    if signals is not None and not signals.recordings.empty:
        frame = signals.recordings
        lacking = frame[[f"nan_{place}" for place in PLACES]].sum(axis=1)
        dead = (frame["flat"] + frame["saturated"]) / len(EEG_ELECTRODES)
        found += [(eeg_id, "most samples are missing") for eeg_id in frame.loc[lacking > MOSTLY, "eeg_id"]]
        found += [(eeg_id, "most electrodes are dead") for eeg_id in frame.loc[dead > MOSTLY, "eeg_id"]]
    table = pd.DataFrame(found, columns=["eeg_id", "reason"])
    return table.groupby("eeg_id")["reason"].agg("; ".join).reset_index()


def find_remarks(rows: pd.DataFrame, shape: Shape, votes: Votes, cases: Cases, signals: Signals | None) -> list[Remark]:
    """Return what was found, what to act on first."""
    found = [
        *_on_leakage(rows, shape),
        *_on_populations(votes),
        *_on_repetition(rows, shape),
        *_on_few_patients(rows),
        *_on_faults(shape, votes),
        *_on_files(shape, signals),
        *_on_signals(signals),
        *_on_targets(votes, cases),
    ]
    return sorted(found, key=lambda one: not one.act)


def _on_leakage(rows: pd.DataFrame, shape: Shape) -> Iterator[Remark]:
    by_recording, by_patient = leak(rows["eeg_id"]), leak(rows["patient_id"])
    if by_patient < 0.01:
        return
    several = int((shape.recordings_per_patient > 1).sum())
    between = leak(rows.drop_duplicates("eeg_id")["patient_id"])
    yield Remark(
        True,
        "Split by patient",
        f"With a random split into {FOLDS} folds, {percent(by_recording)} of the rows would be validated against their "
        f"own recording and {percent(by_patient)} against their own patient. "
        f"{count(several, 'patient has', 'patients have')} several recordings, so {percent(between)} of the "
        "recordings would leak even if they were kept whole.",
        "Group the folds by patient_id.",
    )


def _on_populations(votes: Votes) -> Iterator[Remark]:
    few, many = votes.populations.get(FEW), votes.populations.get(MANY)
    if few is None or many is None:
        only = "fewer than" if many is None else "at least"
        yield Remark(False, "One population of rows", f"All rows have {only} {MANY_VOTES} votes.")
        return
    apart = int(np.abs(few.soft_label - many.soft_label).argmax())
    yield Remark(
        True,
        "Few-vote rows are another population",
        f"{percent(few.rows / (few.rows + many.rows))} of the rows have {FEW}. {CLASS_NAMES[apart]} has "
        f"{percent(few.soft_label[apart])} of their votes and {percent(many.soft_label[apart])} of the others'; "
        f"their mean entropy is {few.entropies.mean():.2f} against {many.entropies.mean():.2f} nats.",
        f"Validate on rows with {MANY}, as the test is believed to have. Let few-vote rows count less, or train on all "
        f"rows first and then on the {number(many.rows)} with {MANY} alone.",
    )


def _on_repetition(rows: pd.DataFrame, shape: Shape) -> Iterator[Remark]:
    distinct = len(rows.drop_duplicates(["eeg_id", *VOTES]))
    if distinct < 0.9 * len(rows):
        largest = shape.rows_per_recording.nlargest(max(1, round(0.01 * len(shape.rows_per_recording))))
        held = percent(float(largest.sum() / shape.rows_per_recording.sum()))
        yield Remark(
            True,
            "Windows repeat",
            f"Of {number(len(rows))} rows only {number(distinct)} differ in recording or votes "
            f"({percent(distinct / len(rows))}), and {count(len(largest), 'recording holds', 'recordings hold')} "
            f"{held} of the rows.",
            "In an epoch, draw one window per recording and vote pattern, or divide each row's weight by their number.",
        )
    if shape.twins:
        found = f"{count(shape.twins, 'row repeats', 'rows repeat')} another row's recording and offset."
        yield Remark(True, "Duplicate windows", found, "Add their votes up, or keep one of them.")


def _on_few_patients(rows: pd.DataFrame) -> Iterator[Remark]:
    patients = rows[rows["n_votes"] > 0].groupby("consensus")["patient_id"].nunique()
    if not patients.sum():
        return
    fewest = str(patients.idxmin())
    share = float(rows.loc[rows["consensus"] == fewest, "patient_id"].value_counts(normalize=True).max())
    text = (
        f"{fewest} is on top in rows of {count(int(patients[fewest]), 'patient')} only; one of them has "
        f"{percent(share)} of its rows."
    )
    absent = [name for name in CLASS_NAMES if name not in patients.index]
    if absent:
        text += f" No row has {', '.join(absent)} on top."
    yield Remark(False, "The class with the fewest patients", text, "Look at its score by patient, and at every fold.")


def _on_faults(shape: Shape, votes: Votes) -> Iterator[Remark]:
    missing = shape.missing[shape.missing > 0]
    listed = ", ".join(f"{name} {number(n)}" for name, n in missing.items())
    for faults, title, text, advice in (
        (len(shape.mixed), "Recordings with several patients",
         f"{count(len(shape.mixed), 'recording has', 'recordings have')} rows of different patients, the first is "
         f"{shape.mixed[:1]}.", "Give them one patient_id, or folds by patient will leak."),
        (votes.without_votes, "Rows without a vote",
         f"{count(votes.without_votes, 'row has', 'rows have')} no vote at all.",
         "Leave them out: they have no target."),
        (votes.not_on_top, "Consensus that the votes do not have",
         f"In {count(votes.not_on_top, 'row')} expert_consensus is not among the classes with the most votes.",
         "Train on the votes, not on expert_consensus."),
        (len(missing), "Missing values", f"train.csv lacks values in: {listed}.", "Fix or leave out these rows."),
        (len(shape.without_file) if shape.files else 0, "Rows without a file",
         f"{count(len(shape.without_file), 'recording has', 'recordings have')} rows in train.csv and no file.",
         "Download them, or leave their rows out."),
    ):  # fmt: skip
        if faults:
            yield Remark(True, title, text, advice)


def _on_files(shape: Shape, signals: Signals | None) -> Iterator[Remark]:
    bad = list_recordings_to_leave_out(shape, signals)
    if len(bad):
        reasons = bad["reason"].str.split("; ").explode().value_counts()
        listed = "; ".join(f"{reason}: {number(n)}" for reason, n in reasons.items())
        text = f"{count(len(bad), 'recording')}: {listed}."
        unreadable = list((shape.unreadable | (signals.unreadable if signals else {})).values())
        if unreadable:
            text += f" The first that cannot be read: {unreadable[0]}."
        more = " Signals were read for the sample only; --sample reads more." if signals is not None else ""
        advice = f"They are listed in recordings_to_leave_out.csv.{more}"
        yield Remark(True, "Recordings to leave out", text, advice)
    if shape.short:
        text = (
            f"{count(len(shape.short), 'recording is', 'recordings are')} shorter than a window of {WINDOW_SECONDS} s, "
            f"the shortest {shape.lengths.min():g} s."
        )
        yield Remark(False, "Short recordings", text, "The kernel puts them in the middle of a window of silence.")
    if shape.without_row:
        text = f"{count(len(shape.without_row), 'file has', 'files have')} no row in train.csv."
        yield Remark(False, "Files without a row", text, "EEG without labels: for pretraining, or to be ignored.")


def _on_signals(signals: Signals | None) -> Iterator[Remark]:
    if signals is None or signals.recordings.empty:
        return
    noisy = float((signals.recordings["line"] > NOISY_LINE).mean())
    if noisy > 0.05:
        text = (
            f"In {percent(noisy)} of the recordings read, the mains add over {NOISY_LINE:g} µV to the median channel."
        )
        yield Remark(False, "Line noise", text, "Scalograms end at 40 Hz; on the raw signal, filter first.")
    gaps = signals.recordings[[f"nan_{place}" for place in PLACES]]
    lacking = gaps.sum(axis=1)
    if (lacking > 0).any():
        most = PLACES[str(gaps.mean().idxmax()).removeprefix("nan_")]
        text = (
            f"{percent(float((lacking > 0).mean()))} of the recordings read lack samples, most of them {most}; at "
            f"worst {percent(float(lacking.max()))} of a recording."
        )
        yield Remark(False, "Gaps in the signal", text, "Repair after the montage, as kernel/recording.py does.")


def _on_targets(votes: Votes, cases: Cases) -> Iterator[Remark]:
    population = votes.populations.get(MANY) or votes.populations[ALL]
    text = (
        f"On rows with {MANY if MANY in votes.populations else FEW}, a uniform prediction scores "
        f"{population.uniform_score:.3f} and the mean of the votes {population.prior_score:.3f} (lower is better)."
    )
    yield Remark(False, "What to beat", text)
    ideal, proto, edge, mixed = counts = cases.counts()
    if ideal < 0.95 * counts.sum():
        text = (
            f"{percent(ideal / counts.sum())} of the rows are ideal; {number(proto)} are proto and {number(edge)} edge "
            f"cases, {number(mixed)} are mixed."
        )
        advice = "Train on the shares of the votes, not on the class on top."
        yield Remark(False, "Experts disagree", text, advice)
