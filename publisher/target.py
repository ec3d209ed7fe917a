"""Where a job goes on Kaggle, and what Kaggle is told about its kernel: names, visibility, sources, and their rules."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataset_builder.metadata import (
    GIVE_OWNER,
    OWNER,
    SLUG,
    SLUG_LETTERS,
    dataset_metadata,
    find_dataset_faults,
    make_slug,
    make_title,
)
from publisher.service.client import CODE_PAGE
from rehearsal.job import ROOT, Job

RETIRED = frozenset({"nvidiateslap100", "tpuv38", "tpu1vmv38", "tpuv232", "tpuv2256"})
"""Machines that Kaggle no longer has and replaces without a word, in lower case."""

TAKEN = {
    *("id", "id_no", "title", "code_file", "language", "kernel_type", "is_private", "enable_gpu", "enable_tpu"),
    *("enable_internet", "machine_shape", "dataset_sources", "competition_sources", "kernel_sources", "model_sources"),
    *("keywords", "docker_image", "docker_image_pinning_type"),
}
"""The keys of `kernel-metadata.json` that the official client sends on."""

SOURCES = {"dataset_sources": 2, "competition_sources": 1, "kernel_sources": 2, "model_sources": 5}
"""What a kernel is given, and of how many parts each name is made: `owner/slug`, `slug`, or a model's
`owner/model/framework/variation/version`."""

KNOWN = {"language": ("python",), "kernel_type": ("script",), "docker_image_pinning_type": ("original", "latest", None)}
"""What we can make use of, by key."""

Fault = tuple[str, str]
"""What is wrong, and how to fix it."""


@dataclass(frozen=True)
class Target:
    """One job's place on Kaggle, the owner's name and the slugs, and its folder here."""

    job: Job
    owner: str
    dataset: str
    kernel: str
    competition: str
    dist: Path
    after: str = ""
    """The kernel of ours whose output is attached, for the run to go on with; empty for none."""

    @property
    def folder(self) -> Path:
        """The job's own folder: its data set, its record, its outputs."""
        return self.job.folder(self.dist)

    @property
    def dataset_ref(self) -> str:
        """The data set with the job's code as `owner/slug`."""
        return f"{self.owner}/{self.dataset}"

    @property
    def kernel_ref(self) -> str:
        """The kernel as `owner/slug`."""
        return f"{self.owner}/{self.kernel}"

    @property
    def kernel_page(self) -> str:
        """Where the kernel's versions and runs are shown."""
        return f"{CODE_PAGE}/{self.kernel_ref}"

    @property
    def competition_page(self) -> str:
        """Where the competition can be joined; `/rules` and `/submissions` are below it."""
        return f"https://www.kaggle.com/competitions/{self.competition}"


def aim(
    job: Job, owner: str, *, dataset: str = "", kernel: str = "", competition: str = "", dist: Path = ROOT / "dist"
) -> Target:
    """Return where a job goes: as its metadata say, but for what is given."""
    metadata = job.read_metadata()
    kernel = kernel or str(metadata.get("id", "")).rpartition("/")[2]
    competition = competition or (metadata.get("competition_sources") or [""])[0]
    return Target(job, owner, dataset or job.slug, kernel, competition, dist)


def fill_kernel_metadata(target: Target) -> dict[str, Any]:
    """Return the kernel's metadata for one target, with the code file beside it and the safe choices written out."""
    filled = target.job.read_metadata()
    title = str(filled.get("title", ""))
    filled["id"] = target.kernel_ref
    filled["title"] = title if make_slug(title) == target.kernel else make_title(target.kernel)
    filled["code_file"] = Path(str(filled.get("code_file", "main.py"))).name
    code = f"OWNER/{target.job.slug}"
    for name in SOURCES:
        filled[name] = [
            target.dataset_ref if source == code else re.sub("^OWNER/", f"{target.owner}/", source)
            for source in filled.get(name) or []
        ]
    if target.dataset_ref not in filled["dataset_sources"]:
        filled["dataset_sources"].insert(0, target.dataset_ref)
    if target.after:
        filled["kernel_sources"].append(f"{target.owner}/{target.after}")
    filled["competition_sources"] = [target.competition, *filled["competition_sources"][1:]]
    # Both choices are always written: Kaggle's own client sends true for an `enable_internet` that is left out.
    filled.setdefault("is_private", True)
    filled.setdefault("enable_internet", False)
    return filled


def find_faults(target: Target) -> list[Fault]:
    """Return what Kaggle would refuse or silently change in a target's data set and kernel."""
    faults = find_dataset_faults(dataset_metadata(target.owner, target.dataset))
    return faults + find_kernel_faults(fill_kernel_metadata(target), target.job.metadata.name)


def find_kernel_faults(metadata: dict[str, Any], name: str = "kernel-metadata.json") -> list[Fault]:
    """Return what Kaggle would refuse or silently change in a kernel's metadata."""
    owner, _, slug = str(metadata.get("id", "")).partition("/")
    title, shape = str(metadata.get("title", "")), str(metadata.get("machine_shape", ""))
    made, unknown = make_slug(title), sorted(metadata.keys() - TAKEN)
    no_slug, internet = not SLUG.fullmatch(slug) or len(slug) < 5, metadata.get("enable_internet", True)
    fix = f"fix {name}"
    checks = [
        (not OWNER.fullmatch(owner) or owner == "OWNER", f"the kernel's owner is {owner!r}", GIVE_OWNER),
        (no_slug, f"the kernel's slug {slug!r} is not at least 5 {SLUG_LETTERS}", "choose another with --kernel"),
        (len(title) < 5, f"the kernel's title {title!r} is shorter than 5 characters", fix),
        (len(title) >= 5 and made != slug, f"Kaggle would name a kernel titled {title!r} {made!r}, not {slug!r}", fix),
        (internet is not False, "the kernel asks for the internet: the competition refuses such a submission", fix),
        (metadata.get("is_private", True) is not True, "the kernel would be public", fix),
        (shape.lower() in RETIRED, f"Kaggle has retired the machine {shape}", f"{fix}: NvidiaTeslaT4 is two T4"),
        (bool(unknown), f"Kaggle ignores {', '.join(unknown)} without a word", f"remove it from {name}"),
    ]
    for kind, parts in SOURCES.items():
        for source in metadata.get(kind, []):
            names = source.split("/")
            wrong = f"{source!r} in {kind} is not made of {parts} names with '/' between"
            checks.append((len(names) != parts or not all(names), wrong, fix))
            same = kind == "dataset_sources" and names[-1] == slug
            wrong, how = f"kernel and data set share the slug {slug!r}", "choose another with --kernel or --dataset"
            checks.append((same, wrong, how))
    for key in ("is_private", "enable_gpu", "enable_tpu", "enable_internet"):
        value = metadata.get(key, False)
        checks.append((not isinstance(value, bool), f"{key} is {value!r}, where Kaggle wants true or false", fix))
    for key, known in KNOWN.items():
        value = metadata.get(key)
        checks.append((value not in known, f"{key} is {value!r}, expected {known[0]!r}", fix))
    return [(wrong, how) for broken, wrong, how in checks if broken]
