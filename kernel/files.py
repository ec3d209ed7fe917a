"""Writes a file whole or not at all, and says which one it was where the disk is full."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def naming_full_disk(path: Path) -> Iterator[None]:
    """Turn the error of a full disk, which names no file, into one that names `path`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise OSError(
                error.errno, f"no space left to write {path}: free some, then run the same command again to go on"
            ) from error
        raise


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`, renamed to it once the block is through; removed where it fails."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with naming_full_disk(path):
            yield part
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
