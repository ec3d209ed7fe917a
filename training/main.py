"""The one file that is pushed to Kaggle to train: it finds the code, verifies it, and trains on the mounted data.

Kaggle copies this file alone, so it imports only the standard library before the code is found: the data set
`hms-scalogram-code`, attached to the kernel. The log begins with `HMS-START {json}` (which code, which request) and
ends with `HMS-END {json}` (what was trained, and whether another run shall go on).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

CODE_NAME, CODE_FORMAT = "hms-scalogram-code", "hms-bundle/code-1"
ARGUMENTS: dict[str, str] = {}
"""What a push asks for, by the names of the options below: Kaggle passes a script no arguments."""


def find_code(root: Path) -> tuple[Path, dict[str, Any]]:
    """Return the folder of the code and its manifest: at the known mounts first, else by a shallow search.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    for pattern in (CODE_NAME, f"datasets/*/{CODE_NAME}", "*", "*/*", "*/*/*"):
        for path in sorted(root.glob(f"{pattern}/manifest.json")):
            try:
                manifest = json.loads(path.read_text())
                if manifest["format"] == CODE_FORMAT:
                    return path.parent, manifest
            except (ValueError, KeyError, TypeError):
                continue  # some other data set's manifest
    raise FileNotFoundError(
        f"no data set with the code below {root}: attach {CODE_NAME} to the kernel, and wait until Kaggle shows it as "
        "ready"
    )


def read_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Return what the run is asked for: the command line's options, else those of `ARGUMENTS`, else the defaults."""
    parser = argparse.ArgumentParser(description="Train on the mounted data: the kernel as Kaggle runs it.")
    parser.add_argument("--input", type=Path, default=Path("/kaggle/input"), help="where sources are mounted")
    parser.add_argument("--working", type=Path, default=Path("/kaggle/working"), help="where the outputs go")
    parser.add_argument("--scratch", type=Path, help="where the cache goes [a temporary folder]")
    parser.add_argument("--model", default=ARGUMENTS.get("model", "scalogram_b2"), help="a recipe's name")
    parser.add_argument("--fold", default=ARGUMENTS.get("fold", "all"), help="numbers with commas, or all")
    parser.add_argument("--set", default=[], action="append", dest="changes", help="changes to the recipe")
    parser.add_argument("--hours", type=float, default=float(ARGUMENTS.get("hours", 11)), help="time for the run")
    parser.add_argument("--device", choices=("gpu", "cpu"), default=ARGUMENTS.get("device", "gpu"))
    parser.add_argument("--backbone", default=ARGUMENTS.get("backbone", "imagenet"), help="imagenet, or none")
    args, _ = parser.parse_known_args(argv)
    args.changes = " ".join([ARGUMENTS.get("set", ""), *args.changes]).split()
    return args


def main(argv: list[str] | None = None) -> int:
    """Train what was asked for; return the exit status."""
    args = read_arguments(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    try:
        folder, manifest = find_code(args.input)
        sys.path.insert(0, str(folder))
        from kernel.main import END, START, provide_modules, verify

        request = {name: getattr(args, name) for name in ("model", "fold", "changes", "hours", "device", "backbone")}
        start = {name: manifest[name] for name in ("tree_sha256", "commit", "dirty")}
        print(f"{START} " + json.dumps({"code": str(folder), **start, **request}), flush=True)
        verify(folder, manifest)
        provide_modules(folder, manifest)
        from training.run import run_session
        from training.session import Request

        scratch = args.scratch or Path(tempfile.mkdtemp(prefix="training-"))
        tree = manifest["tree_sha256"]
        say = partial(print, flush=True)
        end = run_session(Request(**request), args.input, args.working, scratch, tree_sha256=tree, say=say)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 1
    print(f"{END} " + json.dumps(end), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
