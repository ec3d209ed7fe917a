"""What Kaggle is told about a data set: its names, its visibility, its manifest, and the rules they must meet."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from pathlib import Path
from typing import Any

from kernel.main import BUNDLE_NAME as DATASET_SLUG

MANIFEST, DATASET_METADATA = "manifest.json", "dataset-metadata.json"
FORMAT = "hms-bundle/"
"""How the format of every manifest of this project begins, whatever its version."""
CODE_SLUG, CODE_FORMAT = "hms-scalogram-code", f"{FORMAT}code-1"
"""The data set of the jobs that train and report; their pushed files, which import nothing of ours, repeat both."""
SUBTITLES = {CODE_SLUG: "Code that trains EEG classifiers and reports on their data"}
SLUG = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
SLUG_LETTERS = "lower-case letters, digits and single hyphens"
GIVE_OWNER = "give your user name on Kaggle with --owner"
OWNER = re.compile(r"[a-z0-9]+(?:[-_]?[a-z0-9]+)*", re.IGNORECASE)


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


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe_file(folder: Path, name: str) -> dict[str, Any]:
    """Return a file's entry in the manifest."""
    return {"path": name, "size": (folder / name).stat().st_size, "sha256": hash_file(folder / name)}


def hash_tree(files: list[dict[str, Any]]) -> str:
    """Return the one SHA-256 that stands for all files, by their entries in the manifest in any order."""
    tree = "".join(sorted(f"{entry['path']} {entry['sha256']}\n" for entry in files))
    return hashlib.sha256(tree.encode()).hexdigest()


def write_manifest(
    folder: Path, format_: str, files: list[dict[str, Any]], owner: str | None, slug: str, **about: Any
) -> dict[str, Any]:
    """Write `manifest.json`, which is returned, and `dataset-metadata.json` into a data set's folder."""
    manifest = {"format": format_, "tree_sha256": hash_tree(files), **about, "files": files}
    for name, content in ((MANIFEST, manifest), (DATASET_METADATA, dataset_metadata(owner, slug))):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")
    return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a built data set."""
    path = folder / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: build the bundle with `python build.py bundle`")
    try:
        return check_manifest(path.read_bytes(), str(path))
    except ValueError as error:
        raise ValueError(f"{error}: build the bundle again with `python build.py bundle`") from None


def check_manifest(content: bytes, source: str) -> dict[str, Any]:
    """Return the manifest in `content`; a ValueError says what about it is not ours."""
    try:
        manifest = json.loads(content)
    except ValueError as error:
        raise ValueError(f"{source} is not JSON ({error})") from None
    known = manifest if isinstance(manifest, dict) else {}
    missing = [key for key in ("format", "tree_sha256", "files") if key not in known]
    if missing:
        raise ValueError(f"{source} is not a manifest of this project: it lacks {', '.join(missing)}")
    if not str(manifest["format"]).startswith(FORMAT):
        raise ValueError(f"{source} is a manifest of another project: its format is {manifest['format']!r}")
    return manifest


def find_dataset_faults(metadata: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what Kaggle would refuse in a data set's metadata, as (what is wrong, how to fix it)."""
    owner, _, slug = str(metadata.get("id", "")).partition("/")
    title, subtitle = str(metadata.get("title", "")), metadata.get("subtitle")
    no_slug = not SLUG.fullmatch(slug) or not 6 <= len(slug) <= 50
    no_subtitle = subtitle is not None and not 20 <= len(str(subtitle)) <= 80
    fix = "fix it in dataset_builder/metadata.py"
    checks = (
        (not OWNER.fullmatch(owner) or owner == "OWNER", f"the data set's owner is {owner!r}", GIVE_OWNER),
        (no_slug, f"the data set's slug {slug!r} is not 6 to 50 {SLUG_LETTERS}", "choose another with --dataset"),
        (not 6 <= len(title) <= 50, f"the title {title!r} is not 6 to 50 characters", "choose another --dataset slug"),
        (no_subtitle, "the data set's subtitle is not 20 to 80 characters long", fix),
        (len(metadata.get("licenses", [])) != 1, "the data set needs exactly one licence", fix),
    )
    return [(wrong, how) for broken, wrong, how in checks if broken]
