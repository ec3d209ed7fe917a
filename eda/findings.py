"""What the report found that a person should act on or know before training; every number comes from the data.

Called by `report.py`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from eda.cases import Cases
from eda.leave_out import find_in_recordings
from eda.rows import MANY_VOTES
from eda.section import Finding
from eda.shape import Shape
from eda.signals import Signals
from eda.style import count, number, percent
from eda.votes import ALL, FEW, MANY, Votes
from kernel.constants import CLASS_NAMES, VOTES

FOLDS = 5
"""Folds of the split that leakage is reckoned for."""


def leak(groups: pd.Series) -> float:
    """Return the expected share of rows with another row of their group outside their fold, when rows are dealt out.

    `groups` names each row's group. A row of a group of n is alone in its fold's favour only if all n - 1 others fall
    into the same of `FOLDS` folds, which has the probability FOLDS^-(n - 1).
    """
    sizes = groups.map(groups.value_counts()).dropna().to_numpy(float)
    return float(np.mean(1 - FOLDS ** -(sizes - 1))) if len(sizes) else 0.0


def find(rows: pd.DataFrame, shape: Shape, votes: Votes, cases: Cases, signals: Signals | None) -> list[Finding]:
    """Return what was found, what to act on first."""
    found = [
        *_find_leakage(rows, shape),
        *_find_populations(votes),
        *_find_repetition(rows, shape),
        *_find_few_patients(rows),
        *_find_faults(rows, shape, votes),
        *find_in_recordings(shape, signals),
        *_find_targets(votes, cases),
    ]
    return sorted(found, key=lambda one: not one.act)


def _find_leakage(rows: pd.DataFrame, shape: Shape) -> list[Finding]:
    by_recording, by_patient = leak(rows["eeg_id"]), leak(rows["patient_id"])
    several = int((shape.recordings_per_patient > 1).sum())
    if by_patient < 0.01:
        return []
    between = leak(rows.drop_duplicates("eeg_id")["patient_id"])
    return [
        Finding(
            True,
            "Split by patient",
            f"Dealt out at random into {FOLDS} folds, {percent(by_recording)} of the rows would be validated against "
            f"their own recording and {percent(by_patient)} against their own patient. "
            f"{count(several, 'patient has', 'patients have')} several recordings, so {percent(between)} of the "
            "recordings would leak even if they were kept whole.",
            "Group the folds by patient_id.",
        )
    ]


def _find_populations(votes: Votes) -> list[Finding]:
    few, many = votes.populations.get(FEW), votes.populations.get(MANY)
    if few is None or many is None:
        only = "fewer than" if many is None else "at least"
        return [Finding(False, "One population of rows", f"All rows have {only} {MANY_VOTES} votes.", "")]
    apart = int(np.abs(few.soft_label - many.soft_label).argmax())
    total = few.rows + many.rows
    return [
        Finding(
            True,
            "Few-vote rows are another population",
            f"{percent(few.rows / total)} of the rows have {FEW}. {CLASS_NAMES[apart]} has "
            f"{percent(few.soft_label[apart])} of their votes and {percent(many.soft_label[apart])} of the others'; "
            f"their mean entropy is {few.entropies.mean():.2f} against {many.entropies.mean():.2f} nats.",
            f"Validate on rows with {MANY}, which the test resembles; let few-vote rows count less, or train on all "
            f"rows first and on those {number(many.rows)} last.",
        )
    ]


def _find_repetition(rows: pd.DataFrame, shape: Shape) -> list[Finding]:
    distinct = len(rows.drop_duplicates(["eeg_id", *VOTES]))
    found = []
    if distinct < 0.9 * len(rows):
        largest = shape.rows_per_recording.sort_values(ascending=False)
        top = max(1, round(0.01 * len(largest)))
        held = percent(float(largest.iloc[:top].sum() / largest.sum()))
        found.append(
            Finding(
                True,
                "Windows repeat",
                f"Of {number(len(rows))} rows only {number(distinct)} differ in recording or votes "
                f"({percent(distinct / len(rows))}), and {count(top, 'recording holds', 'recordings hold')} {held} "
                "of the rows.",
                "Draw one window per recording and vote pattern in an epoch, or weigh each by its number of twins.",
            )
        )
    if shape.twins:
        found.append(
            Finding(
                True,
                "Duplicate windows",
                f"{count(shape.twins, 'row repeats', 'rows repeat')} another row's recording and offset.",
                "Add their votes up, or keep one of them.",
            )
        )
    return found


def _find_few_patients(rows: pd.DataFrame) -> list[Finding]:
    patients = rows[rows["n_votes"] > 0].groupby("consensus")["patient_id"].nunique()
    if not patients.sum():
        return []
    absent = [name for name in CLASS_NAMES if name not in patients.index]
    fewest = str(patients.idxmin())
    share = float(rows.loc[rows["consensus"] == fewest, "patient_id"].value_counts(normalize=True).max())
    text = (
        f"{fewest} is on top in rows of {count(int(patients[fewest]), 'patient')} only; one of them has "
        f"{percent(share)} of its rows."
    )
    if absent:
        text += f" No row has {', '.join(absent)} on top."
    return [
        Finding(False, "The class with the fewest patients", text, "Look at its score by patient, and at every fold.")
    ]


def _find_faults(rows: pd.DataFrame, shape: Shape, votes: Votes) -> list[Finding]:
    missing = shape.missing[shape.missing > 0]
    listed = ", ".join(f"{name} {number(n)}" for name, n in missing.items())
    mixed = shape.mixed["patient_id"]
    tests: list[tuple[int, str, str, str]] = [
        (len(mixed), "Recordings with several patients",
         f"{count(len(mixed), 'recording has', 'recordings have')} rows of different patients, the first {mixed[:1]}.",
         "Give them one patient_id, or folds by patient will leak."),
        (votes.without_votes, "Rows without a vote",
         f"{count(votes.without_votes, 'row has', 'rows have')} no vote at all.",
         "Leave them out: they have no target."),
        (votes.not_on_top, "Consensus that the votes do not have",
         f"In {count(votes.not_on_top, 'row')} expert_consensus is not among the classes with the most votes.",
         "Train on the votes, not on expert_consensus."),
        (len(missing), "Missing values", f"train.csv lacks values in: {listed}.", "Mend or leave out these rows."),
    ]  # fmt: skip
    return [Finding(True, title, text, advice) for number_, title, text, advice in tests if number_]


def _find_targets(votes: Votes, cases: Cases) -> list[Finding]:
    counts = cases.counts()
    population = votes.populations.get(MANY) or votes.populations[ALL]
    found = [
        Finding(
            False,
            "What to beat",
            f"On rows with {MANY if MANY in votes.populations else FEW}, a uniform prediction scores "
            f"{population.uniform_score:.3f} and the mean of the votes {population.prior_score:.3f} (lower is better).",
            "",
        )
    ]
    if counts.sum() and counts[0] < 0.95 * counts.sum():
        text = (
            f"{percent(counts[0] / counts.sum())} of the rows are ideal; {number(counts[1])} are proto and "
            f"{number(counts[2])} edge cases, {number(counts[3])} are mixed."
        )
        found.append(
            Finding(False, "Experts disagree", text, "Train on the shares of the votes, not on the class on top.")
        )
    return found
