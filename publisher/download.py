"""Downloads what a run left: each file goes on where it stopped, and has its name once it is whole."""

from __future__ import annotations

import re
from pathlib import Path

import requests
from tqdm import tqdm

from publisher.service.client import Kaggle
from publisher.service.faults import ServiceError, explain, explain_response
from publisher.service.sign_in import open_session
from publisher.target import Target

UNCHECKED, DOWNLOAD = ".unchecked", ".download"
RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")


def is_safe(name: str, kernel_slug: str) -> bool:
    """Whether a name from outside stays inside the folder on every system, and is none that we write ourselves."""
    parts = name.split("/")
    return (
        all(part and part not in (".", "..") and not part.endswith((" ", ".")) for part in parts)
        and not any(RESERVED.fullmatch(part) or len(part.encode()) > 200 for part in parts)
        and not re.search(r'[\\:*?"<>|\x00-\x1f\x7f]', name)
        and len(name) <= 400
        and not name.casefold().endswith((DOWNLOAD, UNCHECKED, ".invalid"))
        and name.casefold() != f"{kernel_slug}.log"
    )


def read_output(kaggle: Kaggle, target: Target, version: int, name: str) -> bytes | None:
    """Return the content of one small file that a run left, in whatever folder Kaggle shows it; None without one."""
    found = [
        (told, url)
        for page in kaggle.outputs(target.owner, target.kernel, version)
        for told, url in page.files
        if told.rpartition("/")[2] == name
    ]
    if not found:
        return None
    url = min(found, key=lambda item: item[0].count("/"))[1]
    doing = f"reading {name}"

    def once() -> bytes:
        try:
            answer = open_session(kaggle.pace.timeout).get(url)
        except requests.RequestException as error:
            raise explain(doing, error, "", kaggle.redact) from None
        if answer.status_code != 200:
            raise explain_response(doing, answer, "", kaggle.redact)
        return answer.content

    return kaggle.pace.retrying(lambda error: error.transient, kaggle.say)(once)


def fetch(kaggle: Kaggle, session: requests.Session, name: str, url: str, path: Path) -> None:
    """Bring one file to `path`. What came of it before, in this command or an earlier one, is not fetched again."""
    doing = f"downloading {name}"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + DOWNLOAD)

    def once() -> None:
        there = partial.stat().st_size if partial.is_file() else 0
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={there}-"} if there else {})}
        try:
            with session.get(url, stream=True, headers=headers) as answer:
                goes_on = answer.status_code == 206 and _begins_at(answer, there)
                if there and answer.status_code in (206, 416) and not goes_on:
                    partial.unlink()
                    raise ServiceError(doing, "what came before does not fit", "Run the same command again")
                if answer.status_code != 200 and not goes_on:
                    raise explain_response(doing, answer, "", kaggle.redact)
                _write(answer, partial, name, there if goes_on else 0)
        except requests.RequestException as error:
            raise explain(doing, error, "", kaggle.redact) from None
        wanted, size = _whole_size(answer), partial.stat().st_size
        if wanted is not None and wanted != size:
            if size > wanted:
                partial.unlink()
            raise ServiceError(doing, f"{size} of {wanted} bytes came", "Run the same command again: it goes on")

    try:
        kaggle.pace.retrying(lambda error: error.transient, kaggle.say)(once)
    except ServiceError as error:
        said = error.said.replace("Kaggle answered", "the store answered")
        todo = "Nothing was replaced; run the same command again: it goes on from here"
        raise ServiceError(doing, said, todo, status=error.status) from None
    partial.replace(path)


def _begins_at(answer: requests.Response, there: int) -> bool:
    """Whether a part of a file begins where what we have ends."""
    plain = "Content-Encoding" not in answer.headers
    return plain and answer.headers.get("Content-Range", "").startswith(f"bytes {there}-")


def _write(answer: requests.Response, path: Path, name: str, start: int) -> None:
    length = answer.headers.get("Content-Length")
    total = start + int(length) if length else None
    bar = tqdm(total=total, initial=start, unit="B", unit_scale=True, disable=None, leave=False, desc=name[-40:])
    with bar, path.open("ab" if start else "wb") as file:
        for piece in answer.iter_content(1 << 20):
            bar.update(file.write(piece))


def _whole_size(answer: requests.Response) -> int | None:
    """Return how large the whole file is, where the answer tells."""
    total = re.fullmatch(r"bytes \d+-\d+/(\d+)", answer.headers.get("Content-Range", ""))
    if total:
        return int(total[1])
    length = answer.headers.get("Content-Length")
    return int(length) if length is not None and "Content-Encoding" not in answer.headers else None
