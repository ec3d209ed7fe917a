"""Brings the weights of a finished training into `dist/trained/MODEL`, verified; what lay there is kept.

Only the files that the run's own record names are fetched, each known by its hash, so that an interrupted pull goes on
where it stopped, in the middle of a file too.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tqdm import tqdm

from kernel.main import START
from publisher.download import fetch, is_safe
from publisher.journal import read_record
from publisher.run import describe_end, find_marker, judge_run
from publisher.service.client import Kaggle
from publisher.service.faults import strip_controls
from publisher.service.sign_in import open_session
from publisher.target import Target
from publisher.turns import Turn, find_last, read_end
from publisher.upload import hash_file


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
    out = dist / "trained" / model
    if all(_is_whole(out / name, sha256) for name, sha256 in files.items()):
        kaggle.say(f"{out}: was pulled before")
        _verify(job.verify, out, verdict.log)
        kept = None
    else:
        partial = job.folder(dist) / f"{last.target.kernel}-v{last.version}.partial"
        _download(kaggle, last, partial, files, prefix=verdict.left.removesuffix(job.leaves))
        (partial / job.leaves).write_text(json.dumps(end, indent=1) + "\n", encoding="utf-8")
        _verify(job.verify, partial, verdict.log)
        kept = _put(partial, out, dist / "replaced")
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


def _download(kaggle: Kaggle, last: Turn, folder: Path, files: dict[str, str], *, prefix: str) -> None:
    """Fetch the files that are not there yet, a page at a time as the URLs do not live long."""
    folder.mkdir(parents=True, exist_ok=True)
    left = {name: sha256 for name, sha256 in files.items() if not _is_whole(folder / name, sha256)}
    session, target = open_session(kaggle.pace.timeout), last.target
    with tqdm(total=len(files), initial=len(files) - len(left), unit="file", disable=None, desc="downloading") as bar:
        for page in kaggle.outputs(target.owner, target.kernel, last.version):
            for told, url in page.files:
                name = told.removeprefix(prefix)
                if name not in left:
                    continue
                path, sha256 = folder / name, left.pop(name)
                fetch(kaggle, session, name, url, path)
                bar.update()
                if not _is_whole(path, sha256):
                    path.unlink()
                    raise ValueError(
                        f"{name} came damaged: its sha256 is not the one in {target.job.leaves}; run the same command "
                        "again, which fetches it anew"
                    )
    if left:
        raise ValueError(f"{last}: Kaggle's list of what it left lacks {', '.join(sorted(left))}; try again later")


def _is_whole(path: Path, sha256: str) -> bool:
    return path.is_file() and hash_file(path) == sha256


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
