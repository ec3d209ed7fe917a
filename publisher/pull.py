"""Brings the weights of a finished training into `dist/trained/MODEL`, verified; what lay there is kept.

Only the files that the run's own record names are fetched, each known by its hash, so that an interrupted pull goes on
where it stopped, in the middle of a file too.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dataset_builder.metadata import hash_file
from kernel.main import START
from publisher.download import fetch_outputs, is_safe
from publisher.journal import read_record
from publisher.run import describe_end, find_marker, judge_run
from publisher.service.client import Kaggle
from publisher.service.faults import strip_controls
from publisher.target import Target
from publisher.turns import Turn, find_last, read_end


def pull_weights(kaggle: Kaggle, target: Target, dist: Path) -> tuple[dict[str, Any], list[str], int]:
    """Download and verify what a finished training left; return (for scripts, lines for people, exit status)."""
    job, push = target.job, f"`make push{target.job.make_option}`"
    last = find_last(kaggle, target, read_record(job.folder(dist)))
    if last is None:
        raise ValueError(f"nothing of {target.kernel_ref} is recorded or found at Kaggle: run {push} first")
    verdict = judge_run(kaggle, last.target, last.version)
    if not verdict.ended and verdict.known:
        raise ValueError(f"{last} has not ended ({verdict.status}): `make status{job.make_option}` follows it")
    end = None if verdict.fault else read_end(kaggle, last)
    if end is None:
        why = verdict.fault or f"it left no usable {job.leaves}"
        raise ValueError(f"{last} has no weights to pull: {why}. {push} goes on from what there was before it")
    if not end["complete"]:
        raise ValueError(f"{last} ended after {end.get('epochs')} of {end.get('of_epochs')} epochs: {push} goes on")
    files, model = _read_names(end, last)
    out, kept = dist / "trained" / model, None
    if _find_lacking(out, files):
        partial = job.folder(dist) / f"{last.target.kernel}-v{last.version}.partial"
        _fetch(kaggle, last, partial, files, prefix=verdict.left.removesuffix(job.leaves))
        (partial / job.leaves).write_text(json.dumps(end, indent=1) + "\n", encoding="utf-8")
        _verify(job.verify, partial, verdict.log)
        kept = _put(partial, out, dist / "replaced")
    else:
        kaggle.say(f"{out}: was pulled before")
        _verify(job.verify, out, verdict.log)
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


def _verify(verify: Any, folder: Path, log: str) -> None:
    try:
        verify(folder)
    except ValueError as error:
        commit = (find_marker(log, START) or {}).get("commit")
        pushed = f"; it was pushed from commit {commit}" if commit else ""
        raise ValueError(f"{error}{pushed}. Nothing was replaced") from None


def _put(new: Path, out: Path, replaced: Path) -> Path | None:
    """Give a folder its name; return where the one that had it is kept."""
    from training.shipping import name_copy

    kept = None
    if out.exists():
        kept = name_copy(replaced) / out.name
        kept.parent.mkdir(parents=True, exist_ok=True)
        out.rename(kept)
    out.parent.mkdir(parents=True, exist_ok=True)
    new.rename(out)
    return kept
