"""The commands of this room for `build.py`: only the standard library is imported before one of them runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def add_commands(commands: Any) -> None:
    """Add this room's commands to `build.py`'s subparsers."""
    command = commands.add_parser("bundle", help="Pack code, weights and wheels into dist/dataset")
    command.set_defaults(run=run_bundle)
    command.add_argument("--out", type=Path, default=ROOT / "dist" / "dataset", help="folder to write")
    command.add_argument("--owner", help="your user name on Kaggle, for the data set's metadata")


def run_bundle(args: argparse.Namespace) -> None:
    """Pack code, weights and wheels into dist/dataset."""
    from dataset_builder.bundle import build_bundle

    manifest = build_bundle(args.out, owner=args.owner)
    size = sum(entry["size"] for entry in manifest["files"])
    models = ", ".join(
        f"{model['name']} ({model['folds']} {'fold' if model['folds'] == 1 else 'folds'})"
        for model in manifest["models"]
    )
    print(f"{args.out}: {len(manifest['files'])} files, {size / 1e6:.1f} MB, {models}, tree {manifest['tree_sha256']}")
