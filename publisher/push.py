"""Publishes a job: data sets, rehearsal, kernel, and the record of which version is which.

A push that was killed at any moment is run again and ends in the same state, with nothing published twice. One that
finds nothing changed rehearses nothing and sends nothing.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from dataset_builder.metadata import CACHE_SLUG
from publisher.dataset import DatasetPublisher
from publisher.journal import Journal, read_record, write_record
from publisher.kernel import PAGE, KernelPublisher
from publisher.service.client import Kaggle
from publisher.target import Target, find_faults
from rehearsal.memory import describe_rehearsal, recall_rehearsal, remember_rehearsal


def push(
    kaggle: Kaggle,
    target: Target,
    dist: Path,
    *,
    source: Path | None = None,
    arguments: dict[str, str] | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Bring a job to Kaggle; return the record. Raises before anything is published if a check fails.

    `source` is what to rehearse on; `arguments` is what the pushed file is called with.
    """
    job, say, folder = target.job, kaggle.say, target.job.folder(dist)
    faults = find_faults(target)
    if faults:
        raise ValueError("; ".join(f"{wrong}: {fix}" for wrong, fix in faults))
    say(f"signed in with {kaggle.credential}")
    record, journal = read_record(folder), Journal(folder)
    built = job.build_data_sets(dist, target.owner)
    manifests = {slug: manifest for slug, (_, manifest) in built.items()}
    first = manifests[job.data_sets[0].slug]
    tree = str(first["tree_sha256"])
    kernel = KernelPublisher(kaggle, target, tree, journal, record, arguments)
    kernel.refuse_foreign(force=force)  # before the long work: a wrong key shows here too
    code_file = kernel.write(folder / "kernel")
    say(f"bundle {tree[:16]}: {len(first['files'])} files")
    about = describe_rehearsal(list(manifests.values()), code_file, source)
    known = recall_rehearsal(folder, about)
    if known:
        say(f"rehearsed as it is on {known['passed']}: it passed")
    else:
        say("rehearsing it")
        folders = {slug: path for slug, (path, _) in built.items()}
        found = job.rehearse(source, folder / "rehearsal", folders, dist=dist, code_file=code_file, log=say, quick=True)
        remember_rehearsal(folder, about, found)
    if first.get("dirty"):
        say("note: the working tree has changes that are not committed; the record says so")

    published: dict[str, dict[str, Any]] = {}
    for slug, (path, manifest) in built.items():
        given = target.dataset if slug == job.data_sets[0].slug else slug
        before = record.get("data_sets", {}).get(given, {}) if published else record.get("dataset", {})
        published[given] = _publish(kaggle, target.owner, given, path, manifest, folder, journal, before, force=force)
    pushed = kernel.publish(folder / "kernel", force=force)
    say(f"kernel {target.kernel_ref} version {pushed.version}: {pushed.action}")
    if pushed.action == "unchanged":
        say("this code with this data was pushed before; FORCE=1 (--force) runs it once more")

    url = f"{PAGE}/{target.kernel_ref}"
    new = {
        "dataset": published.pop(target.dataset),
        **({"data_sets": published} if published else {}),
        "kernel": {"ref": target.kernel_ref, "version": pushed.version, "sha256": pushed.sha256, "url": url},
        "competition": target.competition,
        **{name: first.get(name) for name in ("commit", "dirty", "models")},
    }
    if record.get("submission") and kernel.recorded == pushed.version:
        new["submission"] = record["submission"]
    write_record(folder, new)
    return new


def push_cache(kaggle: Kaggle, owner: str, root: Path, dist: Path, *, force: bool = False) -> dict[str, Any]:
    """Bring all caches under `root` to Kaggle as a data set of their own; the archives need as much disk again.

    It has a journal of its own, in `dist/cache`: the two data sets change at different times, and none waits for the
    other.
    """
    from dataset_builder.cache_data_set import build_cache_data_set

    folder = dist / "cache"
    manifest = build_cache_data_set(root, folder / "dataset", owner)
    journal = Journal(folder)
    known = journal.recall("published") or {}
    about = _publish(kaggle, owner, CACHE_SLUG, folder / "dataset", manifest, folder, journal, known, force=force)
    journal.note("published", **about)
    shutil.rmtree(folder / "upload", ignore_errors=True)
    return about


def _publish(
    kaggle: Kaggle,
    owner: str,
    slug: str,
    path: Path,
    manifest: dict[str, Any],
    folder: Path,
    journal: Journal,
    known: dict[str, Any],
    *,
    force: bool,
) -> dict[str, Any]:
    """Bring one built data set to Kaggle; return what is recorded of it."""
    publisher = DatasetPublisher(kaggle, owner, slug, path, manifest, journal)
    upload = folder / "upload" if path.name == "dataset" else folder / f"{slug}-upload"
    version, action = publisher.publish(upload, known, force=force)
    kaggle.say(f"data set {publisher.ref} version {version}: {action}, its manifest reads back with our hash")
    return {"ref": publisher.ref, "version": version, "tree_sha256": publisher.tree}
