"""Brings the outputs of the exact pushed version into `dist/output`, and judges the submission by the kernel's rules.

Files come into a folder of their own first, where an interrupted download goes on, and replace the earlier outputs only
when all of them are there.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from kernel.submission import read_submission
from kernel.table import read_ids
from publisher.download import fetch_outputs, is_safe
from publisher.journal import read_record
from publisher.run import describe_end, judge_recorded_run
from publisher.service.client import Kaggle
from publisher.service.faults import strip_controls
from publisher.target import Target
from publisher.turns import follow


def bring_output(kaggle: Kaggle, target: Target, dist: Path) -> tuple[dict[str, Any], list[str], int]:
    """Download and judge the outputs; return (for scripts, lines for people, exit status)."""
    folder, leaves = target.job.folder(dist), target.job.leaves
    target = follow(kaggle, target, read_record(folder))
    _, version, verdict = judge_recorded_run(kaggle, target, folder)
    out, partial = folder / "output", folder / f"output-v{version}.partial"
    faults = [verdict.fault] if verdict.fault else []
    names: set[str] = set()

    def name_of(told: str) -> str:
        name = leaves if told == verdict.left else told
        # Two names that differ in case alone are one file on some systems.
        if is_safe(name, target.kernel) and name.casefold() not in names:
            names.add(name.casefold())
            return name
        shown = strip_controls(name)[:80]
        faults.append(f"left out a file named {shown!r}: not a safe name for a file, or there twice")
        return ""

    fetch_outputs(kaggle, target, version, partial, name_of)
    (partial / f"{target.kernel}.log").write_text(verdict.log, encoding="utf-8")
    rows = None
    if not (partial / leaves).is_file():
        faults.append(f"the run left no {leaves}")
    elif target.job.submitted:
        rows = _check_submission(partial / leaves, verdict.end, faults)
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    lines = [f"{out}: {len(files)} files of {target.kernel_ref} version {version}", describe_end(verdict.end)]
    if rows is not None:
        lines.append(f"{out / leaves}: {rows} rows, valid by the kernel's rules")
    lines += [*(f"note: {note}" for note in verdict.notes), *(f"fault: {fault}" for fault in faults)]
    answer = {"version": version, "folder": str(out), "files": files, "rows": rows, "end": verdict.end}
    return {**answer, "faults": faults}, lines, 1 if faults else 0


def _check_submission(path: Path, end: dict[str, Any] | None, faults: list[str]) -> int | None:
    """Hold the submission against the kernel's own rules, and rename one that breaks them."""
    try:
        ids = read_ids(path)
        read_submission(path, ids)
        if end is not None and end.get("rows") not in (None, len(ids)):
            raise ValueError(f"{path}: {len(ids)} rows, and the kernel wrote {end['rows']}")
    except (ValueError, OSError) as error:
        path.replace(path.with_name(f"{path.name}.invalid"))
        faults.append(str(error).replace(str(path), path.name) + f"; kept as {path.name}.invalid")
        return None
    return len(ids)
