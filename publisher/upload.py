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


def upload(kaggle: Kaggle, journal: Journal, step: str, files: list[Path]) -> list[str]:
    """Upload files, one after another; return a token for each, in order, of which a version is made."""
    total = sum(path.stat().st_size for path in files)
    with tqdm(total=total, unit="B", unit_scale=True, unit_divisor=1024, disable=None, desc="uploading") as bar:
        return [_Upload(kaggle, journal, step, path, bar).finish() for path in files]


class _Upload:
    """One file on its way, from where an earlier attempt stopped."""

    def __init__(self, kaggle: Kaggle, journal: Journal, step: str, path: Path, bar: tqdm) -> None:
        self.kaggle, self.journal, self.path, self.bar = kaggle, journal, path, bar
        self.step, self.size, self.begin = f"{step}: {path.name}", path.stat().st_size, int(bar.n)
        self.about = {"sha256": hash_file(path), "size": self.size}
        noted = journal.recall(self.step, **self.about) or {"token": "", "url": ""}
        self.token, self.url, self.arrived = noted["token"], noted["url"], 0

    def finish(self) -> str:
        """Send what has not arrived; return the file's token."""
        doing, fresh = f"uploading {self.path.name}", False
        while True:
            before = self.arrived
            try:
                self.kaggle.call(doing, self._attempt)
                return self.token
            except ServiceError as error:
                if error.status in EXPIRED and not fresh:
                    self.kaggle.say(f"{doing}: {error.said}; starting this file anew")
                    self.url, self.arrived, fresh = "", 0, True
                    continue
                if not error.transient:
                    self.journal.forget(self.step)
                # What moved the upload on does not count: only attempts without progress are limited.
                if not error.transient or self.arrived <= before:
                    raise

    def _attempt(self) -> None:
        """Announce the file, or ask how much of it has arrived; send the rest."""
        if not self.url:
            self.token, self.url = self.kaggle.start_upload(self.path.name, self.size, MODIFIED)
            self.journal.note(self.step, **self.about, token=self.token, url=self.url)
        elif self._put(b"", {"Content-Range": f"bytes */{self.size}"}) == self.size:
            return
        start = self.arrived
        headers = {"Content-Range": f"bytes {start}-{self.size - 1}/{self.size}"} if start else {}
        with self.path.open("rb") as file:
            file.seek(start)
            self._put(CallbackIOWrapper(self.bar.update, file, "read") if self.size else b"", headers)
        if self.arrived < self.size:
            todo = "Run the same command again later"
            raise ServiceError(f"uploading {self.path.name}", "Kaggle took a part of the file", todo)

    def _put(self, body: Any, headers: dict[str, str]) -> int:
        """Send a part of the file, or nothing to ask; return how many bytes have arrived."""
        http, timeout = self.kaggle.http, self.kaggle.pace.timeout
        answer = http.put(self.url, data=body, headers=headers, allow_redirects=False, timeout=timeout)
        answer.raise_for_status()
        match = re.fullmatch(r"bytes=0-(\d+)", answer.headers.get("Range", ""))
        self.arrived = self.size if answer.status_code < 300 else int(match[1]) + 1 if match else 0
        self.bar.n = self.begin + self.arrived
        self.bar.refresh()
        return self.arrived
