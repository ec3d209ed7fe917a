"""Brings the outputs of the exact pushed version into `dist/output`, every file checked before it gets its name.

Files come into a folder of their own first, where an interrupted download goes on, and replace the earlier outputs only
when all of them are there.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tqdm import tqdm

from kernel.submission import read_submission
from kernel.table import read_ids
from publisher.download import UNCHECKED, fetch, is_safe
from publisher.journal import read_record, recorded_version
from publisher.run import describe_end, judge_run
from publisher.service.client import Kaggle
from publisher.service.faults import strip_controls
from publisher.service.sign_in import open_session
from publisher.target import Target


def bring_output(kaggle: Kaggle, target: Target, dist: Path) -> tuple[dict[str, Any], list[str], int]:
    """Download and judge the outputs; return (for scripts, lines for people, exit status)."""
    folder, leaves = target.job.folder(dist), target.job.leaves
    record = read_record(folder)
    version = recorded_version(record, target)
    if not version:
        raise ValueError(
            f"nothing that was pushed as {target.kernel_ref} is recorded in {folder}: run `make push` first"
        )
    verdict = judge_run(kaggle, target, version, record["dataset"]["tree_sha256"])
    if not verdict.ended:
        raise ValueError(
            f"the run of {target.kernel_ref} version {version} has not ended ({verdict.status}): `make status` shows it"
        )
    out, partial = folder / "output", folder / f"output-v{version}.partial"
    faults = [verdict.fault] if verdict.fault else []
    _download(kaggle, target, version, partial, verdict.left, faults)
    (partial / f"{target.kernel}.log").write_text(verdict.log, encoding="utf-8")
    rows = None
    unchecked = partial / f"{leaves}{UNCHECKED}"
    if not unchecked.is_file():
        faults.append(f"the run left no {leaves}")
    elif target.job.submitted:
        rows = _check_submission(unchecked, verdict.end, faults)
    else:
        unchecked.replace(partial / leaves)
    _replace(partial, out)
    names = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    lines = [f"{out}: {len(names)} files of {target.kernel_ref} version {version}", describe_end(verdict.end)]
    if rows is not None:
        lines.append(f"{out / leaves}: {rows} rows, valid by the kernel's rules")
    lines += [*(f"note: {note}" for note in verdict.notes), *(f"fault: {fault}" for fault in faults)]
    answer = {"version": version, "folder": str(out), "files": names, "rows": rows, "end": verdict.end}
    return {**answer, "faults": faults}, lines, 1 if faults else 0


def _download(kaggle: Kaggle, target: Target, version: int, folder: Path, left: str, faults: list[str]) -> None:
    """Fetch every file, a page at a time as the URLs do not live long."""
    folder.mkdir(parents=True, exist_ok=True)
    session = open_session(kaggle.pace.timeout)
    names: set[str] = set()
    leaves = target.job.leaves
    with tqdm(unit="file", disable=None, desc="downloading") as bar:
        for page in kaggle.outputs(target.owner, target.kernel, version):
            bar.total = len(names) + len(page.files)
            for told, url in page.files:
                bar.update()
                name = leaves if told == left else told
                # Two names that differ in case alone are one file on some systems.
                if not is_safe(name, target.kernel) or name.casefold() in names:
                    shown = strip_controls(name)[:80]
                    faults.append(f"left out a file named {shown!r}: not a safe name for a file, or there twice")
                    continue
                names.add(name.casefold())
                path = folder / (name + (UNCHECKED if name == leaves else ""))
                if not path.is_file():
                    fetch(kaggle, session, name, url, path)


def _check_submission(path: Path, end: dict[str, Any] | None, faults: list[str]) -> int | None:
    """Hold the submission against the kernel's own rules; only a valid one gets its name."""
    try:
        ids = read_ids(path)
        read_submission(path, ids)
        if end is not None and end.get("rows") not in (None, len(ids)):
            raise ValueError(f"{path}: {len(ids)} rows, and the kernel wrote {end['rows']}")
    except (ValueError, OSError) as error:
        name = path.name.removesuffix(UNCHECKED)
        path.replace(path.with_name(f"{name}.invalid"))
        faults.append(str(error).replace(str(path), name) + f"; kept as {name}.invalid")
        return None
    path.replace(path.with_suffix(""))
    return len(ids)


def _replace(new: Path, out: Path) -> None:
    old = out.with_name(out.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    new.rename(out)
    shutil.rmtree(old, ignore_errors=True)
