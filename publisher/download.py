"""Downloads what a run left: each file goes on where it stopped, and has its name once it is whole."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from publisher.service.client import Kaggle
from publisher.service.faults import ServiceError
from publisher.target import Target

DOWNLOAD = ".download"
RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")


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


def read_output(kaggle: Kaggle, target: Target, version: int, name: str) -> bytes | None:
    """Return the content of one small file that a run left, in whatever folder Kaggle shows it; None without one."""
    found = [
        (told.count("/"), url)
        for files, _ in kaggle.outputs(target.kernel_ref, version)
        for told, url in files
        if told.rpartition("/")[2] == name
    ]
    if not found:
        return None

    def once() -> bytes:
        answer = kaggle.http.get(min(found)[1], timeout=kaggle.pace.timeout)
        answer.raise_for_status()
        return answer.content

    return kaggle.call(f"reading {name}", once)


def fetch_outputs(kaggle: Kaggle, target: Target, version: int, folder: Path, name_of: Callable[[str], str]) -> None:
    """Fetch a run's files into a folder, a page at a time as the URLs do not live long; what is there is left alone.

    `name_of` takes a file's name as Kaggle lists it, and returns its name in the folder, or nothing to leave it out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tqdm(unit="file", disable=None, desc="downloading") as bar:
        for files, _ in kaggle.outputs(target.kernel_ref, version):
            bar.total = bar.n + len(files)
            for told, url in files:
                name = name_of(told)
                if name and not (folder / name).is_file():
                    _fetch(kaggle, name, url, folder / name)
                bar.update()


def _fetch(kaggle: Kaggle, name: str, url: str, path: Path) -> None:
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
