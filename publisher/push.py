"""Publishes everything: bundle, rehearsal, data set, kernel, and the record of which version is which.

Called by `build.py push`. Building and rehearsing are handed in, so that this room knows nothing of how they are done.
A push that was killed at any moment is run again and ends in the same state, with nothing published twice.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from dataset_builder.metadata import (
    Target,
    dataset_metadata,
    fill_kernel_metadata,
    find_dataset_faults,
    find_kernel_faults,
)
from publisher.archive import read_manifest
from publisher.client import Kaggle
from publisher.dataset import DatasetPublisher
from publisher.kernel import KernelPublisher, refuse_foreign
from publisher.record import Journal, read_record, write_record

Build = Callable[[Target, Path], object]
Rehearse = Callable[[Path, Path], None]


def push(
    kaggle: Kaggle, target: Target, dist: Path, *, build_bundle: Build, rehearse_bundle: Rehearse, force: bool = False
) -> dict[str, Any]:
    """Bring bundle and kernel to Kaggle; return the record. Raises before anything is published if a check fails."""
    faults = find_dataset_faults(dataset_metadata(target.owner, target.dataset))
    faults += find_kernel_faults(fill_kernel_metadata(target))
    if faults:
        raise ValueError("; ".join(f"{wrong}: {mend}" for wrong, mend in faults))
    say = kaggle.say
    say(f"signed in with {kaggle.credential}")
    refuse_foreign(kaggle, target, force=force)  # before the long work: a wrong key shows here too
    bundle = dist / "dataset"
    build_bundle(target, bundle)
    manifest = read_manifest(bundle)
    record, journal = read_record(dist), Journal(dist)
    kernel = KernelPublisher(kaggle, target, manifest, journal)
    code_file = kernel.write(dist / "kernel")
    say(f"bundle {manifest['tree_sha256'][:16]}: {len(manifest['files'])} files; rehearsing it")
    rehearse_bundle(bundle, code_file)
    if manifest.get("dirty"):
        say("note: the working tree has changes that are not committed; the record says so")

    known = record.get("dataset", {})
    same = known.get("ref") == target.dataset_ref and known.get("tree_sha256") == manifest["tree_sha256"]
    dataset = DatasetPublisher(kaggle, target, bundle, manifest, journal)
    version, action = dataset.publish(dist, known=known["version"] if same else 0, force=force)
    say(f"data set {target.dataset_ref} version {version}: {action}, READY, its manifest reads back with our hash")

    known = record.get("kernel", {})
    same = known.get("ref") == target.kernel_ref and known.get("sha256") == kernel.sha256
    pushed = kernel.publish(dist, known=known["version"] if same else 0, force=force)
    say(f"kernel {target.kernel_ref} version {pushed.version}: {pushed.action}")
    if pushed.action == "unchanged":
        say("this code with this bundle was pushed before; FORCE=1 (--force) runs it once more")

    new = {
        "dataset": {"ref": target.dataset_ref, "version": version, "tree_sha256": manifest["tree_sha256"]},
        "kernel": {
            "ref": target.kernel_ref,
            "version": pushed.version,
            "sha256": pushed.sha256,
            "url": f"https://www.kaggle.com/code/{target.kernel_ref}",
        },
        "competition": target.competition,
        "commit": manifest.get("commit"),
        "dirty": manifest.get("dirty"),
        "models": manifest.get("models"),
    }
    submitted = record.get("submission")
    if submitted and known.get("ref") == target.kernel_ref and known.get("version") == pushed.version:
        new["submission"] = submitted
    write_record(dist, new)
    return new


def recorded_target(record: dict[str, Any], wanted: Target) -> int:
    """Return the kernel version that was recorded for a target; 0 where none was."""
    kernel = record.get("kernel", {})
    if kernel.get("ref") == wanted.kernel_ref and record.get("competition") == wanted.competition:
        return int(kernel["version"])
    return 0
