"""Runs `build.py` in a process of its own, with a bundle and a rehearsal that take no time; for tests/test_publish*.

Building and rehearsing the real bundle is tested elsewhere. Everything else is the real thing: the command line, the
publisher, the unpatched client, HTTP. The bundle's content is what lies in the folder named by the first argument; a
file `rehearsal-fails` in it makes the rehearsal fail.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def build_bundle(source: Path, out: Path, owner: str) -> None:
    """Copy a folder as a bundle with a manifest."""
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(source, out, ignore=shutil.ignore_patterns("rehearsal-fails"))
    files = []
    for path in sorted(out.rglob("*")):
        if path.is_file():
            name = path.relative_to(out).as_posix()
            files.append(
                {"path": name, "size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
            )
    tree = hashlib.sha256("".join(f"{file['path']} {file['sha256']}\n" for file in files).encode()).hexdigest()
    about = {"commit": "c0ffee" * 6, "dirty": False, "versions": {}, "models": [{"name": "b2"}]}
    manifest = {"format": "hms-bundle/1", "tree_sha256": tree, **about, "files": files}
    (out / "manifest.json").write_text(json.dumps(manifest))
    (out / "dataset-metadata.json").write_text(json.dumps({"id": f"{owner}/x"}))


def main(source: Path, argv: list[str]) -> int:
    """Run one command."""

    def rehearse(*_: Any, **__: Any) -> None:
        if (source / "rehearsal-fails").exists():
            raise ValueError("the rehearsal failed: the kernel wrote no submission.csv")

    quick_bundle, quick_rehearsal = ModuleType("dataset_builder.bundle"), ModuleType("rehearsal.rehearse")
    quick_bundle.build_bundle = lambda out, owner: build_bundle(source, out, owner)  # type: ignore[attr-defined]
    quick_rehearsal.hidden_test = lambda dist, **_: dist / "hidden_test_8_0"  # type: ignore[attr-defined]
    quick_rehearsal.rehearse = rehearse  # type: ignore[attr-defined]
    sys.modules["dataset_builder.bundle"], sys.modules["rehearsal.rehearse"] = quick_bundle, quick_rehearsal
    import build

    return build.main(argv)


def serve(argv: list[str], environment: dict[str, str], folder: str, out: str, err: str) -> None:
    """Run one command in this process, made for it, as if it had been started with this environment."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for path, stream in ((out, sys.stdout), (err, sys.stderr)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream.fileno())
    sys.exit(main(Path(argv[0]), argv[1:]))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
