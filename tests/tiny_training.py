"""A training that takes no time, for the tests of jobs that need several runs: nothing is learned, all else is real.

The pushed file is rehearsed in the sandbox; the loopback service plays its runs (`Trainer`), which go on from the
attached kernel's output as the real ones do.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dataset_builder.metadata import CODE_FORMAT, CODE_SLUG, describe_file, write_manifest
from kernel.main import END, START
from publisher.kernel import read_stamp
from rehearsal.job import JOBS, TRAINING, Job
from rehearsal.run import Findings, mount, run_kernel
from tests.kaggle_server import Kaggle, KernelVersion, as_log

FIRST, SECOND = "alice/hms-scalogram-training", "alice/hms-scalogram-training-2"
CODE = "alice/hms-scalogram-code"
ESTIMATE = "expected: about 20.0 GPU hours in 2 runs"
PUSHED_FILE = '''"""Learns nothing."""
import argparse
import json
import os
from pathlib import Path

ARGUMENTS = {}
parser = argparse.ArgumentParser()
parser.add_argument("--input", type=Path, default=Path("/kaggle/input"))
parser.add_argument("--working", type=Path, default=Path("/kaggle/working"))
args = parser.parse_args()
print("HMS-START {}", flush=True)
(args.working / "session.json").write_text(json.dumps(ARGUMENTS))
print('HMS-END {"epochs": 1, "of_epochs": 1}', flush=True)
'''


def write_training(root: Path) -> None:
    """Write the job's files."""
    folder = root / "training"
    folder.mkdir(parents=True)
    (folder / "main.py").write_text(PUSHED_FILE)
    (folder / "kernel-metadata.json").write_text(json.dumps(TRAINING.read_metadata()))
    (folder / "code.txt").write_text("first")


def enter_training(root: Path) -> None:
    """Let `training` be this job, if its files are there."""
    folder = root / "training"
    if not folder.is_dir():
        return

    def build(out: Path, *, owner: str | None) -> dict[str, Any]:
        out.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / "code.txt", out / "code.txt")
        files = [describe_file(out, "code.txt")]
        return write_manifest(out, CODE_FORMAT, files, owner, CODE_SLUG, commit="c0ffee")

    def rehearse(
        _: Path | None,
        out: Path,
        data_set: Path,
        *,
        dist: Path,
        code_file: Path,
        log: Callable[[str], None],
        quick: bool = False,
    ) -> Findings:
        mounts = {mount("dataset", CODE, "nested"): data_set}
        return Findings(["rehearsed"], run_kernel(code_file, mounts, out, log=log).report)

    def verify(out: Path) -> None:
        session = json.loads((out / "session.json").read_text())
        for name, sha256 in session["files"].items():
            if hashlib.sha256((out / name).read_bytes()).hexdigest() != sha256:
                raise ValueError(f"{out / name}: damaged")
        code = (folder / "code.txt").read_text()
        if session["code"] != code:
            raise ValueError(f"{out}: was trained with the code {session['code']!r}, and this is {code!r}")

    JOBS["training"] = Job(
        "training",
        folder / "kernel-metadata.json",
        CODE_SLUG,
        build,
        rehearse,
        leaves="session.json",
        options=TRAINING.options,
        goes_on=True,
        estimate=lambda arguments: f"{ESTIMATE} for {arguments.get('model', 'scalogram_b2')}",
        verify=verify,
    )


def read_request(version: KernelVersion) -> dict[str, str]:
    """Return what a pushed text is called with."""
    match = re.search(r"^ARGUMENTS = (.*)$", version.request["text"], re.MULTILINE)
    assert match
    return ast.literal_eval(match[1])


class Trainer:
    """Plays the runs: each does some epochs, on top of those in the attached output."""

    def __init__(self, server: Kaggle, *, epochs: int = 2, of: int = 4) -> None:
        self.server, self.epochs, self.of = server, epochs, of
        self.outputs: dict[str, bytes] = {}
        """More files that a run leaves."""
        self.ends: dict[int, dict[str, Any]] = {}
        server.run_outputs, server.run_log, server.run_polls = self.leave, self.log, 0

    def _before(self, version: KernelVersion) -> int:
        for ref in version.request.get("kernelDataSources", []):
            kept = self.server.kernels[ref][-1].outputs or {}
            session = json.loads(kept.get("session.json", b"{}"))
            if session.get("request") == read_request(version):
                return int(session["epochs"])
        return 0

    def leave(self, version: KernelVersion) -> dict[str, bytes]:
        """Return what a run that ended well leaves."""
        done = min(self._before(version) + self.epochs, self.of)
        stamp = read_stamp(version.request["text"]) or {}
        code = self.server.datasets[CODE].versions[-1].files["code.txt"].decode()
        request = read_request(version)
        files = {"fold_0.weights.h5": f"{done} epochs".encode() * 1000, "config.json": b"{}", **self.outputs}
        end = {"complete": done == self.of, "epochs": done, "of_epochs": self.of, "tree_sha256": stamp["tree_sha256"]}
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        self.ends[id(version)] = end
        model = {"model": "scalogram_b2", **request}
        session = {**end, "request": model if end["complete"] else request, "files": hashes, "code": code}
        return {**files, "not-needed.bin": b"0" * 1000, "session.json": json.dumps(session).encode()}

    def log(self, version: KernelVersion) -> str:
        """Return its log."""
        return as_log(f'{START} {{"commit": "c0ffee"}}\n{END} {json.dumps(self.ends[id(version)])}')
