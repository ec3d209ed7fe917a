"""The rehearsal of the report's job: the pushed file on a small training set, and what it leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rehearsal.run import Findings, run_kernel
from rehearsal.training import mount_training

PAGE = "report.html"


def rehearse(
    source: Path | None,
    out: Path,
    data_set: Path,
    *,
    dist: Path,
    code_file: Path,
    layout: str = "nested",
    quick: bool = False,
    **options: Any,
) -> Findings:
    """Run the report's pushed file on a training set, or a small simulated one; it must leave a page."""
    mounts = mount_training(source, data_set, dist, layout)
    page = out / PAGE
    page.unlink(missing_ok=True)
    run = run_kernel(code_file, mounts, out, **options)
    if not page.is_file() or b"</html>" not in page.read_bytes()[-200:]:
        raise ValueError(f"{page}: the kernel ended well and left no whole page there; its log is {out / 'kernel.log'}")
    data = {"files": run.report["files"], "seconds": run.report["seconds"], "network": run.network, "page": str(page)}
    return Findings(
        [f"{page}: {page.stat().st_size / 1e6:.1f} MB, {data['files']} files in {data['seconds']:.0f} s"], data
    )
