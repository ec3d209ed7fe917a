"""Packs a built folder and uploads it so that a break, or a kill, loses nothing: what arrived is asked for.

One archive a top-level folder, the same bytes for the same content: Kaggle drops folders that are not archived and
unpacks archives on arrival. The official client's archives differ from run to run; its upload drops a file that was
refused without a word, waits for ever and cannot go on once an upload has expired. This one keeps to the same protocol
(announce, PUT, ask with `bytes */N`).
"""

from __future__ import annotations

import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

from tqdm import tqdm
from tqdm.utils import CallbackIOWrapper

from dataset_builder.metadata import DATASET_METADATA, hash_file
from kernel.files import replacing
from publisher.journal import Journal
from publisher.service.client import Kaggle
from publisher.service.faults import ServiceError

EXPIRED = (400, 401, 403, 404, 409, 410, 412)
"""What an upload URL answers that is spent, expired or refused: one fresh start is tried, then the user is told."""
MODIFIED = 315532800
"""The modification time that is announced, 1980-01-01, so that the same content is announced alike."""
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The modification time of every file in an archive."""


def pack(bundle: Path, out: Path) -> list[Path]:
    """Write an archive of each top-level folder and a copy of each top-level file of `bundle` into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    packed = []
    for entry in sorted(bundle.iterdir()):
        if entry.name == DATASET_METADATA or entry.name.startswith("."):
            continue
        path = out / (f"{entry.name}.zip" if entry.is_dir() else entry.name)
        with replacing(path) as part:
            if entry.is_dir():
                _write_zip(entry, part)
            else:
                shutil.copyfile(entry, part)
        packed.append(path)
    for stale in set(out.iterdir()).difference(packed):
        stale.unlink()
    return packed


def _write_zip(folder: Path, path: Path) -> None:
    # Stored, not deflated: weights do not shrink, and deflate's bytes depend on the zlib at hand.
    files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, file in sorted(files.items()):
            info = zipfile.ZipInfo(name, EPOCH)
            info.external_attr, info.create_system = 0o644 << 16, 3
            info.file_size = file.stat().st_size
            with file.open("rb") as source, archive.open(info, "w") as target:
                shutil.copyfileobj(source, target, 1 << 20)


class Uploads:
    """The uploads of one data set: files go up one after another; each ends in a token that a version is made of."""

    def __init__(self, kaggle: Kaggle, journal: Journal, step: str) -> None:
        self.kaggle, self.journal, self.step = kaggle, journal, step

    def send(self, files: list[Path]) -> list[str]:
        """Upload files; return a token for each, in order."""
        total = sum(path.stat().st_size for path in files)
        with tqdm(total=total, unit="B", unit_scale=True, unit_divisor=1024, disable=None, desc="uploading") as bar:
            tokens = []
            for path in files:
                base = int(bar.n)
                tokens.append(self._send(path, bar, base))
                _show(bar, base + path.stat().st_size)
        return tokens

    def _send(self, path: Path, bar: tqdm, base: int) -> str:
        """Upload one file, from where an earlier attempt stopped; return its token."""
        name, size, doing = path.name, path.stat().st_size, f"uploading {path.name}"
        step, about = f"{self.step}: {name}", {"sha256": hash_file(path), "size": size}
        noted = self.journal.recall(step, **about) or {"token": "", "url": ""}
        token, url = noted["token"], noted["url"]
        arrived: int | None = None
        """Bytes that Kaggle has; None where it must be asked."""

        def once() -> None:
            nonlocal token, url, arrived
            if not url:
                token, url = self.kaggle.start_upload(name, size, MODIFIED)
                self.journal.note(step, **about, token=token, url=url)
                start = 0
            else:
                start = arrived = self._put(url, b"", size, {"Content-Range": f"bytes */{size}"})
            _show(bar, base + start)
            if arrived == size:
                return
            headers = {"Content-Range": f"bytes {start}-{size - 1}/{size}"} if start else {}
            with path.open("rb") as file:
                file.seek(start)
                body = CallbackIOWrapper(bar.update, file, "read") if size else b""
                arrived = self._put(url, body, size, headers)
            if arrived < size:
                raise ServiceError(doing, "Kaggle took a part of the file", "Run the same command again later")

        fresh = False
        while True:
            before = arrived or 0
            try:
                self.kaggle.call(doing, once)
                return token
            except ServiceError as error:
                if error.status in EXPIRED and not fresh:
                    self.kaggle.say(f"{doing}: {error.said}; starting this file anew")
                    url, arrived, fresh = "", None, True
                    continue
                if not error.transient:
                    self.journal.forget(step)
                # What moved the upload on does not count: only attempts without progress are limited.
                if not error.transient or (arrived or 0) <= before:
                    raise

    def _put(self, url: str, body: Any, size: int, headers: dict[str, str]) -> int:
        """Send a part of a file, or nothing to ask; return how many bytes have arrived."""
        timeout = self.kaggle.pace.timeout
        answer = self.kaggle.http.put(url, data=body, headers=headers, allow_redirects=False, timeout=timeout)
        answer.raise_for_status()
        if answer.status_code < 300:
            return size
        match = re.fullmatch(r"bytes=0-(\d+)", answer.headers.get("Range", ""))
        return int(match[1]) + 1 if match else 0


def _show(bar: tqdm, position: int) -> None:
    bar.n = position
    bar.refresh()
