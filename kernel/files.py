"""Writes a file or a folder whole or not at all, and says which one a full disk leaves unwritten."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`, renamed to it at the end of the block, removed where the block fails."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with naming_full_disk(path):
            yield part
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path, marker: str) -> Iterator[Path]:
    """Give an empty folder beside `path` that takes its place at the end of the block; removed where the block fails.

    A folder with files but without `marker`, which every folder written here has, is refused: it is somebody else's.
    """
    if path.exists() and not (path / marker).is_file() and not (path.is_dir() and not any(path.iterdir())):
        raise ValueError(f"{path}: is no folder with {marker}, so it is not replaced; name another folder")
    part = path.with_name(f".{path.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        with naming_full_disk(path):
            part.mkdir(parents=True)
            yield part
            shutil.rmtree(path, ignore_errors=True)
            os.replace(part, path)
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def naming_full_disk(path: Path) -> Iterator[None]:
    """Turn the error of a full disk, which names no file, into one that names `path`."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        if not _says_full(error):
            raise
        message = f"no space left to write {path}: free some, then run the same command again to go on"
        raise OSError(errno.ENOSPC, message) from error


def _says_full(error: Exception) -> bool:
    """Return whether an error means a full disk: by its number, the number in h5py's text, or NumPy's short write."""
    text = str(error)
    return (
        getattr(error, "errno", None) in FULL
        or any(os.strerror(number) in text for number in FULL)
        or ("requested and" in text and text.endswith("written"))
    )
