"""A second job for the tests: on a GPU, with code of its own, a notebook's output and a model attached, and an option.

It is what another kernel would need: a pushed file, its metadata beside it, a data set, a rehearsal, one entry.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dataset_builder.metadata import CODE_FORMAT, describe_file, write_manifest
from rehearsal.job import JOBS, Job
from rehearsal.run import Findings, mount, run_kernel

MODEL = "keras/efficientnetv2/keras/b2/1"
METADATA = {
    "id": "OWNER/hms-second-job",
    "title": "HMS second job",
    "code_file": "main.py",
    "language": "python",
    "kernel_type": "script",
    "is_private": True,
    "enable_gpu": True,
    "machine_shape": "NvidiaTeslaT4",
    "enable_internet": False,
    "dataset_sources": ["OWNER/hms-second-code"],
    "competition_sources": ["hms-harmful-brain-activity-classification"],
    "kernel_sources": ["OWNER/first-run"],
    "model_sources": [MODEL],
}
PUSHED_FILE = '''"""Writes what it was given into one file."""
import argparse
import json
import os
from pathlib import Path


def find(name):
    folders = (folder for folder, _, names in os.walk(args.input, followlinks=True) if name in names)
    return Path(next(folders), name)


ARGUMENTS = {}
parser = argparse.ArgumentParser()
parser.add_argument("--input", type=Path, default=Path("/kaggle/input"))
parser.add_argument("--working", type=Path, default=Path("/kaggle/working"))
args = parser.parse_args()
print("HMS-START {}", flush=True)
names = ("code.txt", "checkpoint.txt", "model.txt")
found = {name: find(name).read_text() for name in names}
(args.working / "weights.txt").write_text(json.dumps({**found, **ARGUMENTS}))
tree = json.loads(find("manifest.json").read_text())["tree_sha256"]
print("HMS-END " + json.dumps({"seconds": 1, "tree_sha256": tree}), flush=True)
'''


def write_second_job(root: Path) -> None:
    """Write the job's files."""
    folder = root / "second"
    for name in ("", "first_run", "model"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "main.py").write_text(PUSHED_FILE)
    (folder / "kernel-metadata.json").write_text(json.dumps(METADATA))
    (folder / "first_run" / "checkpoint.txt").write_text("epoch 3")
    (folder / "model" / "model.txt").write_text("imagenet")


def enter_second_job(root: Path) -> None:
    """Enter the job in the registry, if its files are there."""
    folder = root / "second"
    if not folder.is_dir():
        return

    def build(out: Path, *, owner: str | None) -> dict[str, Any]:
        out.mkdir(parents=True, exist_ok=True)
        (out / "code.txt").write_text("code of the second job")
        return write_manifest(out, CODE_FORMAT, [describe_file(out, "code.txt")], owner, "hms-second-code")

    def rehearse(
        _: Path | None,
        out: Path,
        data_set: Path,
        *,
        dist: Path,
        code_file: Path,
        log: Callable[[str], None],
        layout: str = "nested",
        isolation: str = "auto",
        quick: bool = False,
    ) -> Findings:
        mounts = {
            mount("dataset", "owner/hms-second-code", layout): data_set,
            mount("notebook", "owner/first-run", layout): folder / "first_run",
            mount("model", MODEL, layout): folder / "model",
        }
        run = run_kernel(code_file, mounts, out, isolation=isolation, log=log)
        weights = json.loads((out / "weights.txt").read_text())
        return Findings([f"weights: {weights}"], {"seconds": run.seconds, **weights})

    options = {"model": "which network"}
    JOBS["second"] = Job(
        "second",
        folder / "kernel-metadata.json",
        "hms-second-code",
        build,
        rehearse,
        leaves="weights.txt",
        options=options,
    )
