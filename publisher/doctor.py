"""Checks all that can be checked before a push: credentials, client, names, bundle, what the kernel asks for.

Every finding comes with how to fix it; nothing is changed anywhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dataset_builder.metadata import read_manifest
from publisher.journal import read_record
from publisher.service.client import Kaggle
from publisher.service.faults import ServiceError
from publisher.service.sign_in import CLIENT_VERSION
from publisher.target import SOURCES, Target, fill_kernel_metadata, find_faults
from rehearsal.job import ROOT

LARGEST_DATASET = 200 * 10**9
"""Bytes: what Kaggle takes as one data set."""


@dataclass(frozen=True)
class Finding:
    """One thing looked at: `ok`, `note` or `error`, and how to fix it."""

    level: str
    found: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.level:5s}  {self.found}" + (f"\n       fix: {self.fix}" if self.fix else "")


def examine(connect: Callable[[], Kaggle], target_of: Callable[[str], Target], dist: Path) -> list[Finding]:
    """Return all findings; a fault in one does not keep the others from being looked at."""
    findings, owner = [], ""
    try:
        kaggle = connect()
    except ServiceError as error:
        findings.append(Finding("error", f"{error.doing}: {error.said}", error.todo))
    else:
        owner = kaggle.credential.username
        findings += _check_credential(kaggle, target_of(owner))
    findings += _check_client(kaggle.account.newest_version if owner else "")
    target = target_of(owner or "your-name")
    findings += _check_names(target)
    findings += _check_bundle(dist, target)
    return findings


def _check_credential(kaggle: Kaggle, target: Target) -> list[Finding]:
    findings = []
    if kaggle.account.stale_token:
        found = f"Kaggle refuses the token from {kaggle.account.stale_token}; it is not used"
        findings.append(Finding("note", found, "remove or renew that token"))
    if kaggle.account.key_file_fault:
        findings.append(
            Finding("note", kaggle.account.key_file_fault, "make a new one at https://www.kaggle.com/settings")
        )
    key_file = Path(kaggle.account.config)
    if os.name != "nt" and key_file.is_file() and key_file.stat().st_mode & 0o077:
        found = f"{key_file} can be read by other users of this system"
        findings.append(Finding("note", found, f"chmod 600 {key_file}"))
    if target.owner.lower() != kaggle.credential.username.lower():
        found = f"the owner {target.owner} is not the credential's user {kaggle.credential.username}"
        findings.append(Finding("note", found, "fine for an organisation of yours, else leave --owner out"))
    page = f"https://www.kaggle.com/competitions/{target.competition}"
    try:
        limits = kaggle.limits(target.competition)
    except ServiceError as error:
        findings.append(Finding("ok", f"credential: {kaggle.credential}"))
        known = error.status in (403, 404)
        todo = f"join the competition and accept its rules at {page}" if known else error.todo
        return [*findings, Finding("note" if known else "error", f"{error.doing}: {error.said}", todo)]
    findings.append(Finding("ok", f"credential: {kaggle.credential}; Kaggle accepts it"))
    if limits.allowed_now:
        return [*findings, Finding("ok", str(limits))]
    return [*findings, Finding("note", str(limits), f"join the competition, or wait until after midnight UTC: {page}")]


def _check_client(newest: str) -> list[Finding]:
    pin = re.search(r"^kaggle==(\S+)", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)
    found = f"client: kaggle {CLIENT_VERSION}" + (f" (Kaggle names {newest} as the newest)" if newest else "")
    if pin and pin[1] != CLIENT_VERSION:
        return [Finding("note", f"{found}; this project is tested with {pin[1]}", "make setup")]
    return [Finding("ok", found)]


def _check_names(target: Target) -> list[Finding]:
    try:
        metadata = fill_kernel_metadata(target)
    except (ValueError, OSError) as error:
        return [Finding("error", str(error))]
    faults = find_faults(target)
    asked = [
        f"internet {'on' if metadata['enable_internet'] else 'off'}",
        "private" if metadata["is_private"] else "public",
        f"GPU {'on' if metadata.get('enable_gpu') else 'off'}",
        f"machine {metadata.get('machine_shape') or 'as Kaggle chooses'}",
        f"image {metadata.get('docker_image') or metadata.get('docker_image_pinning_type') or 'as Kaggle chooses'}",
    ]
    sources = ", ".join(source for kind in SOURCES for source in metadata[kind])
    names = f"data set {target.dataset_ref}, kernel {target.kernel_ref}, competition {target.competition}"
    return [
        *(Finding("error", wrong, fix) for wrong, fix in faults),
        Finding("ok", f"names: {names}"),
        Finding("ok", f"the kernel asks for: {', '.join(asked)}; it is given {sources}"),
    ]


def _check_bundle(dist: Path, target: Target) -> list[Finding]:
    folder = target.job.folder(dist)
    try:
        manifest = read_manifest(folder / "dataset")
    except (ValueError, OSError) as error:
        return [Finding("note", str(error))]
    size = sum(int(file["size"]) for file in manifest["files"])
    tree = str(manifest["tree_sha256"])
    findings = [Finding("ok", f"bundle: {len(manifest['files'])} files, {size / 1e6:.1f} MB, tree {tree[:16]}")]
    if size > LARGEST_DATASET:
        found = f"Kaggle takes at most {LARGEST_DATASET / 1e9:.0f} GB as one data set"
        findings.append(Finding("error", found, "bundle fewer weights"))
    if manifest.get("dirty"):
        found = "the bundle was built with changes that are not committed"
        findings.append(Finding("note", found, "commit, then push"))
    known = read_record(folder).get("dataset", {})
    if known.get("ref") == target.dataset_ref and known.get("tree_sha256") != tree:
        findings.append(Finding("note", f"version {known.get('version')} on Kaggle holds another bundle", "make push"))
    return findings


def doctor(
    connect: Callable[[], Kaggle], target_of: Callable[[str], Target], dist: Path
) -> tuple[dict[str, Any], list[str], int]:
    """Examine; return (for scripts, lines for people, exit status)."""
    findings = examine(connect, target_of, dist)
    bad = any(finding.level == "error" for finding in findings)
    return {"findings": [asdict(finding) for finding in findings]}, [str(finding) for finding in findings], int(bad)
