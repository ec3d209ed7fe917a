"""Builds the bundle in `dist/dataset`: `kernel/` and its licence, weights, wheels, and a manifest of their hashes.

Only files of known kinds are taken, and a file that looks like a secret stops the build. Nothing in the bundle depends
on when or where it was built: the same checkout and packages give the same bytes.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dataset_builder.metadata import CODE_FORMAT, CODE_SLUG, DATASET_SLUG, MANIFEST, describe_file, write_manifest
from dataset_builder.wheels import REQUIREMENTS, fetch_wheels, hash_record
from kernel.ensemble import read_model_weights
from kernel.files import replacing_folder
from kernel.main import BUNDLE_FORMAT
from kernel.model import fold_files

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"

CODE_ROOMS = ("kernel", "cache", "simulator", "eda", "training")
"""Whole rooms, so that every import in them can be resolved."""
CODE_TAKEN = ("*.py", "recipes/*.json", "*.html.j2", "*.npz")
"""Of each room: code, recipes, the report's template, the simulator's tables."""
VERSIONED = ("h5py", "keras", "keras-cv", "numpy", "pandas", "pyarrow", "scipy", "tensorflow")

SECRET_NAMES = re.compile(
    r"kaggle\.json|credentials.*|access_token.*|\.env.*|\.netrc|id_(rsa|ed25519|ecdsa).*|.*\.(pem|key|p12|pfx|token)",
    re.IGNORECASE,
)
SECRET_CONTENT = re.compile(
    rb"-----BEGIN [A-Z ]*PRIVATE KEY-----|KGAT_[0-9a-f]{16}|\"key\"\s*:\s*\"[0-9a-f]{32}\"|AKIA[0-9A-Z]{16}|ghp_\w{36}"
)


def build_bundle(out: Path = DIST / "dataset", *, root: Path = ROOT, **options: Any) -> dict[str, Any]:
    """Build the inference's bundle from a checkout, and return its manifest.

    Options and errors are those of `pack`; without weights it is a FileNotFoundError too.
    """
    _refuse_secrets(root, "kernel", "weights")
    taken = [*root.glob("kernel/*.py"), *root.glob("weights/ensemble.json")]
    models = []
    for name, share in read_model_weights(root / "weights").items():
        folder = root / "weights" / name
        taken += [folder / "config.json", *folder.glob("metrics.json"), *fold_files(folder)]
        models.append(_describe_model(folder, share))
    return _pack(out, root, taken, DATASET_SLUG, BUNDLE_FORMAT, models, **options)


def build_code_data_set(out: Path, *, root: Path = ROOT, **options: Any) -> dict[str, Any]:
    """Build the data set of the rooms that train and report, for kernels that run beside the data.

    It is a data set of its own, so that a change to the training leaves the inference's bundle as it is.
    """
    _refuse_secrets(root, *CODE_ROOMS)
    taken = [path for room in CODE_ROOMS for pattern in CODE_TAKEN for path in (root / room).glob(pattern)]
    return _pack(out, root, taken, CODE_SLUG, CODE_FORMAT, [], **options)


def _pack(
    out: Path,
    root: Path,
    taken: list[Path],
    slug: str,
    format_: str,
    models: list[dict[str, Any]],
    *,
    owner: str | None = None,
    wheels: Path = DIST / "wheels",
    requirements: Path = REQUIREMENTS,
) -> dict[str, Any]:
    """Copy files of a checkout, its licence and the wheels into a folder; write and return the manifest.

    What was in the folder is replaced once the new one is complete. Without an owner's name the metadata carry a
    placeholder. `wheels` is where fetched wheels lie, and `requirements` names them.
    """
    sources = {path.relative_to(root).as_posix(): path for path in taken}
    if (root / "LICENSE").is_file():
        sources["kernel/LICENSE"] = root / "LICENSE"
    extra = {}
    for wheel, path in fetch_wheels(wheels, requirements):
        name = f"wheels/{path.name}"
        sources[name], extra[name] = path, {"module": wheel.module, "record_sha256": hash_record(path)}
    with replacing_folder(out, MANIFEST) as part:
        files = []
        for name, source in sorted(sources.items()):
            if SECRET_CONTENT.search(source.read_bytes()):
                raise ValueError(
                    f"{source}: holds what looks like a secret; nothing was built. Take it out of the checkout"
                )
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, part / name)
            files.append(describe_file(part, name) | extra.get(name, {}))
        about = {**_describe_commit(root), "versions": {name: version(name) for name in VERSIONED}, "models": models}
        return write_manifest(part, format_, files, owner, slug, **about)


def _refuse_secrets(root: Path, *folders: str) -> None:
    """Raise if a file below one of a checkout's folders has the name of a secret, be it taken or not."""
    for folder in folders:
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and SECRET_NAMES.fullmatch(path.name):
                raise ValueError(f"{path}: looks like a secret; nothing was built. Move it out of the checkout")


def _describe_commit(root: Path) -> dict[str, Any]:
    """Return the checkout's commit and whether its files differ from it; None for both outside a git checkout."""

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True)
        except FileNotFoundError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    status = git("status", "--porcelain")
    return {"commit": git("rev-parse", "HEAD"), "dirty": None if status is None else bool(status)}


def _describe_model(folder: Path, share: float) -> dict[str, Any]:
    """Return a model's name, share, number of folds and, from its metrics.json, each fold's out-of-fold KL."""
    path = folder / "metrics.json"
    scores = json.loads(path.read_text())["folds"] if path.is_file() else {}
    kl = {fold: score["kl"] for fold, score in scores.items()}
    return {"name": folder.name, "share": round(share, 4), "folds": len(fold_files(folder)), "kl": kl}
