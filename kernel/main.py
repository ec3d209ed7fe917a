"""The one file that is pushed to Kaggle: it finds the bundle, verifies it and runs it.

Kaggle copies this file alone, so it imports only the standard library before it has found the bundle: the attached data
set with all other code, whose path has changed over the years. The log begins with `HMS-START {json}` (which bundle,
commit and models) and ends with `HMS-END {json}` (counts and times). A run without that end did not finish, even if
Kaggle calls it complete.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import csv
import functools
import hashlib
import importlib
import json
import logging
import os
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BUNDLE_NAME = "hms-scalogram-bundle"
BUNDLE_FORMAT = "hms-bundle/1"
COMPETITION = "hms-harmful-brain-activity-classification"
SEARCH_DEPTH = 4
START, END = "HMS-START", "HMS-END"
"""How the log's first and last line begin, each followed by JSON."""


def find_bundle(root: Path) -> tuple[Path, dict[str, Any]]:
    """Return the bundle's folder and manifest: at the known mounts first, else by a shallow search."""
    known = [root / BUNDLE_NAME, *sorted(root.glob(f"datasets/*/{BUNDLE_NAME}"))]
    for folder in known:
        if (folder / "manifest.json").is_file():
            return folder, read_manifest(folder / "manifest.json")
    found = {}
    for folder in find_folders(root, SEARCH_DEPTH):
        if (folder / "manifest.json").is_file():
            with contextlib.suppress(ValueError):  # Some other data set's manifest.
                found[folder] = read_manifest(folder / "manifest.json")
    if len(found) > 1:
        raise ValueError(f"several bundles are attached: {', '.join(map(str, found))}; attach one")
    if not found:
        raise FileNotFoundError(
            f"no bundle below {root}: no manifest.json at {', '.join(map(str, known))} or {SEARCH_DEPTH} folders deep; "
            "attach the data set to the kernel and wait until Kaggle shows it as ready"
        )
    return found.popitem()


def find_competition(root: Path, table: str = "test.csv", recordings: str = "test_eegs") -> Path:
    """Return the folder of the competition's data: the one with this table and these recordings."""
    for folder in (root / COMPETITION, root / "competitions" / COMPETITION, *find_folders(root, SEARCH_DEPTH)):
        if (folder / table).is_file() and (folder / recordings).is_dir():
            return folder
    raise FileNotFoundError(f"no folder below {root} holds {table} and {recordings}; attach the competition's data")


def find_folders(root: Path, depth: int) -> Iterator[Path]:
    """Yield the folders below `root`, nearest first, without those full of recordings."""
    level = [root]
    for _ in range(depth):
        level = [
            Path(entry.path)
            for folder in level
            if folder.is_dir()
            for entry in sorted(os.scandir(folder), key=lambda entry: entry.name)
            if entry.is_dir() and not entry.name.endswith(("_eegs", "_spectrograms"))
        ]
        yield from level


def read_manifest(path: Path) -> dict[str, Any]:
    """Read a manifest, which must be of this format."""
    try:
        manifest = json.loads(path.read_text())
        if manifest["format"] == BUNDLE_FORMAT:
            return dict(manifest)
        reason = f"format {manifest['format']!r}"
    except (ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
    raise ValueError(f"{path}: not a manifest of format {BUNDLE_FORMAT!r} ({reason}); build and push the bundle again")


def verify(folder: Path, manifest: dict[str, Any]) -> None:
    """Compare every file of the bundle with its size and sha256 in the manifest; the first that differs is an error.

    Kaggle may have unpacked a wheel into a folder: the manifest then proves its RECORD, and RECORD its files.
    """
    for entry in manifest["files"]:
        path = folder / entry["path"]
        if "record_sha256" in entry and not path.is_file():
            _verify_unpacked(_unpacked(path), entry)
        elif not path.is_file():
            raise ValueError(f"{path}: missing from the bundle; push it again")
        elif path.stat().st_size != entry["size"] or _sha256(path).hex() != entry["sha256"]:
            raise ValueError(f"{path}: damaged (size or sha256 differs from the manifest); push the bundle again")


def _verify_unpacked(folder: Path, entry: dict[str, Any]) -> None:
    records = sorted(folder.glob("*.dist-info/RECORD"))
    if not records:
        raise ValueError(f"{folder}: missing from the bundle, as a wheel and as a folder; push it again")
    if _sha256(records[0]).hex() != entry["record_sha256"]:
        raise ValueError(f"{records[0]}: damaged (sha256 differs from the manifest); push the bundle again")
    with records[0].open(newline="") as rows:
        for name, digest, _ in csv.reader(rows):
            if not digest:
                continue  # RECORD itself.
            expected = base64.urlsafe_b64decode(digest.removeprefix("sha256=") + "==")
            if not (folder / name).is_file() or _sha256(folder / name) != expected:
                raise ValueError(f"{folder / name}: missing or damaged; push the bundle again")


def _unpacked(wheel: Path) -> Path:
    """Return the folder that stands in for a wheel: named as the file, or without its ending."""
    return wheel if wheel.is_dir() else wheel.with_suffix("")


def _sha256(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def provide_modules(folder: Path, manifest: dict[str, Any]) -> list[str]:
    """Put a vendored wheel on the path for each module that does not import; return those modules."""
    provided = []
    for entry in manifest["files"]:
        module = entry.get("module")
        if module is None:
            continue
        try:
            importlib.import_module(module)
        except Exception as error:  # A broken installation raises anything, and the vendored one may still work.
            print(f"{module} does not import ({error}): taking {entry['path']}", flush=True)
            wheel = folder / entry["path"]
            if wheel.is_file():
                target = tempfile.mkdtemp(prefix=f"{module}-")
                with zipfile.ZipFile(wheel) as archive:
                    archive.extractall(target)
            else:
                target = str(_unpacked(wheel))
            sys.path.append(target)
            importlib.invalidate_caches()
            provided.append(module)
    return provided


def set_threads() -> int:
    """Set TensorFlow up, before it is loaded, for one worker per core; return the number of workers.

    Each call uses one thread, because the workers run side by side. TensorFlow also needs a thread per worker between
    calls, or it would run the workers' calls one after the other.
    """
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of every network after the fourth
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", str(workers))
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    return workers


def main(argv: list[str] | None = None) -> int:
    """Run the bundle on the test set and write `submission.csv`; return the exit status."""
    parser = argparse.ArgumentParser(description="Answer the hidden test: the kernel as Kaggle runs it.")
    parser.add_argument("--input", type=Path, default=Path("/kaggle/input"), help="where data sets are mounted")
    parser.add_argument("--working", type=Path, default=Path("/kaggle/working"), help="where submission.csv goes")
    parser.add_argument("--budget", type=float, help="seconds that the run may take [8.5 hours]")
    args, _ = parser.parse_known_args(argv)
    try:
        run(args.input, args.working, args.budget)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


def run(source: Path, working: Path, budget: float | None) -> None:
    """Find the bundle below `source`, verify it, answer the hidden test and write `submission.csv`."""
    started = time.monotonic()
    workers = set_threads()
    log = functools.partial(print, flush=True)
    bundle, manifest = find_bundle(source)
    start = {name: manifest[name] for name in ("tree_sha256", "commit", "dirty", "models")}
    log(f"{START} " + json.dumps({"bundle": str(bundle), **start}))
    verify(bundle, manifest)
    competition = find_competition(source)
    sys.path.insert(0, str(bundle))
    provided = provide_modules(bundle, manifest)

    from kernel.ensemble import load_ensemble
    from kernel.predict import BUDGET_SECONDS, predict
    from kernel.submission import write_submission
    from kernel.table import read_ids

    ids = read_ids(competition / "test.csv")
    members = load_ensemble(bundle / "weights")
    log(f"recordings: {len(ids)}, networks: {len(members)}, loaded in {time.monotonic() - started:.1f} s")
    left = (budget or BUDGET_SECONDS) - (time.monotonic() - started)
    answers, report = predict(ids, competition / "test_eegs", members, workers=workers, budget=left, log=log)
    write_submission(working / "submission.csv", ids, answers)
    log(f"{END} " + json.dumps({**report.to_json(), "provided": provided, "tree_sha256": manifest["tree_sha256"]}))


if __name__ == "__main__":
    sys.exit(main())
