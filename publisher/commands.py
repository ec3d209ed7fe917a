"""The commands of this room for `build.py`: only the standard library is imported before one of them runs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def add_commands(commands: Any) -> None:
    """Add this room's commands to `build.py`'s subparsers."""
    command = commands.add_parser("push", help="Rehearse, publish the bundle, push the kernel")
    command.set_defaults(run=run_push)
    _add_publishing(command)
    _add_force(command)
    command.add_argument("--submit", action="store_true", help="wait for the run and submit it when it completes")
    command.add_argument(
        "--with-cache", type=Path, metavar="DIR", help="publish stored inputs too: DIR is what `cache` wrote"
    )
    command.add_argument("--input", type=Path, help="what to rehearse on [a small simulated hidden test]")

    command = commands.add_parser(
        "status",
        help="Show data set, run and submission, up to the score",
    )
    command.set_defaults(run=run_status)
    _add_publishing(command)
    command.add_argument(
        "--watch",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="look again until there is a score or a failure [on a terminal]",
    )

    command = commands.add_parser("submit", help="Submit the pushed kernel version, once its run has ended well")
    command.set_defaults(run=run_submit)
    _add_publishing(command)
    _add_force(command)

    command = commands.add_parser(
        "output",
        help="Bring the run's outputs into dist/output, checked",
    )
    command.set_defaults(run=run_output)
    _add_publishing(command)

    command = commands.add_parser(
        "doctor",
        help="Check credentials, names and bundle before a push",
    )
    command.set_defaults(run=run_doctor)
    _add_publishing(command)


def _add_publishing(command: argparse.ArgumentParser) -> None:
    command.add_argument("--owner", help="user or organisation on Kaggle [the credential's user]")
    command.add_argument("--dataset", metavar="SLUG", help="the data set's slug [hms-scalogram-bundle]")
    command.add_argument("--kernel", metavar="SLUG", help="the kernel's slug [hms-scalogram-inference]")
    command.add_argument("--competition", metavar="SLUG", help="the competition's slug")
    command.add_argument("--dist", type=Path, default=ROOT / "dist", help="folder of the bundle and the record")
    command.add_argument(
        "--json", action="store_true", help="print one JSON object; lines for people go to standard error"
    )
    command.add_argument("--timeout", type=float, default=60, help="seconds that one call may take")
    command.add_argument("--interval", type=float, default=5, help="seconds before the second look; they grow")
    command.add_argument("--patience", type=float, default=3600, help="seconds to wait for a data set in all")


def _add_force(command: argparse.ArgumentParser) -> None:
    command.add_argument("--force", action="store_true", help="overwrite what is not ours; push or submit once more")


def run_push(args: argparse.Namespace) -> int:
    """Rehearse the bundle, publish it as a data set, push the kernel, record the versions.

    Creates the data set, versions it, or leaves it alone when its content is the same; waits until it is READY and
    reads back with our hash. Killed at any moment and run again it goes on, and nothing is published twice.
    """
    from dataset_builder.bundle import build_bundle
    from publisher.push import push
    from publisher.record import read_record
    from publisher.screen import Screen, show
    from publisher.submit import submit_when_complete
    from rehearsal.rehearse import hidden_test, rehearse

    def work(screen: Screen) -> tuple[dict[str, Any], list[str], int]:
        def rehearse_bundle(bundle: Path, code_file: Path) -> None:
            source = args.input or hidden_test(args.dist, recordings=8, seed=0)
            rehearse(source, args.dist / "rehearsal", bundle=bundle, code_file=code_file, log=screen.say)

        kaggle = _connect(args, screen)
        target = _target(args, kaggle.credential.username)
        push(
            kaggle,
            target,
            args.dist,
            build_bundle=lambda target, bundle: build_bundle(bundle, owner=target.owner),
            rehearse_bundle=rehearse_bundle,
            force=args.force,
        )
        if args.with_cache:
            from publisher.cache import push_cache

            push_cache(kaggle, target.owner, args.with_cache, args.dist, force=args.force)
        lines, status = (
            [f"{args.dist / 'published.json'} says which version is which; `make status` follows the run"],
            0,
        )
        if args.submit:
            lines, status = submit_when_complete(kaggle, target, args.dist, screen)
        return read_record(args.dist), lines, status

    return show(work, as_json=args.json)


def run_status(args: argparse.Namespace) -> int:
    """Show data set, run and submission; exit with 0 only for success, 1 for a failure, 3 while Kaggle is at work."""
    from publisher.screen import Screen, show
    from publisher.status import EXIT, Watcher, watch

    def work(screen: Screen) -> tuple[dict[str, Any], list[str], int]:
        kaggle = _connect(args, screen)
        watcher = Watcher(kaggle, _target(args, kaggle.credential.username), args.dist)
        watching = sys.stdout.isatty() if args.watch is None else args.watch
        report = watch(watcher, screen) if watching else watcher.look()
        return report.as_dict(), report.lines(), EXIT[report.state]

    try:
        return show(work, as_json=args.json)
    except KeyboardInterrupt:
        print("\nstopped looking; everything on Kaggle goes on: `make status` looks again", file=sys.stderr)
        return 130


def run_submit(args: argparse.Namespace) -> int:
    """Submit the exact kernel version that was pushed, once its run has ended well."""
    from publisher.screen import Screen, show
    from publisher.submit import submit

    def work(screen: Screen) -> tuple[dict[str, Any], list[str], int]:
        kaggle = _connect(args, screen)
        answer = submit(kaggle, _target(args, kaggle.credential.username), args.dist, force=args.force)
        return answer, [f"submitted as {answer['submission']}; `make status` shows its score"], 0

    return show(work, as_json=args.json)


def run_output(args: argparse.Namespace) -> int:
    """Bring the outputs of the pushed version into dist/output, every file checked, and judge the submission."""
    from publisher.output import bring_output
    from publisher.screen import Screen, show

    def work(screen: Screen) -> tuple[dict[str, Any], list[str], int]:
        kaggle = _connect(args, screen)
        return bring_output(kaggle, _target(args, kaggle.credential.username), args.dist)

    return show(work, as_json=args.json)


def run_doctor(args: argparse.Namespace) -> int:
    """Check credentials, client, names, bundle and what the kernel asks for; each finding comes with its mend."""
    from publisher.doctor import doctor
    from publisher.screen import Screen, show

    def work(screen: Screen) -> tuple[dict[str, Any], list[str], int]:
        return doctor(lambda: _connect(args, screen), lambda owner: _target(args, owner), args.dist)

    return show(work, as_json=args.json)


def _target(args: argparse.Namespace, owner: str) -> Any:
    """Return where on Kaggle a command works, from its arguments and the credential's user."""
    from dataset_builder.metadata import Target

    given = {name: getattr(args, name) for name in ("owner", "dataset", "kernel", "competition")}
    return Target(**{"owner": owner, **{name: value for name, value in given.items() if value}})


def _connect(args: argparse.Namespace, screen: Any) -> Any:
    """Sign in to Kaggle with the waiting times that were asked for."""
    from publisher.client import Kaggle
    from publisher.pace import Pace

    return Kaggle(Pace(timeout=args.timeout, interval=args.interval, patience=args.patience), screen.say, screen.wait)
