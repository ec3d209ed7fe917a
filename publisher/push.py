"""Publishes a job: rehearsal, data set, kernel, and the record of which version is which.

A push that was killed at any moment is run again and ends in the same state, with nothing published twice. One that
finds nothing changed rehearses nothing and sends nothing.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from publisher.dataset import DatasetPublisher
from publisher.journal import PUBLISHED, Journal, read_record
from publisher.kernel import STEP, KernelPublisher, Push
from publisher.screen import Shown
from publisher.service.client import Kaggle
from publisher.submit import ask_limits, submit_when_complete
from publisher.target import Target, find_faults
from publisher.turns import plan, refuse_second
from rehearsal.memory import describe_rehearsal, rehearse_once


def push(
    kaggle: Kaggle, target: Target, *, source: Path | None, arguments: dict[str, str], submit: bool, force: bool
) -> Shown:
    """Bring a job to Kaggle and record it. Raises before anything is published if a check fails.

    `source` is what to rehearse on; `arguments` is what the pushed file is called with, for a job that goes on nothing
    means as the last time.
    """
    job = target.job
    if submit and not job.submitted:
        raise ValueError(f"the job {job.name} makes no submission: leave --submit out")
    faults = find_faults(target)
    if faults:
        raise ValueError("; ".join(f"{wrong}: {fix}" for wrong, fix in faults))
    kaggle.say(f"signed in with {kaggle.credential}")
    journal = Journal(kaggle, target.folder)
    _publish(kaggle, target, journal, source=source, arguments=arguments, force=force)
    status = 0
    lines = [f"{target.folder / PUBLISHED} says which version is which; `make status{job.make_option}` follows the run"]
    if submit:
        lines, status = submit_when_complete(kaggle, target)
    return read_record(target.folder), lines, status


def _publish(
    kaggle: Kaggle, target: Target, journal: Journal, *, source: Path | None, arguments: dict[str, str], force: bool
) -> None:
    """Rehearse, publish the data set, push the kernel, record both; nothing where all is done."""
    job, say, record = target.job, kaggle.say, journal.record
    data_set, manifest = job.build_data_set(target.dist, target.owner)
    tree = str(manifest["tree_sha256"])
    push, done = Push(target, arguments, tree), False
    if job.goes_on:
        push, done = plan(kaggle, push, journal, force=force)
    if done:
        journal.forget(STEP)
        if {"run": record.get("run")} != push.about() or record["kernel"]["version"] != push.version:
            _record(journal, push, {"ref": target.dataset_ref, "tree_sha256": push.tree})
        return
    push = replace(push, tree=tree)
    kernel = KernelPublisher(kaggle, push, journal)
    if job.goes_on and not (kernel.begun or kernel.find_there()):
        refuse_second(kaggle, target, force=force)
    kernel.refuse_foreign(force=force)  # before the long work: a wrong key shows here too
    code_file = kernel.write()
    say(f"bundle {tree[:16]}: {len(manifest['files'])} files")
    if not job.submitted:
        ask_limits(kaggle, target)  # a run is given no data before the competition's rules are accepted
    if job.estimate and not kernel.same:
        say(job.estimate(push.arguments))
    out, asked = target.folder / "rehearsal", job.read_code(push.arguments) + str(job.read_metadata())
    options = {"dist": target.dist, "code_file": code_file, "log": say, "quick": True}
    rehearse = partial(job.rehearse, source, out, data_set, **options)
    rehearse_once(target.folder, describe_rehearsal(manifest, asked, source), rehearse, say)
    if manifest.get("dirty"):
        say("note: the working tree has changes that are not committed; the record says so")

    published = DatasetPublisher(kaggle, target.dataset_ref, data_set, manifest, journal).publish(force=force)
    version, action = kernel.publish(force=force)
    say(f"kernel {push.target.kernel_ref} version {version}: {action}")
    if action == "unchanged":
        say("this code with this data was pushed before; FORCE=1 (--force) runs it once more")
    about: dict[str, Any] = {name: manifest.get(name) for name in ("commit", "dirty", "models")}
    if record.get("submission") and kernel.recorded == version:
        about["submission"] = record["submission"]
    _record(journal, replace(push, version=version, sha256=kernel.sha256), published, **about)


def _record(journal: Journal, push: Push, dataset: dict[str, Any], **about: Any) -> None:
    """Record which version is which."""
    target = push.target
    kernel = {"ref": target.kernel_ref, "version": push.version, "sha256": push.sha256, "url": target.kernel_page}
    journal.write_record(dataset=dataset, kernel=kernel, competition=target.competition, **push.about(), **about)
