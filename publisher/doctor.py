"""Checks all that can be checked before a push: credentials, names, bundle, what the kernel asks for.

Every finding comes with how to fix it; nothing is changed anywhere.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from dataset_builder.metadata import read_manifest
from publisher.journal import read_record
from publisher.screen import Shown
from publisher.service.client import Kaggle
from publisher.service.faults import ServiceError
from publisher.service.sign_in import key_file
from publisher.target import SOURCES, Target, fill_kernel_metadata, find_faults

LARGEST_DATASET = 200 * 10**9
"""Bytes: what Kaggle takes as one data set."""
Finding = tuple[str, str, str]
"""One thing looked at: `ok`, `note` or `error`; what was found; how to fix it."""


def doctor(connect: Callable[[], Kaggle], target_of: Callable[[str], Target]) -> Shown:
    """Look at everything. A fault in one thing does not keep the others from being looked at."""
    findings: list[Finding] = []
    try:
        kaggle = connect()
    except ServiceError as error:
        target = target_of("your-name")
        findings.append(("error", f"{error.doing}: {error.said}", error.todo))
    else:
        target = target_of(kaggle.credential.username)
        findings += _check_credential(kaggle, target)
    for check in (_check_names(target), _check_bundle(target)):
        try:
            findings += check
        except (ValueError, OSError) as error:
            findings.append(("error", str(error), ""))
    lines = [f"{level:5s}  {found}" + (f"\n       fix: {fix}" if fix else "") for level, found, fix in findings]
    answer = {"findings": [dict(zip(("level", "found", "fix"), finding, strict=True)) for finding in findings]}
    return answer, lines, int(any(level == "error" for level, *_ in findings))


def _check_credential(kaggle: Kaggle, target: Target) -> Iterator[Finding]:
    for found, fix in kaggle.notes:
        yield "note", f"{found}; it is not used", fix
    path = key_file()
    if os.name != "nt" and path.is_file() and path.stat().st_mode & 0o077:
        yield "note", f"{path} can be read by other users of this system", f"chmod 600 {path}"
    if target.owner.lower() != kaggle.credential.username.lower():
        found = f"the owner {target.owner} is not the credential's user {kaggle.credential.username}"
        yield "note", found, "fine for an organisation of yours, else leave --owner out"
    try:
        limits = kaggle.limits(target.competition)
    except ServiceError as error:
        yield "ok", f"credential: {kaggle.credential}", ""
        known = error.status in (403, 404)
        todo = f"join the competition and accept its rules at {target.competition_page}" if known else error.todo
        yield "note" if known else "error", f"{error.doing}: {error.said}", todo
        return
    yield "ok", f"credential: {kaggle.credential}; Kaggle accepts it", ""
    if limits.allowed_now:
        yield "ok", str(limits), ""
    else:
        fix = f"join the competition, or wait until after midnight UTC: {target.competition_page}"
        yield "note", str(limits), fix


def _check_names(target: Target) -> Iterator[Finding]:
    metadata = fill_kernel_metadata(target)
    for wrong, fix in find_faults(target):
        yield "error", wrong, fix
    names = f"data set {target.dataset_ref}, kernel {target.kernel_ref}, competition {target.competition}"
    yield "ok", f"names: {names}", ""
    asked = [
        f"internet {'on' if metadata['enable_internet'] else 'off'}",
        "private" if metadata["is_private"] else "public",
        f"GPU {'on' if metadata.get('enable_gpu') else 'off'}",
        f"machine {metadata.get('machine_shape') or 'as Kaggle chooses'}",
        f"image {metadata.get('docker_image') or metadata.get('docker_image_pinning_type') or 'as Kaggle chooses'}",
    ]
    sources = ", ".join(source for kind in SOURCES for source in metadata[kind])
    yield "ok", f"the kernel asks for: {', '.join(asked)}; it is given {sources}", ""


def _check_bundle(target: Target) -> Iterator[Finding]:
    try:
        manifest = read_manifest(target.folder / "dataset")
    except (ValueError, OSError) as error:
        yield "note", str(error), ""
        return
    size, tree = sum(int(file["size"]) for file in manifest["files"]), str(manifest["tree_sha256"])
    yield "ok", f"bundle: {len(manifest['files'])} files, {size / 1e6:.1f} MB, tree {tree[:16]}", ""
    if size > LARGEST_DATASET:
        found = f"Kaggle takes at most {LARGEST_DATASET / 1e9:.0f} GB as one data set"
        yield "error", found, "bundle fewer weights"
    if manifest.get("dirty"):
        yield "note", "the bundle was built with changes that are not committed", "commit, then push"
    known = read_record(target.folder).get("dataset", {})
    if known.get("ref") == target.dataset_ref and known.get("tree_sha256") != tree:
        yield "note", f"version {known.get('version')} on Kaggle holds another bundle", "make push"
