#!/usr/bin/env python
"""The one command line of the project: parses, calls the room that does the work, prints what it answers.

`python build.py --help` lists the commands, `python build.py COMMAND --help` says what each takes. The Makefile's
targets call these commands inside `.venv`. Only the standard library is imported before a command is known, so that
`--help` answers at once and a missing package is named in one line.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
Run = Callable[[argparse.Namespace], int | None]
COMMANDS: dict[str, tuple[Run, list[tuple[tuple[str, ...], dict[str, Any]]]]] = {}


def argument(*names: str, **options: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    """Describe one argument as `ArgumentParser.add_argument` takes it."""
    return names, options


def command(name: str, *arguments: tuple[tuple[str, ...], dict[str, Any]]) -> Callable[[Run], Run]:
    """Register a function as `build.py NAME`; its docstring is the help, its return value the exit status."""

    def register(run: Run) -> Run:
        COMMANDS[name] = (run, list(arguments))
        return run

    return register


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all registered commands."""
    parser = argparse.ArgumentParser(prog="build.py", description="From raw EEG to a Kaggle submission, offline.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (run, arguments) in COMMANDS.items():
        text = (run.__doc__ or "").strip()
        sub = commands.add_parser(
            name,
            help=text.splitlines()[0].rstrip("."),
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        for names, options in arguments:
            sub.add_argument(*names, **options)
        sub.set_defaults(run=run)
    return parser


@command(
    "simulate",
    argument("--out", type=Path, default=ROOT / "dist" / "simulated", help="folder to write [%(default)s]"),
    argument("--recordings", type=int, default=200, help="training recordings [%(default)s]"),
    argument("--test-recordings", type=int, help="hidden test recordings [a tenth of them]"),
    argument("--seed", type=int, default=0, help="same seed, same bytes [%(default)s]"),
    argument("--workers", type=int, default=1, help="processes [%(default)s]"),
)
def run_simulate(args: argparse.Namespace) -> int:
    """Write a simulated data set in the competition's layout; run again to go on with an interrupted one."""
    from simulator.dataset import write_data_set

    write_data_set(
        args.out,
        recordings=args.recordings,
        test_recordings=args.test_recordings,
        seed=args.seed,
        workers=args.workers,
    )
    print(f"{args.out}: {args.recordings} simulated recordings, seed {args.seed}")
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run one command; print one line and return non-zero where the user can mend it."""
    args = build_parser().parse_args(argv)
    try:
        return args.run(args) or 0
    except KeyboardInterrupt:
        print("\nstopped; run the same command again to go on", file=sys.stderr)
        return 130
    except ModuleNotFoundError as error:
        if (ROOT / str(error.name).split(".")[0]).exists():
            raise
        print(f"error: the package {error.name!r} is not installed: run `make setup` first", file=sys.stderr)
        return 1
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


@command(
    "bundle",
    argument("--out", type=Path, default=ROOT / "dist" / "dataset", help="folder to write (default: dist/dataset)"),
    argument("--owner", help="your user name on Kaggle, for the data set's metadata"),
)
def bundle(args: argparse.Namespace) -> None:
    """Pack code, weights and wheels into dist/dataset."""
    from dataset_builder.bundle import build_bundle

    manifest = build_bundle(args.out, owner=args.owner)
    size = sum(entry["size"] for entry in manifest["files"])
    models = ", ".join(f"{model['name']} ({model['folds']} folds)" for model in manifest["models"])
    print(f"{args.out}: {len(manifest['files'])} files, {size / 1e6:.1f} MB, {models}, tree {manifest['tree_sha256']}")


@command(
    "rehearse",
    argument("--input", type=Path, help="folder with test.csv and test_eegs/ (default: a simulated hidden test)"),
    argument("--out", type=Path, default=ROOT / "dist" / "rehearsal", help="where submission.csv and the log go"),
    argument("--layout", choices=("flat", "nested"), default="flat", help="where Kaggle mounts data sets"),
    argument("--isolation", choices=("auto", "namespace", "guard"), default="auto", help="how to cut the network"),
    argument("--budget", type=float, metavar="SECONDS", help="time that the kernel may take (default: 8.5 hours)"),
    argument("--recordings", type=int, default=64, help="size of the simulated hidden test (default: 64)"),
    argument("--seed", type=int, default=0, help="seed of the simulated hidden test (default: 0)"),
)
def rehearse(args: argparse.Namespace) -> None:
    """Run the kernel on a hidden test with the network cut, and judge its submission.

    Builds the bundle, mounts it and the input as Kaggle does, runs the pushed file and checks what it wrote. The last
    line is JSON: rows, fallbacks, seconds, ms_per_recording, peak_rss_mb, and kl where the input has votes.
    """
    from dataset_builder.bundle import build_bundle
    from publisher import rehearse as room

    source = args.input
    if source is None:
        from simulator.dataset import write_hidden_test

        source = ROOT / "dist" / f"hidden_test_{args.recordings}_{args.seed}"
        write_hidden_test(source, recordings=args.recordings, seed=args.seed)
    bundle = ROOT / "dist" / "dataset"
    build_bundle(bundle)
    result = room.rehearse(
        source, args.out, bundle=bundle, layout=args.layout, isolation=args.isolation, budget=args.budget
    )
    report = result.report
    print(f"\n{result.submission}: {report['rows']} rows, {report['fallbacks']} answered with the prior")
    print(f"{report['ms_per_recording']:.0f} ms a recording, {result.seconds:.1f} s in all with loading")
    if result.scores:
        kl, uniform, prior = (result.scores[name] for name in ("kl", "kl_uniform", "kl_prior"))
        print(f"KL {kl:.3f}; uniform {uniform:.3f}, prior {prior:.3f}")
    print(json.dumps(result.to_json()))


PUBLISHING = (
    argument("--owner", help="user or organisation on Kaggle (default: the credential's user)"),
    argument("--dataset", metavar="SLUG", help="the data set's slug (default: hms-scalogram-bundle)"),
    argument("--kernel", metavar="SLUG", help="the kernel's slug (default: hms-scalogram-inference)"),
    argument("--competition", metavar="SLUG", help="the competition's slug"),
    argument("--dist", type=Path, default=ROOT / "dist", help="folder of the bundle and the record (default: dist)"),
    argument("--json", action="store_true", help="print one JSON object; lines for people go to standard error"),
    argument("--timeout", type=float, default=60, help="seconds that one call may take [%(default)s]"),
    argument("--interval", type=float, default=5, help="seconds before the second look; they grow [%(default)s]"),
    argument("--patience", type=float, default=3600, help="seconds to wait for a data set in all [%(default)s]"),
)
FORCE = argument("--force", action="store_true", help="overwrite what is not ours; push or submit once more")


def _target(args: argparse.Namespace, owner: str) -> Any:
    """Return where on Kaggle a command works, from its arguments and the credential's user."""
    from dataset_builder.metadata import Target

    given = {name: getattr(args, name) for name in ("owner", "dataset", "kernel", "competition")}
    return Target(**{"owner": owner, **{name: value for name, value in given.items() if value}})


def _connect(args: argparse.Namespace, screen: Any) -> Any:
    """Sign in to Kaggle with the waiting times that were asked for."""
    from publisher.client import Kaggle
    from publisher.pace import Pace

    return Kaggle(Pace(timeout=args.timeout, interval=args.interval, patience=args.patience), screen.say)


@command(
    "push",
    *PUBLISHING,
    FORCE,
    argument("--submit", action="store_true", help="wait for the run and submit it when it completes"),
    argument("--input", type=Path, help="what to rehearse on (default: a small simulated hidden test)"),
)
def run_push(args: argparse.Namespace) -> int:
    """Rehearse the bundle, publish it as a data set, push the kernel, record the versions.

    Creates the data set, versions it, or leaves it alone when its content is the same; waits until it is READY and
    reads back with our hash. Killed at any moment and run again it goes on, and nothing is published twice.
    """
    from dataset_builder.bundle import build_bundle
    from publisher.push import push
    from publisher.rehearse import rehearse
    from publisher.screen import Screen, show
    from publisher.status import Watcher, watch
    from publisher.submit import submit

    def work(screen: Screen) -> tuple[dict[str, Any], list[str], int]:
        def rehearse_bundle(bundle: Path, code_file: Path) -> None:
            source = args.input
            if source is None:
                from simulator.dataset import write_hidden_test

                source = args.dist / "hidden_test_8_0"
                write_hidden_test(source, recordings=8, seed=0)
            rehearse(source, args.dist / "rehearsal", bundle=bundle, code_file=code_file, log=screen.say)

        kaggle = _connect(args, screen)
        target = _target(args, kaggle.credential.username)
        record = push(
            kaggle,
            target,
            args.dist,
            build_bundle=lambda target, bundle: build_bundle(bundle, owner=target.owner),
            rehearse_bundle=rehearse_bundle,
            force=args.force,
        )
        lines = [f"{args.dist / 'published.json'} says which version is which; `make status` follows the run"]
        if not args.submit:
            return record, lines, 0
        report = watch(Watcher(kaggle, target, args.dist), screen)
        if report.state == "complete":
            record["submission"] = submit(kaggle, target, args.dist, force=args.force)
            return record, [f"submitted as {record['submission']['submission']}; `make status` shows its score"], 0
        return record, report.lines(), 0 if report.state == "scored" else 1

    return show(work, as_json=args.json)


@command(
    "status",
    *PUBLISHING,
    argument(
        "--watch",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="look again until there is a score or a failure (default: on a terminal)",
    ),
)
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


@command("submit", *PUBLISHING, FORCE)
def run_submit(args: argparse.Namespace) -> int:
    """Submit the exact kernel version that was pushed, once its run has ended well."""
    from publisher.screen import Screen, show
    from publisher.submit import submit

    def work(screen: Screen) -> tuple[dict[str, Any], list[str], int]:
        kaggle = _connect(args, screen)
        answer = submit(kaggle, _target(args, kaggle.credential.username), args.dist, force=args.force)
        return answer, [f"submitted as {answer['submission']}; `make status` shows its score"], 0

    return show(work, as_json=args.json)


@command("output", *PUBLISHING)
def run_output(args: argparse.Namespace) -> int:
    """Bring the outputs of the pushed version into dist/output, every file checked, and judge the submission."""
    from publisher.output import bring_output
    from publisher.screen import Screen, show

    def work(screen: Screen) -> tuple[dict[str, Any], list[str], int]:
        kaggle = _connect(args, screen)
        return bring_output(kaggle, _target(args, kaggle.credential.username), args.dist)

    return show(work, as_json=args.json)


@command("doctor", *PUBLISHING)
def run_doctor(args: argparse.Namespace) -> int:
    """Check credentials, client, names, bundle and what the kernel asks for; each finding comes with its mend."""
    from publisher.doctor import doctor
    from publisher.screen import Screen, show

    def work(screen: Screen) -> tuple[dict[str, Any], list[str], int]:
        return doctor(lambda: _connect(args, screen), lambda owner: _target(args, owner), args.dist)

    return show(work, as_json=args.json)


if __name__ == "__main__":
    sys.exit(main())
