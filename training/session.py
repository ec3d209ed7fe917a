"""What a run of the training's kernel leaves in its working folder, for the next run and for the weights' user.

config.json, fold_k.weights.h5, metrics.json, out_of_fold.csv, folds.csv, curves.png
                a model's folder (`training.trained`); a fold under way is there with its best epoch
checkpoint/     the states of folds under way, from which the next run goes on to the same weights
check.npz       one window's channels, and what each fold answers to it
session.json    the request, whether all is done, what comes next, the hash of each file; written last

The next run gets this folder as a notebook's output, and does not repeat what is done.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from kernel.files import replacing
from kernel.main import find_folders
from kernel.model import ModelConfig, fold_files
from training.folds import choose_folds
from training.recipe import Recipe, read_recipe
from training.trained import (
    UNFINISHED,
    TrainedModel,
    answer_window,
    fold_number,
    hash_file,
    read_fields,
    verify_model,
)

SESSION, CHECKPOINT, CHECK = "session.json", "checkpoint", "check.npz"
LONGEST = 11.5
"""Hours of Kaggle's twelve that may be asked for: the end needs its time too."""
DEPTH = 7
"""Of what is mounted: `models/OWNER/MODEL/FRAMEWORK/VARIATION/VERSION`, and one folder inside."""


@dataclass(frozen=True)
class Request:
    """What a run is asked for."""

    model: str
    fold: str = "all"
    changes: list[str] = dataclasses.field(default_factory=list)
    hours: float = 11.0
    device: str = "gpu"
    backbone: str = "imagenet"

    def read(self) -> tuple[ModelConfig, Recipe, list[int]]:
        """Return configuration, recipe and folds: on GPUs in mixed precision, unless a change says otherwise."""
        config, recipe = read_recipe(self.model, self.changes)
        if self.device == "gpu" and not any(change.startswith("recipe.precision=") for change in self.changes):
            recipe = replace(recipe, precision="mixed_float16")
        if not 0 < self.hours <= LONGEST:
            raise ValueError(f"--hours {self.hours:g}: a run may take up to {LONGEST:g} hours; Kaggle ends it after 12")
        return config, recipe, choose_folds(self.fold, range(recipe.folds))


def find_runs(root: Path, request: Request) -> list[tuple[Path, dict[str, Any]]]:
    """Return the outputs of earlier runs below `root` that trained the same, the one that got furthest first.

    Kaggle has changed over the years where it mounts a notebook's output, so they are known by their files. All of a
    request but the time and the folds decides the numbers.
    """
    found = []
    for folder in find_folders(root, DEPTH):
        try:
            session = json.loads((folder / SESSION).read_text())
            if all(
                session["request"].get(n) == getattr(request, n) for n in ("model", "changes", "device", "backbone")
            ):
                found.append((folder, session))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # no such file, or not a session's
    return sorted(found, key=lambda run: run[1]["epochs"], reverse=True)


def take_over(request: Request, mounts: Path, working: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Copy what an earlier run left into the working folder; return its record, empty where there is none."""
    for folder, session in find_runs(mounts, request):
        try:
            _check_files(folder, session)
        except ValueError as problem:
            say(f"note: an earlier run's output is not used: {problem}")
            continue
        for name in session["files"]:
            target = working / (name.replace(CHECKPOINT, UNFINISHED, 1) if name.startswith(f"{CHECKPOINT}/") else name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, target)
        say(f"going on after {session['epochs']} of {session['of_epochs']} epochs of the run in {folder}")
        return session
    return {}


def _check_files(folder: Path, session: dict[str, Any]) -> None:
    """Compare a run's files with the hashes in its record."""
    for name, sha256 in session["files"].items():
        path = folder / name
        if not path.is_file():
            raise ValueError(f"{path}: missing; {SESSION} names it")
        if hash_file(path) != sha256:
            raise ValueError(f"{path}: damaged, its sha256 differs from {SESSION}")


def write_check(working: Path, channels: np.ndarray) -> None:
    """Write one window's channels and what each fold's weights, as they lie on disk, answer to it."""
    answers = answer_window(working, channels)
    with replacing(working / CHECK) as part, part.open("wb") as file:
        folds = [fold_number(one) for one in fold_files(working)]
        np.savez_compressed(file, channels=channels, answers=answers, folds=folds)


def write_session(working: Path, record: dict[str, Any]) -> None:
    """Write a run's record, with the hash of every file, and give the states of folds under way a visible name."""
    if (working / UNFINISHED).is_dir():
        (working / UNFINISHED).rename(working / CHECKPOINT)
    names = sorted(path.relative_to(working).as_posix() for path in working.rglob("*") if path.is_file())
    kept = [name for name in names if name not in (SESSION, "kernel.log") and not Path(name).name.startswith(".")]
    with replacing(working / SESSION) as part:
        content = {**record, "files": {name: hash_file(working / name) for name in kept}}
        part.write_text(json.dumps(content, indent=1) + "\n")


def read_session(folder: Path) -> dict[str, Any]:
    """Read `session.json`; it is a FileNotFoundError where it is missing, a ValueError where it is damaged."""
    fields = {"complete", "next", "request", "files", "epochs", "of_epochs"}
    return read_fields(folder / SESSION, fields, "the record of a run")


def verify_session(folder: Path) -> TrainedModel:
    """Verify what a complete run left: the files' hashes, the model, and its answers to the stored window.

    It is a FileNotFoundError or a ValueError if a file is missing or damaged, the run is not complete, or this code
    answers otherwise than the kernel did.
    """
    session = read_session(folder)
    if not session["complete"]:
        raise ValueError(
            f"{folder}: the run did {session['epochs']} of {session['of_epochs']} epochs; push the training again"
        )
    _check_files(folder, session)
    model = verify_model(folder)
    with np.load(folder / CHECK) as check:
        expected, found = check["answers"], answer_window(folder, check["channels"])
    if expected.shape != found.shape or not np.allclose(expected, found, rtol=0, atol=1e-4):
        off = float(np.abs(expected - found).max()) if expected.shape == found.shape else float("inf")
        raise ValueError(
            f"{folder / CHECK}: this code answers the stored window otherwise than the kernel, by up to {off:.2g}: it "
            "was trained with other code; pull with the checkout that was pushed"
        )
    return model
