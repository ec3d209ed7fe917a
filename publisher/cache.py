"""Publishes stored inputs (`kernel.cache`) as a data set of their own, for a training kernel to attach.

Called by `build.py push --with-cache`. It is done as for the bundle, but with its own journal and record, in
`dist/cache`: the two data sets change at different times, and none waits for the other.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from dataset_builder.cache_data_set import build_cache_data_set
from dataset_builder.metadata import CACHE_SLUG, Target
from publisher.client import Kaggle
from publisher.dataset import DatasetPublisher
from publisher.record import Journal, read_record, write_record


def push_cache(kaggle: Kaggle, owner: str, root: Path, dist: Path, *, force: bool = False) -> dict[str, Any]:
    """Bring all stores under `root` to Kaggle, and return the record; the archives need as much disk again."""
    target, folder = Target(owner, dataset=CACHE_SLUG), dist / "cache"
    manifest = build_cache_data_set(root, folder / "dataset", owner)
    known = read_record(folder).get("dataset", {})
    same = known.get("ref") == target.dataset_ref and known.get("tree_sha256") == manifest["tree_sha256"]
    publisher = DatasetPublisher(kaggle, target, folder / "dataset", manifest, Journal(folder))
    version, action = publisher.publish(folder, known=known["version"] if same else 0, force=force)
    kaggle.say(f"stored inputs {target.dataset_ref} version {version}: {action}")
    record = {"ref": target.dataset_ref, "version": version, "tree_sha256": manifest["tree_sha256"]}
    write_record(folder, {"dataset": record})
    shutil.rmtree(folder / "upload", ignore_errors=True)
    return record
