"""The commands of this room for `build.py`: only the standard library is imported before one of them runs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def add_commands(commands: Any) -> None:
    """Add this room's commands to `build.py`'s subparsers."""
    command = commands.add_parser("rehearse", help="Run the kernel on a hidden test with the network cut")
    command.set_defaults(run=run_rehearse)
    command.add_argument("--input", type=Path, help="folder with test.csv and test_eegs/ [a simulated hidden test]")
    command.add_argument(
        "--out", type=Path, default=ROOT / "dist" / "rehearsal", help="where submission.csv and the log go"
    )
    command.add_argument("--layout", choices=("flat", "nested"), default="flat", help="where Kaggle mounts data sets")
    command.add_argument(
        "--isolation", choices=("auto", "namespace", "guard"), default="auto", help="how to cut the network"
    )
    command.add_argument("--budget", type=float, metavar="SECONDS", help="time that the kernel may take [8.5 hours]")
    command.add_argument("--recordings", type=int, default=64, help="size of the simulated hidden test")
    command.add_argument("--seed", type=int, default=0, help="seed of the simulated hidden test")


def run_rehearse(args: argparse.Namespace) -> None:
    """Run the kernel on a hidden test with the network cut, and judge its submission.

    Builds the bundle, mounts it and the input as Kaggle does, runs the pushed file and checks what it wrote. The last
    line is JSON: rows, fallbacks, seconds, ms_per_recording, peak_rss_mb, and kl where the input has votes.
    """
    from dataset_builder.bundle import build_bundle
    from rehearsal.rehearse import hidden_test, rehearse

    source = args.input or hidden_test(ROOT / "dist", recordings=args.recordings, seed=args.seed)
    bundle = ROOT / "dist" / "dataset"
    build_bundle(bundle)
    result = rehearse(source, args.out, bundle=bundle, layout=args.layout, isolation=args.isolation, budget=args.budget)
    report = result.report
    print(f"\n{result.submission}: {report['rows']} rows, {report['fallbacks']} answered with the prior")
    print(f"{report['ms_per_recording']:.0f} ms a recording, {result.seconds:.1f} s in all with loading")
    if result.scores:
        kl, uniform, prior = (result.scores[name] for name in ("kl", "kl_uniform", "kl_prior"))
        print(f"KL {kl:.3f}; uniform {uniform:.3f}, prior {prior:.3f}")
    print(json.dumps(result.to_json()))
