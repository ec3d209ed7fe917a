"""Runs `build.py` for a job that takes no time: a tiny checkout, built and rehearsed for real.

Everything is the real thing: the command line, the bundle's build, the rehearsal with the network cut, the publisher,
HTTP. Only the pushed file is a small one, and the weights are a few bytes. It is entered in the registry of jobs as any
other job is.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

PUSHED_FILE = '''"""Answers every recording with the same; keeps to the manners of every pushed file."""
import argparse
import csv
import json
import os
from pathlib import Path


def find(name):
    folders = (folder for folder, _, names in os.walk(args.input, followlinks=True) if name in names)
    return Path(next(folders), name)


parser = argparse.ArgumentParser()
parser.add_argument("--input", type=Path, default=Path("/kaggle/input"))
parser.add_argument("--working", type=Path, default=Path("/kaggle/working"))
args = parser.parse_args()
manifest = json.loads(find("manifest.json").read_text())
print("HMS-START " + json.dumps({"tree_sha256": manifest["tree_sha256"]}), flush=True)
with find("test.csv").open(newline="") as table:
    ids = [row["eeg_id"] for row in csv.DictReader(table)]
lines = ["eeg_id,seizure_vote,lpd_vote,gpd_vote,lrda_vote,grda_vote,other_vote"]
lines += [f"{eeg_id},0.5,0.1,0.1,0.1,0.1,0.1" for eeg_id in ids]
(args.working / "submission.csv").write_text("\\n".join([*lines, ""]))
end = {"rows": len(ids), "fallbacks": 0, "partial": 0, "reduced": 0, "ms_per_recording": 0, "peak_rss_mb": 0}
print("HMS-END " + json.dumps({**end, "tree_sha256": manifest["tree_sha256"]}), flush=True)
'''


def write_checkout(root: Path) -> None:
    """Write a checkout with the fewest files that a bundle can be built from, and a hidden test beside it."""
    for folder in ("kernel", "weights/b2", "hidden/test_eegs"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "kernel" / "main.py").write_text(PUSHED_FILE)
    (root / "weights" / "b2" / "config.json").write_text("{}")
    metadata = json.loads((ROOT / "kernel-metadata.json").read_text())
    (root / "kernel-metadata.json").write_text(json.dumps(metadata))
    (root / "wheels.txt").write_text("")
    (root / "hidden" / "test.csv").write_text("eeg_id\n11\n22\n33\n")


def enter_job(root: Path) -> None:
    """Let `inference` be the job of this checkout."""
    from dataset_builder.bundle import build_bundle
    from rehearsal.job import INFERENCE, JOBS

    def build(folder: Path, *, owner: str | None) -> dict[str, Any]:
        return build_bundle(folder, owner=owner, root=root, wheels=root / "wheels", requirements=root / "wheels.txt")

    JOBS["inference"] = replace(INFERENCE, metadata=root / "kernel-metadata.json", build=build)


def main(root: Path, argv: list[str]) -> int:
    """Run one command."""
    import build
    from tests.second_job import enter_second_job
    from tests.tiny_training import enter_training

    enter_job(root)
    enter_training(root)
    enter_second_job(root)
    return build.main(argv)


def serve(root: Path, argv: list[str], environment: dict[str, str], folder: str, out: str, err: str) -> None:
    """Run one command in this process, made for it, as if it had been started with this environment."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    # A shell's background job, which the tests may be, ignores Ctrl-C, and hands that on.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for path, stream in ((out, sys.stdout), (err, sys.stderr)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream.fileno())
    sys.exit(main(root, argv))
