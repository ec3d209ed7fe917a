"""Publishes a job: rehearsal, data set, kernel, and the record of which version is which.

A push that was killed at any moment is run again and ends in the same state, with nothing published twice. One that
finds nothing changed rehearses nothing and sends nothing.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from publisher.dataset import DatasetPublisher
from publisher.journal import Journal, read_record, write_record
from publisher.kernel import PAGE, STEP, KernelPublisher
from publisher.service.client import Kaggle
from publisher.service.faults import ServiceError
from publisher.target import Target, find_faults
from publisher.turns import plan, refuse_second
from rehearsal.memory import describe_rehearsal, rehearse_once


def push(
    kaggle: Kaggle,
    target: Target,
    dist: Path,
    *,
    source: Path | None = None,
    arguments: dict[str, str] | None = None,
    force: bool = False,
) -> None:
    """Bring a job to Kaggle and record it. Raises before anything is published if a check fails.

    `source` is what to rehearse on; `arguments` is what the pushed file is called with, for a job that goes on nothing
    means as the last time.
    """
    job, say, folder = target.job, kaggle.say, target.job.folder(dist)
    faults = find_faults(target)
    if faults:
        raise ValueError("; ".join(f"{wrong}: {fix}" for wrong, fix in faults))
    say(f"signed in with {kaggle.credential}")
    record, journal = read_record(folder), Journal(kaggle, folder)
    data_set, manifest = job.build_data_set(dist, target.owner)
    tree = str(manifest["tree_sha256"])
    arguments = arguments or {}
    about: dict[str, Any] = {}
    if job.goes_on:
        turn, done = plan(kaggle, target, tree, journal, record, arguments, force=force)
        if done:
            journal.forget(STEP)
            if record.get("run") != turn.about() or record["kernel"]["version"] != turn.version:
                dataset = {"ref": target.dataset_ref, "tree_sha256": turn.tree}
                _record(folder, turn.target, dataset, turn.version, turn.sha256, run=turn.about())
            return
        target, arguments, about = turn.target, turn.arguments, {"run": turn.about()}
    kernel = KernelPublisher(kaggle, target, tree, journal, record, arguments, **about)
    if job.goes_on and not (kernel.begun or kernel.is_there):
        refuse_second(kaggle, target, force=force)
    kernel.refuse_foreign(force=force)  # before the long work: a wrong key shows here too
    code_file = kernel.write(folder / "kernel")
    say(f"bundle {tree[:16]}: {len(manifest['files'])} files")
    if not job.submitted:
        _note_rules(kaggle, target)
    if job.estimate and not kernel.same:
        say(job.estimate(arguments))
    asked = job.read_code(arguments) + str(job.read_metadata())
    rehearse = partial(
        job.rehearse, source, folder / "rehearsal", data_set, dist=dist, code_file=code_file, log=say, quick=True
    )
    rehearse_once(folder, describe_rehearsal(manifest, asked, source), rehearse, say)
    if manifest.get("dirty"):
        say("note: the working tree has changes that are not committed; the record says so")

    publisher = DatasetPublisher(kaggle, target.dataset_ref, data_set, manifest, journal)
    published = publisher.publish(folder / "upload", record.get("dataset", {}), force=force)
    version, action = kernel.publish(force=force)
    say(f"kernel {target.kernel_ref} version {version}: {action}")
    if action == "unchanged":
        say("this code with this data was pushed before; FORCE=1 (--force) runs it once more")
    if record.get("submission") and kernel.recorded == version:
        about["submission"] = record["submission"]
    about |= {name: manifest.get(name) for name in ("commit", "dirty", "models")}
    _record(folder, target, published, version, kernel.sha256, **about)


def _record(folder: Path, target: Target, dataset: dict[str, Any], version: int, sha256: str, **about: Any) -> None:
    """Record which version is which."""
    url = f"{PAGE}/{target.kernel_ref}"
    kernel = {"ref": target.kernel_ref, "version": version, "sha256": sha256, "url": url}
    write_record(folder, {"dataset": dataset, "kernel": kernel, "competition": target.competition, **about})


def _note_rules(kaggle: Kaggle, target: Target) -> None:
    """Say where the competition's rules are accepted, if Kaggle seems not to have them accepted."""
    try:
        kaggle.limits(target.competition)
    except ServiceError as error:
        page = f"https://www.kaggle.com/competitions/{target.competition}/rules"
        kaggle.say(f"note: {error.doing}: {error.said}. The data are mounted for who has accepted the rules: {page}")
