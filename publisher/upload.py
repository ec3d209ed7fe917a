"""Packs a built folder and uploads it so that a break, or a kill, loses nothing: what arrived is asked for.

One archive a top-level folder, the same bytes for the same content: Kaggle drops folders that are not archived and
unpacks archives on arrival. The client's own archives differ from run to run; its own upload drops a file that was
refused without a word, waits for ever and cannot go on once an upload has expired. This one keeps to the same protocol
(announce, PUT, ask with `bytes */N`). Unfinished uploads are noted beside the user's credentials, readable only by the
user, as their URLs permit writing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import requests
from tqdm import tqdm
from tqdm.utils import CallbackIOWrapper

from dataset_builder.metadata import DATASET_METADATA
from kernel.files import replacing
from publisher.service.client import Kaggle
from publisher.service.faults import ServiceError, explain, explain_response
from publisher.service.sign_in import open_session

EXPIRY = 6 * 24 * 3600
"""Seconds for which an announced upload can be resumed (a week, less a margin)."""
EXPIRED = (400, 401, 403, 404, 409, 410, 412)
"""What an upload URL answers that is spent, expired or refused: one fresh start is tried, then the user is told."""
MODIFIED = 315532800
"""The modification time that is announced, 1980-01-01, so that the same content is announced alike."""
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The modification time of every file in an archive."""


@dataclass(frozen=True)
class Parcel:
    """One file to upload, known by its content."""

    path: Path
    size: int
    sha256: str


def pack(bundle: Path, out: Path) -> list[Parcel]:
    """Write an archive of each top-level folder and a copy of each top-level file of `bundle` into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    parcels = []
    for entry in sorted(bundle.iterdir()):
        if entry.name == DATASET_METADATA or entry.name.startswith("."):
            continue
        path = out / (f"{entry.name}.zip" if entry.is_dir() else entry.name)
        with replacing(path) as part:
            if entry.is_dir():
                _write_zip(entry, part)
            else:
                shutil.copyfile(entry, part)
        parcels.append(Parcel(path, path.stat().st_size, hash_file(path)))
    kept = {parcel.path.name for parcel in parcels}
    for stale in out.iterdir():
        if stale.name not in kept:
            stale.unlink()
    return parcels


def _write_zip(folder: Path, path: Path) -> None:
    # Stored, not deflated: weights do not shrink, and deflate's bytes depend on the zlib at hand.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(
            (p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.relative_to(folder).as_posix()
        ):
            info = zipfile.ZipInfo(file.relative_to(folder).as_posix(), EPOCH)
            info.external_attr, info.create_system = 0o644 << 16, 3
            info.file_size = file.stat().st_size
            with file.open("rb") as source, archive.open(info, "w") as target:
                shutil.copyfileobj(source, target, 1 << 20)


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Uploads:
    """The uploads of one data set: files go up one after another; each ends in a token that a version is made of."""

    def __init__(self, kaggle: Kaggle, dataset_ref: str) -> None:
        self.kaggle = kaggle
        self.folder = Path(kaggle.account.config_dir) / "uploads" / dataset_ref.replace("/", "_")
        self.session = open_session(kaggle.pace.timeout)

    def send(self, parcels: list[Parcel]) -> list[str]:
        """Upload all parcels; return a token for each, in order."""
        total = sum(parcel.size for parcel in parcels)
        with tqdm(total=total, unit="B", unit_scale=True, unit_divisor=1024, disable=None, desc="uploading") as bar:
            tokens = []
            for parcel in parcels:
                base = int(bar.n)
                tokens.append(self._send(parcel, bar, base))
                _show(bar, base + parcel.size)
        return tokens

    def forget(self) -> None:
        """Forget the uploads: they are part of a version now, or of no use."""
        with contextlib.suppress(OSError):
            for note in self.folder.iterdir():
                note.unlink()
            self.folder.rmdir()

    def _send(self, parcel: Parcel, bar: tqdm, base: int) -> str:
        doing = f"uploading {parcel.path.name}"
        token, url = self._recall(parcel)
        arrived, ask_first, fresh_starts = 0, url != "", 0

        def once() -> bool:
            nonlocal token, url, arrived, ask_first
            if not url:
                token, url = self.kaggle.start_upload(parcel.path.name, parcel.size, MODIFIED)
                self._note(parcel, token, url)
                arrived = 0
            elif ask_first:
                answered = self._ask(doing, url, parcel.size)
                if answered is None:
                    return True
                arrived = answered
            ask_first = True
            _show(bar, base + arrived)
            return self._put(doing, parcel, url, arrived, bar)

        # A round that moved the upload on does not count: only rounds without progress are limited.
        rounds = 0
        while rounds < self.kaggle.pace.attempts:
            before = arrived
            try:
                if self.kaggle.pace.retrying(lambda error: error.transient, self.kaggle.say)(once):
                    return token
            except ServiceError as error:
                if error.status in EXPIRED and fresh_starts == 0:
                    self.kaggle.say(f"{doing}: {error.said}; starting this file anew")
                    url, fresh_starts = "", 1
                    continue
                if not error.transient:
                    self._drop(parcel)
                if not error.transient or arrived <= before:
                    raise
            rounds = 0 if arrived > before else rounds + 1
        raise ServiceError(
            doing, "Kaggle takes the file only in part, again and again", "Run the same command again later"
        )

    def _ask(self, doing: str, url: str, size: int) -> int | None:
        """Return how many bytes have arrived, or None where all have."""
        answer = self._request(doing, url, b"", {"Content-Length": "0", "Content-Range": f"bytes */{size}"})
        if 200 <= answer.status_code < 300:
            return None
        if answer.status_code == 308:
            return _received(answer)
        raise explain_response(doing, answer, "", self.kaggle.redact)

    def _put(self, doing: str, parcel: Parcel, url: str, offset: int, bar: tqdm) -> bool:
        """Send what is missing; return whether the file is complete."""
        headers = {}
        if offset:
            headers["Content-Range"] = f"bytes {offset}-{parcel.size - 1}/{parcel.size}"
        with parcel.path.open("rb") as file:
            file.seek(offset)
            body = CallbackIOWrapper(bar.update, file, "read") if parcel.size else b""
            answer = self._request(doing, url, body, headers)
        if 200 <= answer.status_code < 300:
            return True
        if answer.status_code == 308:
            return False
        raise explain_response(doing, answer, "", self.kaggle.redact)

    def _request(self, doing: str, url: str, body: object, headers: dict[str, str]) -> requests.Response:
        try:
            return self.session.put(url, data=body, headers=headers, allow_redirects=False)  # type: ignore[arg-type]
        except requests.RequestException as error:
            raise explain(doing, error, "", self.kaggle.redact) from None

    def _file(self, parcel: Parcel) -> Path:
        return self.folder / f"{parcel.path.name}.json"

    def _recall(self, parcel: Parcel) -> tuple[str, str]:
        with contextlib.suppress(OSError, ValueError, KeyError):
            note = json.loads(self._file(parcel).read_text(encoding="utf-8"))
            if note["sha256"] == parcel.sha256 and note["size"] == parcel.size and note["time"] > time.time() - EXPIRY:
                return str(note["token"]), str(note["url"])
        return "", ""

    def _note(self, parcel: Parcel, token: str, url: str) -> None:
        note = {"sha256": parcel.sha256, "size": parcel.size, "time": int(time.time()), "token": token, "url": url}
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            partial = self._file(parcel).with_suffix(".partial")
            with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                json.dump(note, file)
            partial.replace(self._file(parcel))
        except OSError as error:
            self.kaggle.say(
                f"the state of the upload cannot be kept in {self.folder} ({error.strerror}): a kill starts it anew"
            )

    def _drop(self, parcel: Parcel) -> None:
        with contextlib.suppress(OSError):
            self._file(parcel).unlink()


def _received(answer: requests.Response) -> int:
    match = re.fullmatch(r"bytes=0-(\d+)", answer.headers.get("Range", ""))
    return int(match[1]) + 1 if match else 0


def _show(bar: tqdm, position: int) -> None:
    bar.n = position
    bar.refresh()
