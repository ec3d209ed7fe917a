"""Jobs that need more than one run: what the next run goes on from, and when there is nothing left to do.

Kaggle ends a session after twelve hours. Two kernels take turns, each with the other's output attached, because a
kernel is certain to be given the output of another one. What a run leaves, a small JSON file, says whether all is done.
"""

from __future__ import annotations

from dataclasses import replace

from publisher.journal import Journal
from publisher.kernel import STEP, Push, find_kernels, find_last
from publisher.output import read_end
from publisher.run import judge_run
from publisher.service.answers import Run
from publisher.service.client import Kaggle
from publisher.service.faults import none_if_refused
from publisher.target import Target

TIME = "hours"
"""The option that changes how long a run is, and not what comes out."""


def plan(kaggle: Kaggle, asked: Push, journal: Journal, *, force: bool = False) -> tuple[Push, bool]:
    """Return the push that shall be at Kaggle, and whether all is done, so that there is nothing to push.

    Of `asked`, no arguments mean the same as last time.
    """
    say, last, arguments = kaggle.say, find_last(kaggle, asked.target, journal.record), asked.arguments
    if last is None:
        return asked, False
    place = last.target
    if journal.recall(STEP, ref=place.kernel_ref, sha256=last.sha256) and arguments in ({}, last.arguments):
        return last, False  # an earlier command was about to push exactly this
    if not arguments and last.arguments:
        arguments = last.arguments
        say(f"as before: {_spell(arguments)}")
    new = Push(place, arguments, asked.tree, number=last.number + 1)
    if force:
        return replace(new, target=replace(place, after="")), False
    run = _ask(kaggle, place, last.version)
    if run is None:
        say(f"Kaggle does not know {last}: was it renamed or removed? Run {new.number} begins anew")
        return replace(new, target=asked.target), False
    if run.known and not run.ended:
        say(f"{last}: {run.status}; `make status{place.job.make_option}` follows it")
        return replace(last, arguments=arguments), False
    if not run.known:
        say(f"note: Kaggle calls {last} {run.status!r}, which is not known here: it is taken for ended")
    end = read_end(kaggle, last)
    if end is None:
        verdict = judge_run(kaggle, replace(last, tree=""))
        if verdict.end and not verdict.fault:
            raise ValueError(
                f"{last} ended well, its log says, and Kaggle does not show its {place.job.leaves}: run this "
                "again later; FORCE=1 (--force) begins anew"
            )
        say(f"{last} left nothing to go on from ({run.status}{': ' + run.message if run.message else ''})")
        say(f"run {new.number}: {f'it goes on from {place.after}' if place.after else 'it begins anew'}")
        return new, False
    how_far = f"{end.get('epochs')} of {end.get('of_epochs')} epochs"
    if last.tree != asked.tree:
        trees = f"tree {last.tree[:16]}, here {asked.tree[:16]}"
        say(f"note: {last} had other code ({trees}): FORCE=1 (--force) begins anew")
    if end["complete"] and {**arguments, TIME: ""} == {**last.arguments, TIME: ""}:
        say(f"all is done, {how_far} ({_spell(arguments)}): `make pull-weights` brings the weights")
        say("other options train something else; FORCE=1 (--force) trains this once more")
        return last, True
    other = next(one.kernel for one in find_kernels(asked.target) if one.kernel != place.kernel)
    say(f"run {new.number}: is given the output of {last}, {how_far}")
    return replace(new, target=replace(place, kernel=other, after=place.kernel)), False


def refuse_second(kaggle: Kaggle, target: Target, *, force: bool) -> None:
    """Raise if one of the two kernels is running."""
    for place in find_kernels(target):
        state = kaggle.kernel(place.kernel_ref)
        run = _ask(kaggle, place, state.version or 1) if state.exists else None
        if run is None or not run.known or run.ended:
            continue
        name = f"{place.kernel_ref} version {state.version}"
        if not force:
            raise ValueError(
                f"{name} is under way ({run.status}), and is not what would be pushed now: wait for its end "
                f"(`make status{place.job.make_option}`), or stop it at {place.kernel_page}, then run the same command "
                "again"
            )
        kaggle.say(f"note: {name} is under way too ({run.status}): {place.kernel_page}")


def _ask(kaggle: Kaggle, place: Target, version: int) -> Run | None:
    """Return the state of a run, None where Kaggle does not know of it."""
    return none_if_refused(lambda: kaggle.run(place.kernel_ref, version), (403, 404))


def _spell(arguments: dict[str, str]) -> str:
    return " ".join(f"--{name} {value}" for name, value in arguments.items()) or "the defaults"
