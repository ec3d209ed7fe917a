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


if __name__ == "__main__":
    sys.exit(main())
