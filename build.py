#!/usr/bin/env python
"""The one command line of the project: collects each room's commands, and turns their errors into one line.

`python build.py --help` lists the commands, `python build.py COMMAND --help` says what each takes. The Makefile's
targets call these commands inside `.venv`. Only the standard library is imported before a command is known, so that
`--help` answers at once and a missing package is named in one line.
"""

from __future__ import annotations

import argparse
import inspect
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import dataset_builder.commands
import eda.commands
import publisher.commands
import rehearsal.commands
import simulator.commands
import training.commands

ROOT = Path(__file__).resolve().parent
ROOMS = (simulator, eda, training, dataset_builder, rehearsal, publisher)


class _Help(argparse.RawDescriptionHelpFormatter):
    """Shows every default as ` [default]`, paths below the checkout as they are typed there, values by their type."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32, width=min(110, shutil.get_terminal_size().columns - 2))

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        if action.type in (Path, int, float):
            return {Path: "PATH", int: "N", float: "X"}[action.type]
        return super()._get_default_metavar_for_optional(action)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text, default = action.help, action.default
        if not text or not action.option_strings or any(default is none for none in (None, False, argparse.SUPPRESS)):
            return text
        if isinstance(default, Path) and default.is_relative_to(ROOT):
            default = default.relative_to(ROOT)
        return f"{text} [{default}]"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; a command's docstring is its help."""
    parser = argparse.ArgumentParser(
        prog="build.py",
        description="From raw EEG to a Kaggle submission, offline.",
        epilog="`python build.py COMMAND --help` says what a command takes; `make` lists the same as targets.",
        formatter_class=_Help,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for room in ROOMS:
        room.commands.add_commands(commands)
    add_commands(commands)
    for command in commands.choices.values():
        command.description = inspect.getdoc(command.get_default("run"))
        command.formatter_class = _Help
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command; print one line and return non-zero where the user can fix it."""
    args = build_parser().parse_args(argv)
    # TensorFlow reports missing GPUs, retraced functions and the like on its own: none of it is for the user.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    try:
        return args.run(args) or 0
    except KeyboardInterrupt:
        # A command that cannot go on where it was says so with `stopped`.
        print(f"\nstopped; {getattr(args, 'stopped', 'run the same command again to go on')}", file=sys.stderr)
        return 130
    except ModuleNotFoundError as error:
        if (ROOT / str(error.name).split(".")[0]).exists():
            raise
        print(f"error: the package {error.name!r} is not installed: run `make setup` first", file=sys.stderr)
        return 1
    except (ValueError, OSError) as error:
        print(f"error: {describe(error)}", file=sys.stderr)
        return 1


def describe(error: Exception) -> str:
    """Return an error's text, without the number that the system gives it."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    return str(error)


def add_commands(commands: Any) -> None:
    """Add the one command that belongs to no room."""
    command = commands.add_parser("bench", help="Measure speed and memory against the alternatives, as ratios")
    command.set_defaults(run=run_bench)
    command.add_argument("names", nargs="*", help="which of them, by file name in benchmarks/ [all]")


def run_bench(args: argparse.Namespace) -> int:
    """Measure speed and memory against the alternatives, as ratios.

    Each measurement is a module of benchmarks/ and runs in a process of its own.
    """
    known = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if path.stem != "__init__")
    unknown = [name for name in args.names if name not in known]
    if unknown:
        raise ValueError(f"no benchmark called {', '.join(unknown)}; there are {', '.join(known)}")
    status = 0
    for name in args.names or known:
        print(f"\n== {name}", flush=True)
        status |= subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], cwd=ROOT).returncode
    return status


if __name__ == "__main__":
    sys.exit(main())
