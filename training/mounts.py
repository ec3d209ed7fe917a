"""Finds what a training's kernel was given, below `/kaggle/input`: an earlier run's output, ImageNet's weights.

Kaggle mounts a notebook's output and a model at paths that have changed over the years, so both are known by their
files, nearest first.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from kernel.main import find_folders

DEPTH = 7
"""`models/OWNER/MODEL/FRAMEWORK/VARIATION/VERSION`, and one folder inside."""
SESSION = "session.json"


def find_runs(root: Path, request: dict[str, Any]) -> list[tuple[Path, dict[str, Any]]]:
    """Return the outputs of earlier runs of the same request, the one that got furthest first."""
    found = []
    for folder in find_folders(root, DEPTH):
        try:
            session = json.loads((folder / SESSION).read_text())
            if same_request(session["request"], request):
                found.append((folder, session))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # no such file, or not a session's
    return sorted(found, key=lambda run: run[1]["epochs"], reverse=True)


def same_request(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether two requests train the same: all but the time and the folds decides the numbers."""
    return all(one.get(name) == other.get(name) for name in ("model", "changes", "device", "backbone"))


def find_presets(root: Path) -> list[Path]:
    """Return the folders of mounted models that hold a preset's weights."""
    return [folder for folder in find_folders(root, DEPTH) if (folder / "model.weights.h5").is_file()]
