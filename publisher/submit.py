"""Submits the exact kernel version that was pushed: once, and only a run that ended well.

The submission's description names the version, so that the service itself can be asked whether it was submitted before.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from publisher.journal import Journal, do_once, look_first, read_record, recorded_version, write_record
from publisher.run import describe_end, find_submissions, judge_run, list_submissions
from publisher.screen import Screen
from publisher.service.client import Kaggle
from publisher.service.faults import ServiceError
from publisher.status import COMPLETE, Watcher, watch
from publisher.target import Target

STEP = "submission"


def describe(record: dict[str, Any], version: int) -> str:
    """Return the description by which the submissions of one kernel version are known."""
    kernel, tree = record["kernel"], record["dataset"]["tree_sha256"]
    return f"{kernel['ref']} v{version} bundle {tree[:16]} commit {str(record.get('commit') or 'unknown')[:12]}"


def submit(kaggle: Kaggle, target: Target, dist: Path, *, force: bool = False) -> dict[str, Any]:
    """Submit what was pushed; return what is known of the submission."""
    if not target.job.submitted:
        raise ValueError(f"the job {target.job.name} makes no submission: `make output` brings what its run left")
    folder = target.job.folder(dist)
    record, journal = read_record(folder), Journal(folder)
    version = recorded_version(record, target)
    if not version:
        raise ValueError(
            f"nothing that was pushed as {target.kernel_ref} is recorded in {folder}: run `make push` first"
        )
    known = record.get("submission")
    if known and not force:
        raise ValueError(
            f"version {version} of {target.kernel_ref} was submitted as {known['ref']} already: `make status` shows "
            "its score; FORCE=1 (--force) submits it once more"
        )
    verdict = judge_run(kaggle, target, version, record["dataset"]["tree_sha256"])
    if not verdict.ended:
        raise ValueError(
            f"the run of {target.kernel_ref} version {version} has not ended ({verdict.status}): `make status` follows "
            "it; submit when it is complete"
        )
    if verdict.fault:
        raise ValueError(f"{verdict.fault}: nothing was submitted; `make status` shows the end of its log")
    for line in (describe_end(verdict.end), *(f"note: {note}" for note in verdict.notes)):
        kaggle.say(line)

    made = find_submissions(kaggle, target, version)
    sent = journal.recall(STEP, kernel=target.kernel_ref, version=version)
    before = sent["before"] if sent else [item.ref for item in list_submissions(kaggle, target)]

    def newer() -> int | None:
        # A description that Kaggle does not show may be ours.
        prefix = f"{target.kernel_ref} v{version} "
        found = [item for item in list_submissions(kaggle, target) if item.ref not in before]
        return next((item.ref for item in found if item.description.startswith(prefix) or not item.description), None)

    ref: int | None = None
    if made and not known and not force:
        ref = made[0].ref
        kaggle.say(f"Kaggle has it already, as submission {ref}")
    elif sent:
        ref = look_first(kaggle, newer)
    if ref is None:
        limits = _ask_limits(kaggle, target)
        description = describe(record, version) + (f" ({len(made) + 1})" if made else "")
        journal.note(STEP, kernel=target.kernel_ref, version=version, before=before)
        try:
            ref = do_once(kaggle, lambda: _send(kaggle, target, version, description, newer), newer)
        except ServiceError as error:
            if not error.refused:
                raise
            journal.forget(STEP)
            raise _with_way_out(error, record["kernel"]["url"], version, target.competition, limits) from None
    record["submission"] = {"ref": ref, "kernel_version": version}
    write_record(folder, record)
    journal.forget(STEP)
    return {"submission": ref, "kernel": target.kernel_ref, "version": version, "competition": target.competition}


def submit_when_complete(kaggle: Kaggle, target: Target, dist: Path, screen: Screen) -> tuple[list[str], int]:
    """Follow the run to its end and submit it if it ended well; return (lines for people, exit status)."""
    report = watch(Watcher(kaggle, target, dist, run_only=True), screen)
    if report.state != COMPLETE:
        return report.lines(), 1
    known = read_record(target.job.folder(dist)).get("submission")
    if known:
        return [f"submitted as {known['ref']} before; `make status` shows its score"], 0
    answer = submit(kaggle, target, dist)
    return [f"submitted as {answer['submission']}; `make status` shows its score"], 0


def _send(kaggle: Kaggle, target: Target, version: int, description: str, newer: Callable[[], int | None]) -> int:
    ref = kaggle.submit(target.competition, target.kernel_ref, version, target.job.leaves, description)
    ref = ref or kaggle.watch(newer, kaggle.pace.settle) or 0
    if not ref:
        said = "Kaggle gave no number for the submission"
        raise ServiceError("submitting", said, "Look at `make status`", status=400)
    return ref


def _ask_limits(kaggle: Kaggle, target: Target) -> str:
    """Say how many submissions are left, as far as Kaggle tells; return what it means where there seem to be none."""
    try:
        limits = kaggle.limits(target.competition)
    except ServiceError as error:
        kaggle.say(f"note: {error.doing}: {error.said}")
        return ""
    kaggle.say(str(limits))
    if limits.allowed_now > 0:
        return ""
    if not limits.today and not limits.total:
        return "Kaggle knows of no submission and allows none: join the competition and accept its rules. "
    when = "in all: no more can be made" if limits.limited_by_total else "for today: submit again after midnight UTC"
    return f"The submissions seem used up {when} ({limits.today} made today, {limits.total} in all). "


def _with_way_out(error: ServiceError, url: str, version: int, competition: str, limits: str) -> ServiceError:
    page = f"https://www.kaggle.com/competitions/{competition}"
    todo = error.todo
    if error.status == 403:
        todo = f"Join the competition and accept its rules at {page}; some kinds of token may not submit"
    elif error.status == 400:
        todo = f"See {page}/submissions for the limits"
    by_hand = f"By hand: open {url}, choose version {version}, `Submit to competition`"
    return ServiceError(error.doing, error.said, f"{limits}{todo}. {by_hand}", status=error.status)
