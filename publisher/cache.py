"""Publishes stored inputs (`cache.cache`) as a data set of their own, for a training kernel to attach.

Called by `build.py push --with-cache`. It is done as for the bundle, but with a journal of its own, in
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
from publisher.record import Journal

STEP = "published"
"""The note that stays in the journal: which version holds what."""


def push_cache(kaggle: Kaggle, owner: str, root: Path, dist: Path, *, force: bool = False) -> dict[str, Any]:
    """Bring all stores under `root` to Kaggle, and return the record; the archives need as much disk again."""
    target, folder = Target(owner, dataset=CACHE_SLUG), dist / "cache"
    manifest = build_cache_data_set(root, folder / "dataset", owner)
    journal = Journal(folder)
    about = {"ref": target.dataset_ref, "tree_sha256": manifest["tree_sha256"]}
    known = (journal.recall(STEP, **about) or {"version": 0})["version"]
    publisher = DatasetPublisher(kaggle, target, folder / "dataset", manifest, journal)
    version, action = publisher.publish(folder, known=known, force=force)
    kaggle.say(f"stored inputs {target.dataset_ref} version {version}: {action}")
    journal.note(STEP, **about, version=version)
    shutil.rmtree(folder / "upload", ignore_errors=True)
    return {**about, "version": version}
