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
from publisher.kernel import PAGE, STEP, KernelPublisher
from publisher.service.client import Kaggle
from publisher.service.faults import ServiceError
from publisher.target import Target, find_faults
from publisher.turns import Turn, plan
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

    `source` is what to rehearse on; `arguments` is what the pushed file is called with, for a job that goes on nothing
    means as the last time.
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
    arguments, about = arguments or {}, {}
    if job.goes_on:
        turn, done = plan(kaggle, target, tree, journal, record, arguments, force=force)
        if done:
            return _record_done(turn, folder, record, journal)
        target, arguments, about = turn.target, turn.arguments, {"run": turn.about()}
    kernel = KernelPublisher(kaggle, target, tree, journal, record, arguments, **about)
    kernel.refuse_foreign(force=force)  # before the long work: a wrong key shows here too
    code_file = kernel.write(folder / "kernel")
    say(f"bundle {tree[:16]}: {len(first['files'])} files")
    if not job.submitted:
        _note_rules(kaggle, target)
    if job.estimate and not kernel.same:
        say(job.estimate(arguments))
    asked = job.read_code(arguments) + str(job.read_metadata())
    rehearsal = describe_rehearsal(list(manifests.values()), asked, source)
    known = recall_rehearsal(folder, rehearsal)
    if known:
        say(f"rehearsed as it is on {known['passed']}: it passed")
    else:
        say("rehearsing it")
        folders = {slug: path for slug, (path, _) in built.items()}
        found = job.rehearse(source, folder / "rehearsal", folders, dist=dist, code_file=code_file, log=say, quick=True)
        remember_rehearsal(folder, rehearsal, found)
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
        **about,
        **{name: first.get(name) for name in ("commit", "dirty", "models")},
    }
    if record.get("submission") and kernel.recorded == pushed.version:
        new["submission"] = record["submission"]
    write_record(folder, new)
    return new


def _note_rules(kaggle: Kaggle, target: Target) -> None:
    """Say where the competition's rules are accepted, if Kaggle seems not to have them accepted."""
    try:
        kaggle.limits(target.competition)
    except ServiceError as error:
        page = f"https://www.kaggle.com/competitions/{target.competition}/rules"
        kaggle.say(f"note: {error.doing}: {error.said}. The data are mounted for who has accepted the rules: {page}")


def _record_done(turn: Turn, folder: Path, record: dict[str, Any], journal: Journal) -> dict[str, Any]:
    """Record the run that has done all, where the record is of another one or was lost; return the record."""
    journal.forget(STEP)
    if record.get("run") == turn.about() and record["kernel"]["version"] == turn.version:
        return record
    target = turn.target
    url = f"{PAGE}/{target.kernel_ref}"
    new = {
        "dataset": {"ref": target.dataset_ref, "tree_sha256": turn.tree},
        "kernel": {"ref": target.kernel_ref, "version": turn.version, "sha256": turn.sha256, "url": url},
        "competition": target.competition,
        "run": turn.about(),
    }
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
