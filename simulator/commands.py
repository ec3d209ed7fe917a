"""The commands of this room for `build.py`: only the standard library is imported before one of them runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def add_commands(commands: Any) -> None:
    """Add this room's commands to `build.py`'s subparsers."""
    command = commands.add_parser("simulate", help="Write a simulated data set in the competition's layout")
    command.set_defaults(run=run_simulate)
    add = command.add_argument
    add("--out", type=Path, default=ROOT / "dist" / "simulated", help="folder to write")
    add("--recordings", type=int, default=200, help="training recordings")
    add("--test-recordings", type=int, help="hidden test recordings [a tenth of them]")
    add("--seed", type=int, default=0, help="same seed, same bytes")
    add("--workers", type=int, default=1, help="processes")
    add("--gallery", type=Path, metavar="FILE.png", help="draw pages of every class instead of writing data")
    about = "print figures of the real recordings of folders and of simulated ones (and draw both: --gallery)"
    add("--compare", type=Path, nargs="+", metavar="DIR", help=about)


def run_simulate(args: argparse.Namespace) -> int:
    """Write a simulated data set in the competition's layout; run again to go on with an interrupted one."""
    from simulator.dataset import write_data_set

    if args.gallery or args.compare:
        from simulator.compare import show_gallery

        show_gallery(args.gallery, args.compare, args.seed)
        return 0
    write_data_set(
        args.out,
        recordings=args.recordings,
        test_recordings=args.test_recordings,
        seed=args.seed,
        workers=args.workers,
    )
    print(f"{args.out}: {args.recordings} simulated recordings, seed {args.seed}")
    return 0
