"""The real thing from end to end: this checkout's bundle, its rehearsal with the network cut, and the push of both."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from kernel.main import find_bundle, verify
from tests.publishing import DATASET, KERNEL, open_desk

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
@pytest.mark.skipif(not list(ROOT.glob("weights/*/fold_*.weights.h5")), reason="this checkout has no weights")
def test_what_is_pushed_is_what_was_rehearsed_and_what_the_kernel_accepts(tmp_path: Path) -> None:
    with open_desk(tmp_path) as desk:
        command = [sys.executable, str(ROOT / "build.py"), "push", "--dist", str(desk.dist), "--interval", "0.1"]
        result = subprocess.run(command, env=desk.whole_environment(), cwd=ROOT, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr
        assert "HMS-END" in result.stdout
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        again = subprocess.run(command, env=desk.whole_environment(), cwd=ROOT, capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert again.returncode == 0, again.stdout + again.stderr
        assert "HMS-START" not in again.stdout, "an unchanged push rehearsed again"
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        assert used < 3, f"an unchanged push took {used:.1f} s of processor time"
        mount = tmp_path / "input" / "hms-scalogram-bundle"
        for name, content in desk.server.datasets[DATASET].versions[0].files.items():
            (mount / name).parent.mkdir(parents=True, exist_ok=True)
            (mount / name).write_bytes(content)
        folder, manifest = find_bundle(tmp_path / "input")
        assert folder == mount
        verify(folder, manifest)
        assert manifest["tree_sha256"] == desk.record()["dataset"]["tree_sha256"]
        pushed = desk.server.kernels[KERNEL][0].request["text"]
        assert pushed == (desk.dist / "kernel" / "main.py").read_text()
        assert json.loads((desk.dist / "kernel" / "kernel-metadata.json").read_text())["enable_internet"] is False
