"""The rehearsal of the report's job: the pushed file on a small training set, and what it leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataset_builder.metadata import CODE_SLUG
from kernel.constants import COMPETITION
from rehearsal.run import mount, run_kernel
from rehearsal.training import training_set

PAGE = "report.html"


@dataclass(frozen=True)
class ReportRehearsal:
    """What a rehearsal of the report found."""

    page: Path
    network: str
    """How the network was cut."""
    report: dict[str, Any]
    """The kernel's end marker."""

    def lines(self) -> list[str]:
        """Return the findings for people."""
        size = self.page.stat().st_size / 1e6
        return [f"{self.page}: {size:.1f} MB, {self.report['files']} files in {self.report['seconds']:.0f} s"]

    def to_json(self) -> dict[str, Any]:
        """Return the machine-readable last line of `build.py rehearse`."""
        return {
            "files": self.report["files"],
            "seconds": self.report["seconds"],
            "network": self.network,
            "page": str(self.page),
        }


def rehearse(
    source: Path | None,
    out: Path,
    code: Path,
    *,
    dist: Path,
    code_file: Path,
    log: Callable[[str], None] = print,
    layout: str = "nested",
    isolation: str = "auto",
    recordings: int = 16,
    seed: int = 1,
    budget: float | None = None,
) -> ReportRehearsal:
    """Run the report's pushed file on a small training set with the network cut; it must leave a page.

    `source` is a training set in the competition's layout, None for a simulated one of `recordings`; `code` the built
    data set; `budget` is not used, the number of recordings read bounds the time. Errors are those of `run_kernel`.
    """
    source = source or training_set(dist, recordings=recordings, seed=seed)
    if out.is_dir():
        (out / PAGE).unlink(missing_ok=True)
    mounts = {
        mount("dataset", f"owner/{CODE_SLUG}", layout): code,
        mount("competition", COMPETITION, layout): source,
    }
    run = run_kernel(code_file, mounts, out, isolation=isolation, log=log)
    page = out / PAGE
    if not page.is_file() or b"</html>" not in page.read_bytes()[-200:]:
        raise ValueError(f"{page}: the kernel ended well and left no whole page there; its log is {out / 'kernel.log'}")
    return ReportRehearsal(page, run.network, run.report)
