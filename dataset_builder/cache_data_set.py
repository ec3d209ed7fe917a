"""Makes a data set for Kaggle out of a cache (`cache.cache`), for a training kernel to attach."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from tqdm import tqdm

from cache.cache import Cache
from dataset_builder.metadata import CACHE_SLUG, dataset_metadata, hash_tree
from kernel.files import replacing_folder

DATA_SET_FORMAT = "hms-bundle/cache-1"
"""Of the bundle's family, so that the publisher knows it; no bundle, so that the kernel does not take it for one."""


def build_cache_data_set(root: Path, out: Path, owner: str | None) -> dict[str, Any]:
    """Make a folder that can be published out of the cache in `root`, and return its manifest.

    The files are linked, not copied, where the file system can. The manifest is of the bundle's kind, so that the
    publisher treats the two alike. No cache there is a FileNotFoundError, one that is not finished a ValueError.
    """
    cache = Cache(root)
    if len(cache) < len(cache.planned):
        raise ValueError(
            f"{root}: {len(cache)} of {len(cache.planned)} pieces are stored; run `python build.py cache` to the end"
        )
    files = []
    names = sorted(path.relative_to(root) for path in root.iterdir() if path.name[0] != "." and path.is_file())
    with replacing_folder(out, "manifest.json") as part:
        for name in tqdm(names, unit="file", desc="hash", disable=len(names) < 50):
            try:
                os.link(root / name, part / name)
            except OSError:
                shutil.copyfile(root / name, part / name)
            with (part / name).open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                files.append({"path": name.as_posix(), "size": os.fstat(file.fileno()).st_size, "sha256": sha256})
        manifest = {"format": DATA_SET_FORMAT, "tree_sha256": hash_tree(files), "files": files}
        (part / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
        (part / "dataset-metadata.json").write_text(json.dumps(dataset_metadata(owner, CACHE_SLUG), indent=2) + "\n")
    return manifest
