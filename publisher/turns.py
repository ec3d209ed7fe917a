"""Jobs that need more than one run: what the next run goes on from, and when there is nothing left to do.

Kaggle ends a session after twelve hours. Two kernels take turns, each with the other's output attached, because a
kernel is certain to be given the output of another one. What a run leaves, a small JSON file, says whether all is done.
The pushed code's last comment carries the run's number and what it was asked for, so that a lost record is no loss.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from publisher.download import read_output
from publisher.journal import Journal, read_record, recorded_version
from publisher.kernel import STEP, hash_source, read_stamp
from publisher.run import Verdict, judge_run
from publisher.service.answers import Run
from publisher.service.client import Kaggle
from publisher.service.faults import none_if_refused
from publisher.target import Target

SECOND = "-2"
"""What the second kernel's slug has after the first one's."""
TIME = "hours"
"""The option that changes how long a run is, and not what comes out."""


@dataclass(frozen=True)
class Turn:
    """One run of a job that goes on."""

    target: Target
    """With the kernel that runs and the one that it goes on from."""
    arguments: dict[str, str]
    number: int = 1
    version: int = 0
    """Of the kernel; 0 while it is not pushed."""
    tree: str = ""
    """The hash of the code's data set."""
    sha256: str = ""
    """The hash of the pushed text."""

    def about(self) -> dict[str, Any]:
        """Return what the pushed text and the record say of the run."""
        return {"number": self.number, "after": self.target.after, "arguments": self.arguments}

    def __str__(self) -> str:
        return f"run {self.number} ({self.target.kernel_ref} version {self.version})"


def find_last(kaggle: Kaggle, target: Target, record: dict[str, Any]) -> Turn | None:
    """Return the latest run, as the record and both kernels' sources tell; None where there was none."""
    found = []
    for place in _places(target):
        version = recorded_version(record, place)
        if version and "run" in record:
            tree, sha256 = record["dataset"]["tree_sha256"], record["kernel"]["sha256"]
            found.append(_read(place, record["run"], version, tree, sha256))
        state = kaggle.kernel(place.kernel_ref)
        stamp = read_stamp(state.source) if state else None
        if state and stamp and "run" in stamp:
            found.append(_read(place, stamp["run"], state.version, stamp["tree_sha256"], hash_source(state.source)))
    return max(found, key=lambda turn: (turn.number, turn.version), default=None)


def follow(kaggle: Kaggle, target: Target, record: dict[str, Any]) -> Target:
    """Return the target whose kernel had the latest turn."""
    last = find_last(kaggle, target, record) if target.job.goes_on else None
    return last.target if last else target


def find_ended(kaggle: Kaggle, target: Target) -> tuple[Target, dict[str, Any], int, Verdict]:
    """Return what was pushed last, its record, its kernel's version and what is known of its run, which has ended."""
    record = read_record(target.folder)
    target = follow(kaggle, target, record)
    version = recorded_version(record, target)
    if not version:
        found = f"nothing that was pushed as {target.kernel_ref} is recorded in {target.folder}"
        raise ValueError(f"{found}: run `make push` first")
    verdict = judge_run(kaggle, target, version, record["dataset"]["tree_sha256"])
    if not verdict.ended:
        raise ValueError(
            f"the run of {target.kernel_ref} version {version} has not ended ({verdict.run.status}): `make status` "
            "follows it; run this again when it is complete"
        )
    return target, record, version, verdict


def read_end(kaggle: Kaggle, turn: Turn) -> dict[str, Any] | None:
    """Return what a run left to say how far it got; None where it left nothing that can be gone on from."""
    content = read_output(kaggle, turn.target, turn.version, turn.target.job.leaves)
    try:
        said = json.loads(content) if content else None
    except ValueError:
        said = None
    return said if isinstance(said, dict) and isinstance(said.get("complete"), bool) else None


def plan(
    kaggle: Kaggle,
    target: Target,
    tree: str,
    journal: Journal,
    arguments: dict[str, str],
    *,
    force: bool = False,
) -> tuple[Turn, bool]:
    """Return the run that shall be at Kaggle, and whether all is done, so that there is nothing to push.

    `tree` is the hash of the code's data set; `arguments` what was asked for now, of which nothing means as last time.
    """
    say, last = kaggle.say, find_last(kaggle, target, journal.record)
    if last is None:
        return Turn(target, arguments), False
    place = last.target
    if journal.recall(STEP, ref=place.kernel_ref, sha256=last.sha256) and arguments in ({}, last.arguments):
        return last, False  # an earlier command was about to push exactly this
    if not arguments and last.arguments:
        arguments = last.arguments
        say(f"as before: {_spell(arguments)}")
    new = replace(last, arguments=arguments, number=last.number + 1, version=0)
    if force:
        return replace(new, target=replace(place, after="")), False
    run = _ask(kaggle, place, last.version)
    if run is None:
        say(f"Kaggle does not know {last}: was it renamed or removed? Run {new.number} begins anew")
        return replace(new, target=replace(target, after="")), False
    if run.known and not run.ended:
        say(f"{last}: {run.status}; `make status{place.job.make_option}` follows it")
        return replace(last, arguments=arguments), False
    if not run.known:
        say(f"note: Kaggle calls {last} {run.status!r}, which is not known here: it is taken for ended")
    end = read_end(kaggle, last)
    if end is None:
        verdict = judge_run(kaggle, place, last.version)
        if verdict.end and not verdict.fault:
            raise ValueError(
                f"{last} ended well, its log says, and Kaggle does not show its {place.job.leaves}: run this "
                "again later; FORCE=1 (--force) begins anew"
            )
        say(f"{last} left nothing to go on from ({run.status}{': ' + run.message if run.message else ''})")
        say(f"run {new.number}: {f'it goes on from {place.after}' if place.after else 'it begins anew'}")
        return new, False
    how_far = f"{end.get('epochs')} of {end.get('of_epochs')} epochs"
    if last.tree != tree:
        say(f"note: {last} had other code (tree {last.tree[:16]}, here {tree[:16]}): FORCE=1 (--force) begins anew")
    if end["complete"] and {**arguments, TIME: ""} == {**last.arguments, TIME: ""}:
        say(f"all is done, {how_far} ({_spell(arguments)}): `make pull-weights` brings the weights")
        say("other options train something else; FORCE=1 (--force) trains this once more")
        return last, True
    other = next(one.kernel for one in _places(target) if one.kernel != place.kernel)
    say(f"run {new.number}: is given the output of {last}, {how_far}")
    return replace(new, target=replace(place, kernel=other, after=place.kernel)), False


def refuse_second(kaggle: Kaggle, target: Target, *, force: bool) -> None:
    """Raise if one of the two kernels is running."""
    for place in _places(target):
        state = kaggle.kernel(place.kernel_ref)
        run = _ask(kaggle, place, state.version or 1) if state else None
        if state is None or run is None or not run.known or run.ended:
            continue
        name, page = f"{place.kernel_ref} version {state.version}", place.kernel_page
        if not force:
            raise ValueError(
                f"{name} is under way ({run.status}), and is not what would be pushed now: wait for its end "
                f"(`make status{place.job.make_option}`), or stop it at {page}, then run the same command again"
            )
        kaggle.say(f"note: {name} is under way too ({run.status}): {page}")


def _ask(kaggle: Kaggle, place: Target, version: int) -> Run | None:
    """Return the state of a run, None where Kaggle does not know of it."""
    return none_if_refused(lambda: kaggle.run(place.kernel_ref, version), (403, 404))


def _places(target: Target) -> tuple[Target, Target]:
    """Return a target's two kernels."""
    return replace(target, after=""), replace(target, kernel=target.kernel + SECOND, after="")


def _read(place: Target, about: dict[str, Any], version: int, tree: str, sha256: str) -> Turn:
    arguments = {str(name): str(value) for name, value in dict(about.get("arguments") or {}).items()}
    target = replace(place, after=str(about.get("after") or ""))
    return Turn(target, arguments, int(about.get("number") or 1), version, tree, sha256)


def _spell(arguments: dict[str, str]) -> str:
    return " ".join(f"--{name} {value}" for name, value in arguments.items()) or "the defaults"
