"""The commands of this room for `build.py`: only the standard library is imported before one of them runs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rehearsal.job import DEFAULT, JOBS, ROOT


def add_commands(commands: Any) -> None:
    """Add this room's commands to `build.py`'s subparsers."""
    command = commands.add_parser("rehearse", help="Run a job's kernel on a hidden test with the network cut")
    command.set_defaults(run=run_rehearse)
    add_job(command)
    add_job_options(command)
    command.add_argument("--input", type=Path, help="folder with test.csv and test_eegs/ [a simulated hidden test]")
    command.add_argument("--out", type=Path, help="where submission.csv and the log go [dist/rehearsal]")
    command.add_argument("--layout", choices=("flat", "nested"), default="flat", help="where Kaggle mounts data sets")
    command.add_argument(
        "--isolation", choices=("auto", "namespace", "guard"), default="auto", help="how to cut the network"
    )
    command.add_argument("--budget", type=float, metavar="SECONDS", help="time that the kernel may take [8.5 hours]")
    command.add_argument("--recordings", type=int, help="size of the simulated hidden test [64]")
    command.add_argument("--seed", type=int, help="seed of the simulated hidden test [0]")
    command.add_argument("--dist", type=Path, default=ROOT / "dist", help="folder of what is built")


def add_job(command: argparse.ArgumentParser) -> None:
    """Add the option that says which job a command is about."""
    command.add_argument("--job", choices=sorted(JOBS), default=DEFAULT, help="which kernel")


def add_job_options(command: argparse.ArgumentParser) -> None:
    """Add what the jobs' pushed files can be called with."""
    for name, text in {name: text for job in JOBS.values() for name, text in job.options.items()}.items():
        command.add_argument(f"--{name}", nargs="+", action="extend", metavar=name.upper(), help=text)


def job_arguments(args: argparse.Namespace) -> dict[str, str]:
    """Return what was given of the options of all jobs."""
    names = {name for job in JOBS.values() for name in job.options}
    given = {name: getattr(args, name.replace("-", "_")) for name in sorted(names)}
    return {name: " ".join(values) for name, values in given.items() if values is not None}


def run_rehearse(args: argparse.Namespace) -> None:
    """Run a job's kernel with the network cut, and judge what it leaves.

    Builds the job's data set, mounts it and the input as Kaggle does, runs the pushed file and checks what it wrote.
    The last line is JSON; of the inference: rows, fallbacks, seconds, ms_per_recording, peak_rss_mb, and kl where the
    input has votes.
    """
    job, dist = JOBS[args.job], args.dist
    own = {name: getattr(args, name) for name in ("budget", "recordings", "seed") if getattr(args, name) is not None}
    if own and job.name != DEFAULT:
        raise ValueError(f"the job {job.name} takes no --{', --'.join(own)}")
    code = job.read_code(job_arguments(args))
    data_set, _ = job.build_data_set(dist)
    code_file = job.folder(dist) / "script.py"
    code_file.write_text(code, encoding="utf-8", newline="\n")
    options = {"dist": dist, "code_file": code_file, "layout": args.layout, "isolation": args.isolation, **own}
    out = args.out or job.folder(dist) / "rehearsal"
    found = job.rehearse(args.input, out, data_set, log=print, **options)
    print("", *found.lines, json.dumps(found.data), sep="\n")
