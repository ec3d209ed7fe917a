"""Submits the exact kernel version that was pushed: once, and only a run that ended well.

Called by `build.py submit` and `build.py push --submit`. The submission's description names the version, so that the
service itself can be asked whether it was submitted before.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dataset_builder.metadata import Target
from publisher.client import Kaggle
from publisher.once import do_once, look_first
from publisher.pace import ServiceError
from publisher.push import recorded_target
from publisher.record import Journal, read_record, write_record
from publisher.run import SUBMISSION, describe_end, find_submissions, judge_run
from publisher.screen import Screen
from publisher.status import COMPLETE, Watcher, watch

STEP = "submission"


def describe(record: dict[str, Any], version: int) -> str:
    """Return the description by which the submissions of one kernel version are known."""
    kernel, tree = record["kernel"], record["dataset"]["tree_sha256"]
    return f"{kernel['ref']} v{version} bundle {tree[:16]} commit {str(record.get('commit') or 'unknown')[:12]}"


def submit(kaggle: Kaggle, target: Target, dist: Path, *, force: bool = False) -> dict[str, Any]:
    """Submit what was pushed; return what is known of the submission."""
    record, journal = read_record(dist), Journal(dist)
    version = recorded_target(record, target)
    if not version:
        raise ValueError(f"nothing that was pushed as {target.kernel_ref} is recorded in {dist}: run `make push` first")
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
    kaggle.say(describe_end(verdict.end))

    made = find_submissions(kaggle, target.competition, target.kernel_ref, version)
    sent = journal.recall(STEP, kernel=target.kernel_ref, version=version)
    before = sent["before"] if sent else len(made)

    def newer() -> int | None:
        found = find_submissions(kaggle, target.competition, target.kernel_ref, version)
        return found[0].ref if len(found) > before else None

    ref: int | None = None
    if made and not known and not force:
        ref = made[0].ref
        kaggle.say(f"Kaggle has it already, as submission {ref}")
    elif sent:
        ref = look_first(kaggle, newer)
    if ref is None:
        _check_limits(kaggle, target)
        description = describe(record, version) + (f" ({before + 1})" if before else "")
        journal.note(STEP, kernel=target.kernel_ref, version=version, before=before)
        try:
            ref = do_once(kaggle, lambda: _send(kaggle, target, version, description), newer)
        except ServiceError as error:
            if not error.refused:
                raise
            journal.forget(STEP)
            raise _with_way_out(error, record["kernel"]["url"], version, target.competition) from None
    record["submission"] = {"ref": ref, "kernel_version": version}
    write_record(dist, record)
    journal.forget(STEP)
    return {"submission": ref, "kernel": target.kernel_ref, "version": version, "competition": target.competition}


def submit_when_complete(kaggle: Kaggle, target: Target, dist: Path, screen: Screen) -> tuple[list[str], int]:
    """Follow the run to its end and submit it if it ended well; return (lines for people, exit status)."""
    report = watch(Watcher(kaggle, target, dist, run_only=True), screen)
    if report.state != COMPLETE:
        return report.lines(), 1
    known = read_record(dist).get("submission")
    if known:
        return [f"submitted as {known['ref']} before; `make status` shows its score"], 0
    answer = submit(kaggle, target, dist)
    return [f"submitted as {answer['submission']}; `make status` shows its score"], 0


def _send(kaggle: Kaggle, target: Target, version: int, description: str) -> int:
    ref = kaggle.submit(target.competition, target.kernel_ref, version, SUBMISSION, description)
    if ref:
        return ref
    found = find_submissions(kaggle, target.competition, target.kernel_ref, version)
    if not found:
        raise ServiceError(
            "submitting", "Kaggle gave no number for the submission", "Look at `make status`", status=400
        )
    return found[0].ref


def _check_limits(kaggle: Kaggle, target: Target) -> None:
    limits = kaggle.limits(target.competition)
    kaggle.say(f"{limits.allowed_now} submissions left now ({limits.today} made today, {limits.total} in all)")
    if limits.allowed_now > 0:
        return
    page = f"https://www.kaggle.com/competitions/{target.competition}"
    if not limits.today and not limits.total:
        raise ValueError(
            f"Kaggle allows no submission and knows of none: join the competition and accept its rules at {page}"
        )
    when = "in all: no more can be made" if limits.limited_by_total else "for today: submit again after midnight UTC"
    raise ValueError(
        f"the submissions are used up {when} ({limits.today} made today, {limits.total} in all); see {page}/submissions"
    )


def _with_way_out(error: ServiceError, url: str, version: int, competition: str) -> ServiceError:
    by_hand = f"By hand: open {url}, choose version {version}, `Submit to competition`"
    todo = f"Some kinds of token may not submit. {by_hand}" if error.status == 403 else f"{error.todo}. {by_hand}"
    if error.status == 400:
        todo = f"See https://www.kaggle.com/competitions/{competition}/submissions for the limits. {by_hand}"
    return ServiceError(error.doing, error.said, todo, status=error.status)
