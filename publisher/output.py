"""Brings home what a run left: the outputs of the pushed version, or the weights of a finished training.

Files come into a folder of their own first, where an interrupted download goes on, in the middle of a file too. They
take the place of what was brought before only when all of them are there and checked.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dataset_builder.metadata import hash_file
from kernel.main import START
from kernel.submission import read_submission
from kernel.table import read_ids
from publisher.journal import read_record
from publisher.kernel import Push, find_last
from publisher.run import describe_end, find_ended, find_marker, judge_run
from publisher.screen import Shown
from publisher.service.client import Kaggle
from publisher.service.faults import ServiceError, strip_controls
from publisher.target import Target

DOWNLOAD = ".download"
RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")


def bring_output(kaggle: Kaggle, target: Target) -> Shown:
    """Download and judge the outputs of the latest recorded run."""
    last, verdict = find_ended(kaggle, target, read_record(target.folder))
    target, version, leaves = last.target, last.version, last.target.job.leaves
    out, partial = target.folder / "output", target.folder / f"output-v{version}.partial"
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

    fetch_outputs(kaggle, last, partial, name_of)
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
    verdict = judge_run(kaggle, replace(last, tree=""))
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
        _fetch_weights(kaggle, last, folder, files, prefix=verdict.left.removesuffix(job.leaves))
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


def _read_names(end: dict[str, Any], last: Push) -> tuple[dict[str, str], str]:
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
    return [name for name in sorted(files) if not (folder / name).is_file() or hash_file(folder / name) != files[name]]


def _fetch_weights(kaggle: Kaggle, last: Push, folder: Path, files: dict[str, str], *, prefix: str) -> None:
    """Fetch the files that are not there yet; one that comes damaged is not kept."""
    for name in _find_lacking(folder, files):
        (folder / name).unlink(missing_ok=True)

    def name_of(told: str) -> str:
        name = told.removeprefix(prefix)
        return name if name in files else ""

    fetch_outputs(kaggle, last, folder, name_of)
    lacking = _find_lacking(folder, files)
    damaged = [name for name in lacking if (folder / name).is_file()]
    for name in damaged:
        (folder / name).unlink()
    if damaged:
        found = f"{', '.join(damaged)} came damaged: not with the sha256 in {last.target.job.leaves}"
        raise ValueError(f"{found}; run the same command again, which fetches it anew")
    if lacking:
        raise ValueError(f"{last}: Kaggle's list of what it left lacks {', '.join(lacking)}; try again later")


def read_end(kaggle: Kaggle, push: Push) -> dict[str, Any] | None:
    """Return the JSON in which a run says how far it got; None where it left nothing that can be gone on from."""
    leaves = push.target.job.leaves
    found = [
        (told.count("/"), url)
        for files, _ in kaggle.outputs(push.target.kernel_ref, push.version)
        for told, url in files
        if told.rpartition("/")[2] == leaves
    ]
    if not found:
        return None

    def read() -> bytes:
        answer = kaggle.http.get(min(found)[1], timeout=kaggle.pace.timeout)  # the outermost
        answer.raise_for_status()
        return answer.content

    try:
        said = json.loads(kaggle.call(f"reading {leaves}", read))
    except ValueError:
        return None
    return said if isinstance(said, dict) and isinstance(said.get("complete"), bool) else None


def fetch_outputs(kaggle: Kaggle, push: Push, folder: Path, name_of: Callable[[str], str]) -> None:
    """Fetch a run's files into a folder, a page at a time as the URLs do not live long; what is there is left alone.

    `name_of` takes a file's name as Kaggle lists it, and returns its name in the folder, or nothing to leave it out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tqdm(unit="file", disable=None, desc="downloading") as bar:
        for files, _ in kaggle.outputs(push.target.kernel_ref, push.version):
            bar.total = bar.n + len(files)
            for told, url in files:
                name = name_of(told)
                if name and not (folder / name).is_file():
                    _fetch_one(kaggle, name, url, folder / name)
                bar.update()


def _fetch_one(kaggle: Kaggle, name: str, url: str, path: Path) -> None:
    """Bring one file to `path`. What came of it before, in this command or an earlier one, is not fetched again."""
    doing = f"downloading {name}"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + DOWNLOAD)

    def once() -> None:
        there = partial.stat().st_size if partial.is_file() else 0
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={there}-"} if there else {})}
        with kaggle.http.get(url, stream=True, headers=headers, timeout=kaggle.pace.timeout) as answer:
            part = answer.status_code == 206
            fits = answer.headers.get("Content-Range", "").startswith(f"bytes {there}-")
            if answer.status_code == 416 or (part and not fits):
                partial.unlink()
                raise ServiceError(doing, "what came before does not fit", "Run the same command again")
            answer.raise_for_status()
            start, length = there if part else 0, answer.headers.get("Content-Length")
            total = start + int(length) if length else None
            bar = tqdm(
                total=total, initial=start, unit="B", unit_scale=True, disable=None, leave=False, desc=name[-40:]
            )
            with bar, partial.open("ab" if start else "wb") as file:
                for piece in answer.iter_content(1 << 20):  # raises where less comes than was announced
                    bar.update(file.write(piece))

    try:
        kaggle.call(doing, once)
    except ServiceError as error:
        error.todo = "Nothing was replaced; run the same command again: it goes on from here"
        raise
    partial.replace(path)


def is_safe(name: str, kernel_slug: str) -> bool:
    """Whether a name from outside stays inside the folder on every system, and is none that we write ourselves."""
    parts = name.split("/")
    return (
        all(part and part not in (".", "..") and not part.endswith((" ", ".")) for part in parts)
        and not any(RESERVED.fullmatch(part) or len(part.encode()) > 200 for part in parts)
        and not re.search(r'[\\:*?"<>|\x00-\x1f\x7f]', name)
        and len(name) <= 400
        and not name.casefold().endswith((DOWNLOAD, ".invalid"))
        and name.casefold() != f"{kernel_slug}.log"
    )
