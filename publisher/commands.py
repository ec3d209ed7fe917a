"""The commands of this room for `build.py`: only the standard library is imported before one of them runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rehearsal.commands import add_job, add_job_options, job_arguments
from rehearsal.job import JOBS, ROOT, lazily

if TYPE_CHECKING:
    from publisher.screen import Screen, Shown
    from publisher.service.client import Kaggle
    from publisher.target import Target


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
        add = command.add_argument
        add("--owner", help="user or organisation on Kaggle [the credential's user]")
        for slug, what in {"dataset": "data set with the job's code", "kernel": "", "competition": ""}.items():
            add(f"--{slug}", metavar="SLUG", help=f"the slug of the {what or slug} [as the job's metadata say]")
        add("--dist", type=Path, default=ROOT / "dist", help="folder of the bundle and the record")
        add("--json", action="store_true", help="print one JSON object; lines for people go to standard error")
        add("--timeout", type=float, default=60, help="seconds that one call may take")
        add("--interval", type=float, default=5, help="seconds before the second look; they grow")
        add("--patience", type=float, default=3600, help="seconds to wait for what is not sure to come")
        if name in ("push", "submit"):
            add("--force", action="store_true", help="overwrite what is not ours; push or submit once more")
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
    options = {"source": args.input, "arguments": job_arguments(args), "submit": args.submit, "force": args.force}
    return _run(args, "publisher.push:push", **options)[1]


def run_status(args: argparse.Namespace) -> int:
    """Show data set, run and submission; exit with 0 only for success, 1 for a failure, 3 while Kaggle is at work."""
    watching = sys.stdout.isatty() if args.watch is None else args.watch
    try:
        return _run(args, "publisher.status:show_status", watching=watching)[1]
    except KeyboardInterrupt:
        print("\nstopped looking; everything on Kaggle goes on: `make status` looks again", file=sys.stderr)
        return 130


def run_submit(args: argparse.Namespace) -> int:
    """Submit the exact kernel version that was pushed, once its run has ended well."""
    return _run(args, "publisher.submit:submit", force=args.force)[1]


def run_output(args: argparse.Namespace) -> int:
    """Bring the outputs of the pushed version into dist/output, every file checked, and judge the submission."""
    return _run(args, "publisher.output:bring_output")[1]


def run_pull_weights(args: argparse.Namespace) -> int:
    """Bring the weights of a finished training into dist/trained/MODEL, verify them, and ship them as `ship` does.

    Every file is held against the hash that the run recorded, the configuration against the code here, and the answers
    to one stored window against the kernel's. Interrupted, it goes on where it stopped.
    """
    pulled, status = _run(args, "publisher.output:pull_weights")
    if status or args.json:
        return status
    from training.commands import TRAINED, WEIGHTS, ship_models

    if not args.yes and not sys.stdin.isatty():
        name = pulled["folder"].removeprefix(f"{TRAINED}/")
        print(f"to put it into weights/: `make ship MODEL={name}`, with REPLACE=1 in place of all that ships now")
        return 0
    return ship_models([pulled["folder"]], WEIGHTS, args.replace, args.yes)


def run_doctor(args: argparse.Namespace) -> int:
    """Check credentials, names, bundle and what the kernel asks for; each finding comes with how to fix it."""
    from publisher.doctor import doctor
    from publisher.screen import Screen

    screen = Screen(args.json)
    return screen.show(lambda: doctor(lambda: _connect(args, screen), lambda user: _aim(args, user)))[1]


def _run(args: argparse.Namespace, name: str, **options: Any) -> tuple[dict[str, Any], int]:
    """Sign in, call `module:function` about the job's place on Kaggle, and show what it returns."""
    from publisher.screen import Screen

    screen = Screen(args.json)

    def work() -> Shown:
        kaggle = _connect(args, screen)
        shown: Shown = lazily(name)(kaggle, _aim(args, kaggle.credential.username), **options)
        return shown

    return screen.show(work)


def _aim(args: argparse.Namespace, user: str) -> Target:
    """Return where on Kaggle a command works, from its arguments and the credential's user."""
    from publisher.target import aim

    names = {name: getattr(args, name) for name in ("dataset", "kernel", "competition")}
    return aim(JOBS[args.job], args.owner or user, dist=args.dist, **names)


def _connect(args: argparse.Namespace, screen: Screen) -> Kaggle:
    """Sign in to Kaggle with the waiting times that were asked for."""
    from publisher.service.client import Kaggle
    from publisher.service.session import Pace

    return Kaggle(Pace(timeout=args.timeout, interval=args.interval, patience=args.patience), screen.say, screen.wait)
