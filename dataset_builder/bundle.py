"""Builds the bundle in `dist/dataset`: `kernel/` and its licence, weights, wheels, and a manifest of their hashes.

Only files of known kinds are taken, and a file that looks like a secret stops the build. Nothing in the bundle depends
on when or where it was built: the same checkout and packages give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dataset_builder.metadata import dataset_metadata, hash_tree
from dataset_builder.wheels import REQUIREMENTS, fetch_wheels, hash_record, read_requirements
from kernel.ensemble import read_model_weights
from kernel.files import replacing_folder
from kernel.main import BUNDLE_FORMAT
from kernel.model import fold_files

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"
BUNDLE = DIST / "dataset"
MANIFEST = "manifest.json"

TAKEN = ("kernel/*.py", "weights/ensemble.json", "weights/*/config.json", "weights/*/metrics.json")
VERSIONED = ("h5py", "keras", "keras-cv", "numpy", "pandas", "pyarrow", "scipy", "tensorflow")

SECRET_NAMES = re.compile(
    r"kaggle\.json|credentials.*|access_token.*|\.env.*|\.netrc|id_(rsa|ed25519|ecdsa).*|.*\.(pem|key|p12|pfx|token)",
    re.IGNORECASE,
)
SECRET_CONTENT = re.compile(
    rb"-----BEGIN [A-Z ]*PRIVATE KEY-----|KGAT_[0-9a-f]{16}|\"key\"\s*:\s*\"[0-9a-f]{32}\"|AKIA[0-9A-Z]{16}|ghp_\w{36}"
)


def build_bundle(
    out: Path = BUNDLE,
    *,
    owner: str | None = None,
    root: Path = ROOT,
    wheels: Path = DIST / "wheels",
    requirements: Path = REQUIREMENTS,
) -> dict[str, Any]:
    """Build the bundle and return its manifest.

    Parameters
    ----------
    out : Path
        The folder to write; what was there is replaced once the new bundle is complete.
    owner : str, optional
        The user's name on Kaggle; without one the metadata carry a placeholder.
    root : Path
        The checkout: `kernel/` and `weights/` are taken from it.
    wheels : Path
        Where fetched wheels lie.
    requirements : Path
        The file that names the wheels.

    Returns
    -------
    manifest : dict
        As written to `manifest.json`: format, tree_sha256, commit, dirty, versions, models, files.

    Raises
    ------
    FileNotFoundError
        If there are no weights.
    ValueError
        If a file looks like a secret, a wheel cannot be had, or `out` holds something else than a bundle.
    """
    sources = {path.relative_to(root).as_posix(): path for path in _collect(root)}
    models = describe_models(root / "weights")
    return pack(out, root, sources, BUNDLE_FORMAT, dataset_metadata(owner), models, wheels, requirements)


def pack(
    out: Path,
    root: Path,
    sources: dict[str, Path],
    format_: str,
    metadata: dict[str, Any],
    models: list[dict[str, Any]],
    wheels: Path,
    requirements: Path,
) -> dict[str, Any]:
    """Copy files (name in the data set -> file), the licence and the wheels; write and return the manifest."""
    sources = dict(sources)
    fetched = fetch_wheels(wheels, requirements)
    modules = {wheel.filename: wheel.module for wheel in read_requirements(requirements)}
    if (root / "LICENSE").is_file():
        sources["kernel/LICENSE"] = root / "LICENSE"
    sources |= {f"wheels/{path.name}": path for path in fetched}
    with replacing_folder(out, MANIFEST) as part:
        files = [_copy_file(source, part, name, modules) for name, source in sorted(sources.items())]
        manifest = {
            "format": format_,
            "tree_sha256": hash_tree(files),
            **describe_commit(root),
            "versions": {name: version(name) for name in VERSIONED},
            "models": models,
            "files": files,
        }
        (part / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
        (part / "dataset-metadata.json").write_text(json.dumps(metadata, indent=2) + "\n")
    return manifest


def _copy_file(source: Path, folder: Path, name: str, modules: dict[str, str]) -> dict[str, Any]:
    """Copy one file into the bundle and return its entry in the manifest."""
    content = source.read_bytes()
    if SECRET_CONTENT.search(content):
        raise ValueError(f"{source}: holds what looks like a secret; nothing was built. Take it out of the checkout")
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    entry: dict[str, Any] = {"path": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    if name.startswith("wheels/"):
        entry |= {"module": modules[source.name], "record_sha256": hash_record(source)}
    return entry


def _collect(root: Path) -> list[Path]:
    """Return the files to take from the checkout, after a look at everything that lies beside them."""
    refuse_secrets(root, "kernel", "weights")
    weights = [file for name in read_model_weights(root / "weights") for file in fold_files(root / "weights" / name)]
    folders = {file.parent for file in weights}
    taken = [path for pattern in TAKEN for path in root.glob(pattern)]
    return [path for path in taken if path.parent.parent != root / "weights" or path.parent in folders] + weights


def refuse_secrets(root: Path, *folders: str) -> None:
    """Raise if a file below one of a checkout's folders has the name of a secret, be it taken or not."""
    for folder in folders:
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and SECRET_NAMES.fullmatch(path.name):
                raise ValueError(f"{path}: looks like a secret; nothing was built. Move it out of the checkout")


def describe_commit(root: Path) -> dict[str, Any]:
    """Return the checkout's commit and whether its files differ from it; None for both outside a git checkout."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True)
        except FileNotFoundError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    status = git("status", "--porcelain")
    return {"commit": git("rev-parse", "HEAD"), "dirty": None if status is None else bool(status)}


def describe_models(weights: Path) -> list[dict[str, Any]]:
    """Return each model's name, share, number of folds and, from its metrics.json, each fold's out-of-fold KL."""
    models = []
    for name, share in read_model_weights(weights).items():
        path = weights / name / "metrics.json"
        scores = json.loads(path.read_text())["folds"] if path.is_file() else {}
        kl = {fold: score["kl"] for fold, score in scores.items()}
        folds = len(fold_files(weights / name))
        models.append({"name": name, "share": round(share, 4), "folds": folds, "kl": kl})
    return models
