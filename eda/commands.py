"""The commands of this room for `build.py`: only the standard library is imported before one of them runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def add_commands(commands: Any) -> None:
    """Add this room's commands to `build.py`'s subparsers."""
    command = commands.add_parser("eda", help="Write the report on a training set: one page with pictures")
    command.set_defaults(run=run_eda, stopped="nothing is kept; the same command starts over")
    add = command.add_argument
    add("--data", type=Path, required=True, help="folder with train.csv, and train_eegs/ where there is one")
    add("--out", type=Path, default=ROOT / "dist" / "report.html", help="page to write")
    add("--sample", type=int, default=600, metavar="N", help="recordings whose signals are read, 0 for none")
    add("--seed", type=int, default=0, help="which recordings those are")
    add("--ideal", type=float, default=0.9, help="ideal: one class has more than this share")
    add("--half", type=float, default=0.45, help="proto, edge: two have at least this share")

    command = commands.add_parser("show", help="Draw one recording: page, scalograms, votes, prediction")
    command.set_defaults(run=run_show, stopped="nothing is kept; the same command starts over")
    add = command.add_argument
    add("eeg_id", type=int, metavar="EEG_ID", help="the recording")
    add("--data", type=Path, required=True, help="folder with train_eegs/ or test_eegs/")
    add("--offset", type=float, metavar="S", help="start of the window [the most voted, or the centre]")
    add("--weights", type=Path, default=ROOT / "weights", help="models for the prediction")
    add("--out", type=Path, help="picture to write: .png, .pdf, .svg, ... [dist/show/EEG_ID.png]")


def run_eda(args: argparse.Namespace) -> int:
    """Write the report on a training set: one page, its pictures and tables in a folder beside it."""
    from eda.report import ReportConfig, write_report

    config = ReportConfig(args.sample, args.seed, args.ideal, args.half)
    folder = write_report(args.data, args.out, config)
    print(f"{args.out}: the report; pictures and tables in {folder}")
    return 0


def run_show(args: argparse.Namespace) -> int:
    """Draw one recording: the clinical page, its scalograms, the votes, the prediction."""
    from eda.show import show_recording

    out = args.out or ROOT / "dist" / "show" / f"{args.eeg_id}.png"
    print(*show_recording(args.data, args.eeg_id, out, offset=args.offset, weights=args.weights), out, sep="\n")
    return 0
