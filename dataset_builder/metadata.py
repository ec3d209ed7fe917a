"""What Kaggle is told about data set and kernel: names, titles, visibility, sources, and the rules they must meet.

`dataset_builder.bundle` writes the data set's part beside the bundle, `publisher` fills the kernel's part in at the
moment of the push, and `build.py doctor` shows what breaks a rule, each with its mend.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernel.constants import COMPETITION

ROOT = Path(__file__).resolve().parent.parent
KERNEL_TEMPLATE = ROOT / "kernel-metadata.json"

DATASET_SLUG = "hms-scalogram-bundle"
CACHE_SLUG = "hms-scalogram-cache"
KERNEL_SLUG = "hms-scalogram-inference"
SUBTITLES = {CACHE_SLUG: "Inputs of labelled EEG windows, computed once for all networks"}
SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
OWNER = re.compile(r"[a-z0-9]+(?:[-_]?[a-z0-9]+)*", re.IGNORECASE)


@dataclass(frozen=True)
class Target:
    """Where things go on Kaggle: the owner's name and the slugs of data set, kernel and competition."""

    owner: str
    dataset: str = DATASET_SLUG
    kernel: str = KERNEL_SLUG
    competition: str = COMPETITION

    @property
    def dataset_ref(self) -> str:
        """The data set as `owner/slug`."""
        return f"{self.owner}/{self.dataset}"

    @property
    def kernel_ref(self) -> str:
        """The kernel as `owner/slug`."""
        return f"{self.owner}/{self.kernel}"


def make_slug(title: str) -> str:
    """Return the slug that Kaggle derives from a title."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def make_title(slug: str) -> str:
    """Return a title from which Kaggle derives exactly this slug."""
    words = slug.replace("-", " ")
    return words[:1].upper() + words[1:]


def dataset_metadata(owner: str | None, slug: str = DATASET_SLUG) -> dict[str, Any]:
    """Return the content of `dataset-metadata.json`; without an owner the id carries a placeholder."""
    return {
        "id": f"{owner or 'OWNER'}/{slug}",
        "title": make_title(slug),
        "subtitle": SUBTITLES.get(slug, "Code, weights and wheels of an offline EEG classification kernel"),
        "licenses": [{"name": "other"}],
        "isPrivate": True,
    }


def hash_tree(files: list[dict[str, Any]]) -> str:
    """Return the sha256 over all paths and hashes: one name for the bundle's content."""
    lines = sorted(f"{entry['path']} {entry['sha256']}\n" for entry in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def read_kernel_template(path: Path = KERNEL_TEMPLATE) -> dict[str, Any]:
    """Read the kernel's metadata as it stands in the repository."""
    try:
        template = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path} is missing: it says what the kernel asks of Kaggle; restore it from git"
        ) from None
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}): mend it, or restore it from git") from None
    if not isinstance(template, dict):
        raise ValueError(f"{path} must hold a JSON object, found {type(template).__name__}")
    return template


def fill_kernel_metadata(target: Target, template: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the kernel's metadata for one target, with the code file beside it and the safe choices written out."""
    filled = dict(read_kernel_template() if template is None else template)
    title = str(filled.get("title", ""))
    filled["id"] = target.kernel_ref
    filled["title"] = title if make_slug(title) == target.kernel else make_title(target.kernel)
    filled["code_file"] = Path(str(filled.get("code_file", "kernel/main.py"))).name
    filled["dataset_sources"] = [target.dataset_ref]
    filled["competition_sources"] = [target.competition]
    # The client sends true for an `enable_internet` that is left out: both choices are always written.
    filled.setdefault("is_private", True)
    filled.setdefault("enable_internet", False)
    return filled


def find_dataset_faults(metadata: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what Kaggle would refuse in a data set's metadata, as (what is wrong, how to mend it)."""
    faults = []
    owner, _, slug = str(metadata.get("id", "")).partition("/")
    title, subtitle = str(metadata.get("title", "")), metadata.get("subtitle")
    if not OWNER.fullmatch(owner) or owner == "OWNER":
        faults.append((f"the data set's owner is {owner!r}", "give your user name on Kaggle with --owner"))
    if not SLUG.fullmatch(slug) or not 6 <= len(slug) <= 50:
        faults.append(
            (
                f"the data set's slug {slug!r} is not 6 to 50 lower-case letters, digits and single hyphens",
                "choose another with --dataset",
            )
        )
    if not 6 <= len(title) <= 50:
        faults.append(
            (f"the data set's title {title!r} is not 6 to 50 characters long", "choose another --dataset slug")
        )
    if subtitle is not None and not 20 <= len(str(subtitle)) <= 80:
        faults.append(
            ("the data set's subtitle is not 20 to 80 characters long", "mend it in dataset_builder/metadata.py")
        )
    if len(metadata.get("licenses", [])) != 1:
        faults.append(("the data set needs exactly one licence", "mend it in dataset_builder/metadata.py"))
    return faults


def find_kernel_faults(metadata: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what Kaggle would refuse or silently change in a kernel's metadata, as (what is wrong, the mend)."""
    faults = []
    mend = f"mend {KERNEL_TEMPLATE.name}"
    owner, _, slug = str(metadata.get("id", "")).partition("/")
    title = str(metadata.get("title", ""))
    if not OWNER.fullmatch(owner) or owner == "OWNER":
        faults.append((f"the kernel's owner is {owner!r}", "give your user name on Kaggle with --owner"))
    if not SLUG.fullmatch(slug) or len(slug) < 5:
        faults.append(
            (
                f"the kernel's slug {slug!r} is not at least 5 lower-case letters, digits and single hyphens",
                "choose another with --kernel",
            )
        )
    if len(title) < 5:
        faults.append((f"the kernel's title {title!r} is shorter than 5 characters", mend))
    elif make_slug(title) != slug:
        faults.append((f"Kaggle would name a kernel titled {title!r} {make_slug(title)!r}, not {slug!r}", mend))
    for source in metadata.get("dataset_sources", []):
        if source.partition("/")[2] == slug:
            faults.append((f"kernel and data set share the slug {slug!r}", "choose another with --kernel or --dataset"))
    for name in ("is_private", "enable_gpu", "enable_tpu", "enable_internet"):
        if not isinstance(metadata.get(name, False), bool):
            faults.append((f"{name} is {metadata[name]!r}, where Kaggle wants true or false", mend))
    if metadata.get("enable_internet", True) is not False:
        faults.append(("the kernel asks for the internet: the competition refuses such a submission", mend))
    if metadata.get("is_private", True) is not True:
        faults.append(("the kernel would be public", mend))
    if str(metadata.get("machine_shape", "")).lower() in RETIRED:
        found = f"the kernel asks for {metadata['machine_shape']}, which Kaggle has retired"
        faults.append((found, f"{mend}: NvidiaTeslaT4 is two T4"))
    for name, known in (
        ("language", ("python",)),
        ("kernel_type", ("script",)),
        ("docker_image_pinning_type", ("original", "latest", None)),
    ):
        if metadata.get(name) not in known:
            faults.append((f"{name} is {metadata.get(name)!r}, expected {known[0]!r}", mend))
    unknown = sorted(set(metadata) - KERNEL_KEYS)
    if unknown:
        faults.append((f"Kaggle ignores {', '.join(unknown)} without a word", f"remove it from {KERNEL_TEMPLATE.name}"))
    return faults


RETIRED = frozenset({"nvidiateslap100", "tpuv38", "tpu1vmv38", "tpuv232", "tpuv2256"})
"""Machines that Kaggle no longer has and replaces without a word, in lower case."""

KERNEL_KEYS = {
    *("id", "id_no", "title", "code_file", "language", "kernel_type", "is_private", "enable_gpu", "enable_tpu"),
    *("enable_internet", "machine_shape", "dataset_sources", "competition_sources", "kernel_sources", "model_sources"),
    *("keywords", "docker_image", "docker_image_pinning_type"),
}
"""Every key of `kernel-metadata.json` that the client reads."""
