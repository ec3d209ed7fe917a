"""What a reader should act on or know before training: one table of findings; every number comes from the data."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from eda.cases import count_cases
from eda.recording import NOISY_LINE, PLACES
from eda.rows import CLASSES, FEW, MANY, count_missing, split_populations
from eda.shape import count_twins
from eda.style import count, number, percent
from eda.votes import UNIFORM, count_not_on_top, score_constant
from kernel.constants import EEG_ELECTRODES, VOTES, WINDOW_SECONDS

FOLDS = 5
"""Folds of the split that leakage is computed for."""

MOSTLY = 0.5
"""A recording with more than this share of its samples missing, or of its electrodes dead, has little to teach."""

Finding = tuple[bool, str, str, str]
"""Whether there is something to act on; the title; what was found; what to do."""


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
    reasons = pd.DataFrame({
        "cannot be read": unreadable,
        "a window reaches past the end": recordings["past_end"] & ~recordings["short"] & ~unreadable,
    })  # fmt: skip
    if len(read):
        read = read.reindex(recordings.index)
        reasons["most samples are missing"] = read["missing"] > MOSTLY
        reasons["most electrodes are dead"] = read["flat"] + read["saturated"] > MOSTLY * len(EEG_ELECTRODES)
    joined = ["; ".join(reasons.columns[row]) for row in reasons.to_numpy(bool)]
    return pd.Series(joined, reasons.index, dtype=object, name="reason")[lambda reason: reason != ""]


def find_remarks(rows: pd.DataFrame, recordings: pd.DataFrame, read: pd.DataFrame) -> pd.DataFrame:
    """Return the findings, those to act on first: `act`, `title`, `found`, `advice`."""
    found = [
        *_on_splits(rows, recordings),
        *_on_counts(rows, recordings),
        *_on_recordings(recordings, read),
        *_on_targets(rows),
    ]
    table = pd.DataFrame(found, columns=["act", "title", "found", "advice"])
    return table.sort_values("act", ascending=False, kind="stable")


def _on_splits(rows: pd.DataFrame, recordings: pd.DataFrame) -> Iterator[Finding]:
    """Yield what matters when rows are shared out to folds, epochs and losses."""
    by_patient = leak(rows["patient_id"])
    if by_patient >= 0.01:
        whole = leak(rows.drop_duplicates("eeg_id")["patient_id"])
        found = (
            f"With a random split into {FOLDS} folds, {percent(leak(rows['eeg_id']))} of the rows would be validated "
            f"against their own recording and {percent(by_patient)} against their own patient. {percent(whole)} of "
            "the recordings would leak even if they were kept whole."
        )
        yield True, "Split by patient", found, "Group the folds by patient_id."

    populations = split_populations(rows)
    if {FEW, MANY} <= populations.keys():
        few, many = populations[FEW], populations[MANY]
        apart = (few[CLASSES].mean() - many[CLASSES].mean()).abs().idxmax()
        found = (
            f"{percent(len(few) / (len(few) + len(many)))} of the rows have {FEW}. {apart} has "
            f"{percent(few[apart].mean())} of their votes and {percent(many[apart].mean())} of the others'; their mean "
            f"entropy is {few['entropy'].mean():.2f} against {many['entropy'].mean():.2f} nats."
        )
        advice = (
            f"Validate on rows with {MANY}, as the test is believed to have. Let few-vote rows count less, or train on "
            f"all rows first and then on the {number(len(many))} with {MANY} alone."
        )
        yield True, "Few-vote rows are another population", found, advice
    else:
        yield False, "One population of rows", f"All rows have {next(iter(populations))}.", ""

    distinct = len(rows.drop_duplicates(["eeg_id", *VOTES]))
    if distinct < 0.9 * len(rows):
        named = recordings.loc[recordings["rows"] > 0, "rows"]
        largest = named.nlargest(max(1, round(0.01 * len(named))))
        found = (
            f"Of {number(len(rows))} rows only {number(distinct)} differ in recording or votes "
            f"({percent(distinct / len(rows))}), and {count(len(largest), 'recording holds', 'recordings hold')} "
            f"{percent(largest.sum() / named.sum())} of the rows."
        )
        advice = (
            "In an epoch, draw one window per recording and vote pattern, or divide each row's weight by their number."
        )
        yield True, "Windows repeat", found, advice

    patients = rows.groupby("consensus", observed=True)["patient_id"].nunique()
    if patients.sum():
        fewest = patients.idxmin()
        share = rows.loc[rows["consensus"] == fewest, "patient_id"].value_counts(normalize=True).max()
        found = (
            f"{fewest} is on top in rows of {count(int(patients[fewest]), 'patient')} only; one of them has "
            f"{percent(share)} of its rows."
        )
        yield False, "The class with the fewest patients", found, "Look at its score by patient, and at every fold."


def _on_counts(rows: pd.DataFrame, recordings: pd.DataFrame) -> Iterator[Finding]:
    """Yield what is said of a number of rows, recordings, files or values, if there are any."""
    named, files = recordings["rows"] > 0, recordings["file"]
    voted = rows[rows["n_votes"] > 0]
    for act, n, one, several, rest, title, advice in (
        (True, (recordings["patients"] > 1).sum(), "recording has", "recordings have", "rows of different patients",
         "Recordings with several patients", "Give them one patient_id, or folds by patient will leak."),
        (True, len(rows) - len(voted), "row has", "rows have", "no vote at all", "Rows without a vote",
         "Leave them out: they have no target."),
        (True, count_not_on_top(voted), "row has", "rows have",
         "an expert_consensus that is not among the classes with the most votes",
         "Consensus that the votes do not have", "Train on the votes, not on expert_consensus."),
        (True, count_missing(rows).sum(), "value is", "values are", "missing from train.csv", "Missing values",
         "Fix or leave out these rows; the table of missing values names the columns."),
        (True, count_twins(rows), "row repeats", "rows repeat", "another row's recording and offset",
         "Duplicate windows", "Add their votes up, or keep one of them."),
        (True, (named & ~files).sum() if files.any() else 0, "recording has", "recordings have",
         "rows in train.csv and no file", "Rows without a file", "Download them, or leave their rows out."),
        (False, recordings["short"].sum(), "recording is", "recordings are",
         f"shorter than a window of {WINDOW_SECONDS} s", "Short recordings",
         "The kernel puts them in the middle of a window of silence."),
        (False, (files & ~named).sum(), "file has", "files have", "no row in train.csv", "Files without a row",
         "EEG without labels: for pretraining, or to be ignored."),
    ):  # fmt: skip
        if n:
            yield act, title, f"{count(n, one, several)} {rest}.", advice


def _on_recordings(recordings: pd.DataFrame, read: pd.DataFrame) -> Iterator[Finding]:
    """Yield which recordings to leave out, and what the signals of the sample lack."""
    bad = list_recordings_to_leave_out(recordings, read)
    if len(bad):
        reasons = bad.str.split("; ").explode().value_counts()
        listed = "; ".join(f"{reason}: {number(n)}" for reason, n in reasons.items())
        errors = recordings["error"].dropna()
        first = f" The first that cannot be read: {errors.iloc[0]}." if len(errors) else ""
        more = " Signals were read for the sample only; --sample reads more." if len(read) else ""
        advice = f"They are listed in recordings_to_leave_out.csv.{more}"
        yield True, "Recordings to leave out", f"{count(len(bad), 'recording')}: {listed}.{first}", advice
    if read.empty:
        return
    noisy = float((read["line"] > NOISY_LINE).mean())
    if noisy > 0.05:
        found = (
            f"In {percent(noisy)} of the recordings read, the mains add over {NOISY_LINE:g} µV to the median channel."
        )
        yield False, "Line noise", found, "Scalograms end at 40 Hz; on the raw signal, filter first."
    lacking = read["missing"]
    if lacking.any():
        place = PLACES[str(read[list(PLACES)].mean().idxmax())]
        found = (
            f"{percent(float((lacking > 0).mean()))} of the recordings read lack samples, most of them {place}; at "
            f"worst {percent(float(lacking.max()))} of a recording."
        )
        yield False, "Gaps in the signal", found, "Repair after the montage, as kernel/recording.py does."


def _on_targets(rows: pd.DataFrame) -> Iterator[Finding]:
    populations = split_populations(rows)
    name = MANY if MANY in populations else FEW
    uniform, mean = (score_constant(populations[name], p) for p in (UNIFORM, populations[name][CLASSES].mean()))
    found = (
        f"On rows with {name}, a uniform prediction scores {uniform:.3f} and the mean of the votes {mean:.3f} (lower "
        "is better)."
    )
    yield False, "What to beat", found, ""
    cases = count_cases(rows)
    if cases["ideal"] < 0.95 * cases.sum():
        found = (
            f"{percent(cases['ideal'] / cases.sum())} of the rows are ideal; {number(cases['proto'])} are proto and "
            f"{number(cases['edge'])} edge cases, {number(cases['mixed'])} are mixed."
        )
        yield False, "Experts disagree", found, "Train on the shares of the votes, not on the class on top."
