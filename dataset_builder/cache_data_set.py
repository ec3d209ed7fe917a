"""Makes a data set for Kaggle out of caches (`cache.cache`), for a training kernel to attach."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cache.cache import open_cache
from cache.config import BUILD, CONFIG, read_config, read_pieces
from dataset_builder.metadata import CACHE_SLUG, FORMAT, MANIFEST, describe_file, write_manifest
from kernel.files import replacing_folder


def build_cache_data_set(root: Path, out: Path, owner: str | None) -> dict[str, Any]:
    """Make a folder that can be published out of all caches under `root`, and return its manifest.

    The files are linked, not copied, where the file system can. The manifest is of the bundle's kind, so that the
    publisher treats the two alike; its format is another one, so that the kernel does not take it for a bundle.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no cache under `root`, or one is not finished.
    """
    caches = sorted(path.parent for path in root.glob(f"*/{CONFIG}"))
    if not caches:
        raise FileNotFoundError(f"{root}: no cache there; {BUILD}")
    for cache in caches:
        stored, planned = len(open_cache(cache, read_config(cache)[0])), len(read_pieces(cache))
        if stored < planned:
            raise ValueError(
                f"{cache}: {stored} of {planned} pieces are stored; run `python build.py cache` to the end"
            )
    names = [path.relative_to(root) for cache in caches for path in sorted(cache.iterdir()) if path.name[0] != "."]
    with replacing_folder(out, MANIFEST) as part:
        files = []
        for name in tqdm(names, unit="file", desc="hash", disable=len(names) < 50):
            (part / name.parent).mkdir(parents=True, exist_ok=True)
            try:
                os.link(root / name, part / name)
            except OSError:
                shutil.copyfile(root / name, part / name)
            files.append(describe_file(part, name.as_posix()))
        return write_manifest(part, f"{FORMAT}cache-1", files, owner, CACHE_SLUG)
