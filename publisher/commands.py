"""The commands of this room for `build.py`: only the standard library is imported before one of them runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rehearsal.commands import add_job, add_job_options, job_arguments
from rehearsal.job import JOBS, ROOT, lazily

if TYPE_CHECKING:
    from publisher.screen import Screen
    from publisher.service.client import Kaggle
    from publisher.target import Target

Shown = tuple[dict[str, Any], list[str], int]
"""What a command returns: for scripts, lines for people, exit status."""


def add_commands(commands: Any) -> None:
    """Add this room's commands to `build.py`'s subparsers."""
    for name, run, text in (
        ("push", run_push, "Rehearse a job, publish its data set, push its kernel"),
        ("status", run_status, "Show data set, run and submission, up to the score"),
        ("submit", run_submit, "Submit the pushed kernel version, once its run has ended well"),
        ("output", run_output, "Bring the run's outputs into dist/output, checked"),
        ("doctor", run_doctor, "Check credentials, names and bundle before a push"),
        ("pull-weights", run_pull_weights, "Bring the weights of a finished training, verified, and ship them"),
    ):
        command = commands.add_parser(name, help=text)
        command.set_defaults(run=run)
        if name == "pull-weights":
            command.set_defaults(job="training")
        else:
            add_job(command)
        command.add_argument("--owner", help="user or organisation on Kaggle [the credential's user]")
        for slug, what in {"dataset": "data set with the job's code", "kernel": "", "competition": ""}.items():
            text = f"the slug of the {what or slug} [as the job's metadata say]"
            command.add_argument(f"--{slug}", metavar="SLUG", help=text)
        command.add_argument("--dist", type=Path, default=ROOT / "dist", help="folder of the bundle and the record")
        text = "print one JSON object; lines for people go to standard error"
        command.add_argument("--json", action="store_true", help=text)
        command.add_argument("--timeout", type=float, default=60, help="seconds that one call may take")
        command.add_argument("--interval", type=float, default=5, help="seconds before the second look; they grow")
        command.add_argument(
            "--patience", type=float, default=3600, help="seconds to wait for what is not sure to come"
        )
        if name in ("push", "submit"):
            text = "overwrite what is not ours; push or submit once more"
            command.add_argument("--force", action="store_true", help=text)
    push, status, pull = (commands.choices[name] for name in ("push", "status", "pull-weights"))
    pull.add_argument("--replace", action="store_true", help="ship these weights alone, in place of all that ship now")
    pull.add_argument("--yes", action="store_true", help="ship without asking")
    add_job_options(push)
    push.add_argument("--submit", action="store_true", help="wait for the run and submit it when it completes")
    push.add_argument("--input", type=Path, help="what to rehearse on [a small simulated hidden test]")
    text = "look again until there is a score or a failure [on a terminal]"
    status.add_argument("--watch", action=argparse.BooleanOptionalAction, default=None, help=text)


def run_push(args: argparse.Namespace) -> int:
    """Rehearse a job, publish its data set, push its kernel, record the versions.

    Creates a data set, versions it, or leaves it alone when its content is the same; waits until it reads back with our
    hash. Killed at any moment and run again it goes on, and nothing is published twice. What was rehearsed as it is
    already is not rehearsed again.
    """

    def work(kaggle: Kaggle, target: Target, screen: Screen) -> Shown:
        from publisher.journal import read_record
        from publisher.push import push
        from publisher.submit import submit_when_complete

        if args.submit and not target.job.submitted:
            raise ValueError(f"the job {target.job.name} makes no submission: leave --submit out")
        push(kaggle, target, args.dist, source=args.input, arguments=job_arguments(args), force=args.force)
        folder, option, status = target.job.folder(args.dist), target.job.make_option, 0
        lines = [f"{folder / 'published.json'} says which version is which; `make status{option}` follows the run"]
        if args.submit:
            lines, status = submit_when_complete(kaggle, target, args.dist, screen)
        return read_record(folder), lines, status

    return _show(args, work)


def run_status(args: argparse.Namespace) -> int:
    """Show data set, run and submission; exit with 0 only for success, 1 for a failure, 3 while Kaggle is at work."""

    def work(kaggle: Kaggle, target: Target, screen: Screen) -> Shown:
        from publisher.status import EXIT, Watcher, watch

        watcher = Watcher(kaggle, target, args.dist)
        watching = sys.stdout.isatty() if args.watch is None else args.watch
        report = watch(watcher, screen) if watching else watcher.look()
        return vars(report), report.lines(), EXIT[report.state]

    try:
        return _show(args, work)
    except KeyboardInterrupt:
        print("\nstopped looking; everything on Kaggle goes on: `make status` looks again", file=sys.stderr)
        return 130


def run_submit(args: argparse.Namespace) -> int:
    """Submit the exact kernel version that was pushed, once its run has ended well."""

    def work(kaggle: Kaggle, target: Target, _: Screen) -> Shown:
        from publisher.submit import submit

        answer = submit(kaggle, target, args.dist, force=args.force)
        return answer, [f"submitted as {answer['submission']}; `make status` shows its score"], 0

    return _show(args, work)


def run_output(args: argparse.Namespace) -> int:
    """Bring the outputs of the pushed version into dist/output, every file checked, and judge the submission."""
    bring_output = lazily("publisher.output:bring_output")
    return _show(args, lambda kaggle, target, _: bring_output(kaggle, target, args.dist))


def run_pull_weights(args: argparse.Namespace) -> int:
    """Bring the weights of a finished training into dist/trained/MODEL, verify them, and ship them as `ship` does.

    Every file is held against the hash that the run recorded, the configuration against the code here, and the answers
    to one stored window against the kernel's. Interrupted, it goes on where it stopped.
    """
    pulled: dict[str, Any] = {}

    def work(kaggle: Kaggle, target: Target, _: Screen) -> Shown:
        from publisher.output import pull_weights

        answer, lines, status = pull_weights(kaggle, target, args.dist)
        pulled.update(answer)
        return answer, lines, status

    status = _show(args, work)
    if status or args.json:
        return status
    from training.commands import TRAINED, WEIGHTS, run_ship

    if not args.yes and not sys.stdin.isatty():
        name = pulled["folder"].removeprefix(f"{TRAINED}/")
        print(f"to put it into weights/: `make ship MODEL={name}`, with REPLACE=1 in place of all that ships now")
        return 0
    return run_ship(argparse.Namespace(models=[pulled["folder"]], replace=args.replace, yes=args.yes, weights=WEIGHTS))


def run_doctor(args: argparse.Namespace) -> int:
    """Check credentials, names, bundle and what the kernel asks for; each finding comes with how to fix it."""
    from publisher.screen import show

    doctor = lazily("publisher.doctor:doctor")
    return show(
        lambda screen: doctor(lambda: _connect(args, screen), lambda user: _aim(args, user), args.dist), args.json
    )


def _show(args: argparse.Namespace, work: Callable[[Kaggle, Target, Screen], Shown]) -> int:
    """Sign in, do a command's work, and show what it returns."""
    from publisher.screen import show

    def connected(screen: Screen) -> Shown:
        kaggle = _connect(args, screen)
        return work(kaggle, _aim(args, kaggle.credential.username), screen)

    return show(connected, args.json)


def _aim(args: argparse.Namespace, user: str) -> Target:
    """Return where on Kaggle a command works, from its arguments and the credential's user."""
    from publisher.target import aim

    names = {"dataset": args.dataset, "kernel": args.kernel, "competition": args.competition}
    return aim(JOBS[args.job], args.owner or user, **names)


def _connect(args: argparse.Namespace, screen: Screen) -> Kaggle:
    """Sign in to Kaggle with the waiting times that were asked for."""
    from publisher.service.client import Kaggle
    from publisher.service.session import Pace

    return Kaggle(Pace(timeout=args.timeout, interval=args.interval, patience=args.patience), screen.say, screen.wait)
