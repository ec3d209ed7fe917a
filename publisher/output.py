"""Brings the outputs of the exact pushed version into `dist/output`, every file checked before it gets its name.

Called by `build.py output`. Files come into a folder of their own first, where an interrupted download goes on, and
replace the earlier outputs only when all of them are there.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import requests
from tqdm import tqdm

from dataset_builder.metadata import Target
from kernel.submission import read_submission
from kernel.table import read_ids
from publisher.client import Kaggle, open_session
from publisher.log import END, decode_log, find_marker
from publisher.pace import ServiceError
from publisher.push import recorded_target
from publisher.record import read_record
from publisher.refusal import explain, explain_response, strip_controls
from publisher.run import SUBMISSION, describe_end

UNCHECKED = ".unchecked"
RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")


def bring_output(kaggle: Kaggle, target: Target, dist: Path) -> tuple[dict[str, Any], list[str], int]:
    """Download and judge the outputs; return (for scripts, lines for people, exit status)."""
    record = read_record(dist)
    version = recorded_target(record, target)
    if not version:
        raise ValueError(f"nothing that was pushed as {target.kernel_ref} is recorded in {dist}: run `make push` first")
    run = kaggle.run(target.owner, target.kernel, version)
    if not run.ended:
        raise ValueError(
            f"the run of {target.kernel_ref} version {version} has not ended ({run.status}): `make status` follows it"
        )
    out, partial = dist / "output", dist / f"output-v{version}.partial"
    faults: list[str] = []
    log = _download(kaggle, target, version, partial, faults)
    (partial / f"{target.kernel}.log").write_text(decode_log(log), encoding="utf-8")
    end = find_marker(log, END)
    if run.status != "COMPLETE":
        faults.append(f"the run ended as {run.status}" + (f": {run.message}" if run.message else ""))
    elif end is None:
        faults.append("the log lacks the kernel's end marker: the script crashed on the way")
    elif end.get("tree_sha256") not in (None, record["dataset"]["tree_sha256"]):
        faults.append(f"the run used another bundle ({str(end['tree_sha256'])[:16]}) than the published one")
    rows = None
    unchecked = partial / f"{SUBMISSION}{UNCHECKED}"
    if unchecked.is_file():
        rows = _check_submission(unchecked, end, faults)
    else:
        faults.append(f"the run left no {SUBMISSION}")
    _replace(partial, out)
    names = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    lines = [f"{out}: {len(names)} files of {target.kernel_ref} version {version}", describe_end(end)]
    if rows is not None:
        lines.append(f"{out / SUBMISSION}: {rows} rows, valid by the kernel's rules")
    lines += [f"fault: {fault}" for fault in faults]
    answer = {"version": version, "folder": str(out), "files": names, "rows": rows, "end": end, "faults": faults}
    return answer, lines, 1 if faults else 0


def _download(kaggle: Kaggle, target: Target, version: int, folder: Path, faults: list[str]) -> str:
    """Fetch every file, a page at a time as the URLs do not live long; return the log."""
    folder.mkdir(parents=True, exist_ok=True)
    session = open_session(kaggle.pace.timeout)
    names: set[str] = set()
    log = ""
    with tqdm(unit="file", disable=None, desc="downloading") as bar:
        for page in kaggle.outputs(target.owner, target.kernel, version):
            log = log or page.log
            bar.total = len(names) + len(page.files)
            for name, url in page.files:
                bar.update()
                # Two names that differ in case alone are one file on some systems.
                if not is_safe(name, target.kernel) or name.casefold() in names:
                    shown = strip_controls(name)[:80]
                    faults.append(f"left out a file named {shown!r}: not a safe name for a file, or there twice")
                    continue
                names.add(name.casefold())
                path = folder / (name + (UNCHECKED if name == SUBMISSION else ""))
                if not path.is_file():
                    _fetch(kaggle, session, name, url, path)
    return log


def is_safe(name: str, kernel_slug: str) -> bool:
    """Whether a name from outside stays inside the folder on every system, and is none that we write ourselves."""
    parts = name.split("/")
    return (
        all(part and part not in (".", "..") and not part.endswith((" ", ".")) for part in parts)
        and not any(RESERVED.fullmatch(part) or len(part.encode()) > 200 for part in parts)
        and not re.search(r'[\\:*?"<>|\x00-\x1f\x7f]', name)
        and len(name) <= 400
        and not name.casefold().endswith((".download", UNCHECKED, ".invalid"))
        and name.casefold() != f"{kernel_slug}.log"
    )


def _fetch(kaggle: Kaggle, session: requests.Session, name: str, url: str, path: Path) -> None:
    doing = f"downloading {name}"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".download")

    def once() -> None:
        try:
            with session.get(url, stream=True, headers={"Accept-Encoding": "identity"}) as answer:
                if answer.status_code != 200:
                    raise explain_response(doing, answer, "", kaggle.redact)
                size = 0
                with partial.open("wb") as file:
                    for piece in answer.iter_content(1 << 20):
                        size += file.write(piece)
        except requests.RequestException as error:
            raise explain(doing, error, "", kaggle.redact) from None
        wanted = answer.headers.get("Content-Length")
        if wanted is not None and "Content-Encoding" not in answer.headers and int(wanted) != size:
            raise ServiceError(
                doing, f"{size} of {wanted} bytes came", "Run the same command again: it goes on from here"
            )

    try:
        kaggle.pace.retrying(lambda error: error.transient, kaggle.say)(once)
    except ServiceError as error:
        raise ServiceError(
            error.doing,
            error.said.replace("Kaggle answered", "the store answered"),
            "Nothing was replaced; run the same command again: it goes on from here",
            status=error.status,
        ) from None
    partial.replace(path)


def _check_submission(path: Path, end: dict[str, Any] | None, faults: list[str]) -> int | None:
    """Hold the submission against the kernel's own rules; only a valid one gets its name."""
    try:
        ids = read_ids(path)
        read_submission(path, ids)
        if end is not None and end.get("rows") not in (None, len(ids)):
            raise ValueError(f"{SUBMISSION}: {len(ids)} rows, and the kernel wrote {end['rows']}")
    except (ValueError, OSError) as error:
        path.replace(path.with_name(f"{SUBMISSION}.invalid"))
        faults.append(str(error).replace(str(path), SUBMISSION) + f"; kept as {SUBMISSION}.invalid")
        return None
    path.replace(path.with_name(SUBMISSION))
    return len(ids)


def _replace(new: Path, out: Path) -> None:
    old = out.with_name(out.name + ".old")
    if old.exists():
        shutil.rmtree(old)
    if out.exists():
        out.rename(old)
    new.rename(out)
    if old.exists():
        shutil.rmtree(old)
