"""Packs the bundle's folders for the upload: one archive a top-level folder, the same bytes for the same content.

Called by `publisher.dataset`. Kaggle drops folders that are not archived and unpacks archives on arrival, so that the
mount has the folders again. The client's own archives differ from run to run and can therefore never be resumed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
DATASET_METADATA = "dataset-metadata.json"
FORMAT = "hms-bundle/"
"""How the format of every manifest of this project begins, whatever its version."""
EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Parcel:
    """One file to upload, known by its content."""

    path: Path
    size: int
    sha256: str


def read_manifest(bundle: Path) -> dict[str, Any]:
    """Read the manifest of a built bundle."""
    path = bundle / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: build the bundle with `python build.py bundle`")
    try:
        return check_manifest(path.read_bytes(), str(path))
    except ValueError as error:
        raise ValueError(f"{error}: build the bundle again with `python build.py bundle`") from None


def check_manifest(content: bytes, source: str) -> dict[str, Any]:
    """Return the manifest in `content`; a ValueError says what about it is not ours."""
    try:
        manifest = json.loads(content)
    except ValueError as error:
        raise ValueError(f"{source} is not JSON ({error})") from None
    missing = [
        key for key in ("format", "tree_sha256", "files") if not isinstance(manifest, dict) or key not in manifest
    ]
    if missing:
        raise ValueError(f"{source} is not a manifest of this project: it lacks {', '.join(missing)}")
    if not str(manifest["format"]).startswith(FORMAT):
        raise ValueError(f"{source} is a manifest of another project: its format is {manifest['format']!r}")
    return manifest


def pack(bundle: Path, out: Path) -> list[Parcel]:
    """Write an archive of each top-level folder and a copy of each top-level file of `bundle` into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    parcels = []
    for entry in sorted(bundle.iterdir()):
        if entry.name == DATASET_METADATA or entry.name.startswith("."):
            continue
        path = out / (f"{entry.name}.zip" if entry.is_dir() else entry.name)
        partial = path.with_name(path.name + ".partial")
        if entry.is_dir():
            _write_zip(entry, partial)
        else:
            shutil.copyfile(entry, partial)
        partial.replace(path)
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
