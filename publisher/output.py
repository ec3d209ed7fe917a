"""Brings home what a run left: the outputs of the pushed version, or the weights of a finished training.

Files come into a folder of their own first, where an interrupted download goes on, in the middle of a file too. They
take the place of what was brought before only when all of them are there and checked.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from dataset_builder.metadata import hash_file
from kernel.main import START
from kernel.submission import read_submission
from kernel.table import read_ids
from publisher.download import fetch_outputs, is_safe
from publisher.journal import read_record
from publisher.run import describe_end, find_marker, judge_run
from publisher.screen import Shown
from publisher.service.client import Kaggle
from publisher.service.faults import strip_controls
from publisher.target import Target
from publisher.turns import Turn, find_ended, find_last, read_end


def bring_output(kaggle: Kaggle, target: Target) -> Shown:
    """Download and judge the outputs of the latest recorded run."""
    target, _, version, verdict = find_ended(kaggle, target)
    folder, leaves = target.folder, target.job.leaves
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


def pull_weights(kaggle: Kaggle, target: Target) -> Shown:
    """Download into `dist/trained/MODEL` what a finished training left, verify it, and keep what lay there.

    Only the files that the run's own record names are fetched, each known by its hash.
    """
    from training.shipping import name_copy

    job, push = target.job, f"`make push{target.job.make_option}`"
    last = find_last(kaggle, target, read_record(target.folder))
    if last is None:
        raise ValueError(f"nothing of {target.kernel_ref} is recorded or found at Kaggle: run {push} first")
    verdict = judge_run(kaggle, last.target, last.version)
    if not verdict.ended and verdict.run.known:
        raise ValueError(f"{last} has not ended ({verdict.run.status}): `make status{job.make_option}` follows it")
    end = None if verdict.fault else read_end(kaggle, last)
    if end is None:
        why = verdict.fault or f"it left no usable {job.leaves}"
        raise ValueError(f"{last} has no weights to pull: {why}. {push} goes on from what there was before it")
    if not end["complete"]:
        raise ValueError(f"{last} ended after {end.get('epochs')} of {end.get('of_epochs')} epochs: {push} goes on")
    files, model = _read_names(end, last)
    out, kept = target.dist / "trained" / model, None
    pulled = not _find_lacking(out, files)
    folder = out if pulled else target.folder / f"{last.target.kernel}-v{last.version}.partial"
    if pulled:
        kaggle.say(f"{out}: was pulled before")
    else:
        _fetch(kaggle, last, folder, files, prefix=verdict.left.removesuffix(job.leaves))
        (folder / job.leaves).write_text(json.dumps(end, indent=1) + "\n", encoding="utf-8")
    try:
        job.verify(folder)
    except ValueError as error:
        commit = (find_marker(verdict.log, START) or {}).get("commit")
        pushed = f"; it was pushed from commit {commit}" if commit else ""
        raise ValueError(f"{error}{pushed}. Nothing was replaced") from None
    if not pulled:
        if out.exists():
            kept = name_copy(target.dist / "replaced") / model
            kept.parent.mkdir(parents=True, exist_ok=True)
            out.rename(kept)
        out.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(out)
    lines = [f"{out}: {len(files)} files of {last}, verified", describe_end(verdict.end)]
    lines += [f"what was there is in {kept}"] if kept else []
    lines += [f"note: {note}" for note in verdict.notes]
    return {"folder": str(out), "files": sorted(files), "version": last.version, "end": verdict.end}, lines, 0


def _read_names(end: dict[str, Any], last: Turn) -> tuple[dict[str, str], str]:
    """Return the files that a run's record names, with their hashes, and the model's name."""
    files: dict[str, str] = end["files"] if isinstance(end.get("files"), dict) else {"": ""}
    model = Path(str((end.get("request") or {}).get("model", ""))).stem
    wrong = next((name for name in (*files, model) if not is_safe(str(name), last.target.kernel)), None)
    if wrong is not None:
        shown = strip_controls(str(wrong))[:80]
        raise ValueError(f"{last}: its {last.target.job.leaves} names {shown!r}, which is no safe name for a file")
    return {str(name): str(sha256) for name, sha256 in files.items()}, model


def _find_lacking(folder: Path, files: dict[str, str]) -> list[str]:
    """Return the files that are not in a folder with their hash."""
    return [
        name
        for name, sha256 in sorted(files.items())
        if not (folder / name).is_file() or hash_file(folder / name) != sha256
    ]


def _fetch(kaggle: Kaggle, last: Turn, folder: Path, files: dict[str, str], *, prefix: str) -> None:
    """Fetch the files that are not there yet; one that comes damaged is not kept."""
    for name in _find_lacking(folder, files):
        (folder / name).unlink(missing_ok=True)

    def name_of(told: str) -> str:
        name = told.removeprefix(prefix)
        return name if name in files else ""

    fetch_outputs(kaggle, last.target, last.version, folder, name_of)
    lacking = _find_lacking(folder, files)
    damaged = [name for name in lacking if (folder / name).is_file()]
    for name in damaged:
        (folder / name).unlink()
    if damaged:
        raise ValueError(
            f"{', '.join(damaged)} came damaged: not with the sha256 in {last.target.job.leaves}; run the same command "
            "again, which fetches it anew"
        )
    if lacking:
        raise ValueError(f"{last}: Kaggle's list of what it left lacks {', '.join(lacking)}; try again later")
