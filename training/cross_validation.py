"""Trains a model's folds, and writes all that belongs beside its weights (`training.trained`).

A finished fold is not trained again; an interrupted one goes on.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from cache.cache import Cache
from kernel.constants import VOTES
from kernel.model import ModelConfig, calibrate, read_model_config, write_config, write_weights
from training.cached import CachedWindows
from training.calibration import fit_calibration
from training.evaluation import PREDICTED, describe_table, write_curves
from training.fitting import Progress, fit_fold, predict_windows
from training.folds import assign_folds
from training.recipe import Recipe
from training.trained import (
    METRICS,
    OUT_OF_FOLD,
    UNFINISHED,
    hash_file,
    read_metrics,
    write_folds,
    write_metrics,
    write_out_of_fold,
)
from training.windows import MANY_VOTES, Draw, DrawnWindows, FolderWindows, WindowSource, read_rows

VALIDATION_START = 1 << 40
"""Index of the first window drawn for validation: training never gets that far."""


class Data(Protocol):
    """What a model is trained on, before it is cut into folds."""

    @property
    def description(self) -> str:
        """Return what `metrics.json` says of the data."""

    def write_folds(self, recipe: Recipe, model: Path) -> None:
        """Write which recording is in which fold, where there are recordings (`training.trained`)."""

    def split(self, fold: int, recipe: Recipe) -> tuple[WindowSource, WindowSource, pd.DataFrame]:
        """Return the windows to train on, those to validate on, and which rows the latter are."""


@dataclass(frozen=True)
class FolderData:
    """A folder in the competition's layout."""

    folder: Path
    caches: tuple[Cache, ...] = ()
    """Where each input of the model is stored (`training.cached.find_caches`); none to compute them."""

    @property
    def description(self) -> str:
        """Return what `metrics.json` says of the data."""
        return f"folder {self.folder.resolve().name}"

    def write_folds(self, recipe: Recipe, model: Path) -> None:
        """Write which recording is in which fold."""
        rows = read_rows(self.folder)
        write_folds(rows, assign_folds(rows, recipe.folds, recipe.seed), model)

    def split(self, fold: int, recipe: Recipe) -> tuple[WindowSource, WindowSource, pd.DataFrame]:
        """Train on all rows of the other folds' patients; validate on the rows of this fold's with many votes."""
        rows = read_rows(self.folder)
        folds = assign_folds(rows, recipe.folds, recipe.seed)
        held_out = rows[(folds == fold) & (rows["n_votes"] >= MANY_VOTES)]
        if held_out.empty:
            raise ValueError(
                f"{self.folder / 'train.csv'}: fold {fold} has no row with at least {MANY_VOTES} votes to validate on; "
                "lower recipe.folds or add data"
            )
        if recipe.validation_windows is not None and len(held_out) > recipe.validation_windows:
            held_out = held_out.sample(recipe.validation_windows, random_state=recipe.seed).sort_index()
        training = FolderWindows(rows[folds != fold], recipe.seed, 0 if self.caches else recipe.shift_seconds)
        validation = FolderWindows(held_out)
        if self.caches:
            return CachedWindows(training, self.caches), CachedWindows(validation, self.caches), held_out
        return training, validation, held_out


@dataclass(frozen=True)
class DrawnData:
    """Windows drawn on the fly; every window is a patient of its own."""

    draw: Draw
    windows: int
    name: str

    @property
    def description(self) -> str:
        """Return what `metrics.json` says of the data."""
        return f"{self.windows} windows an epoch, drawn from {self.name}"

    def write_folds(self, recipe: Recipe, model: Path) -> None:
        """Write nothing: no window is in two folds."""

    def split(self, fold: int, recipe: Recipe) -> tuple[WindowSource, WindowSource, pd.DataFrame]:
        """Give each fold windows of its own, to train on and to validate on."""
        n_validation = recipe.validation_windows or max(recipe.batch_size, self.windows // recipe.folds)
        first = VALIDATION_START + fold * n_validation
        training = DrawnWindows(self.draw, self.windows, first=fold * (VALIDATION_START // recipe.folds))
        validation = DrawnWindows(self.draw, n_validation, first=first, many=True, fresh=False)
        numbers = np.arange(first, first + n_validation)
        return training, validation, pd.DataFrame({"eeg_id": numbers, "patient_id": numbers})


def train_model(
    config: ModelConfig,
    recipe: Recipe,
    data: Data,
    folds: list[int],
    out: Path,
    *,
    start_from: Path | None = None,
    backbone: Path | None = None,
) -> dict[str, Any]:
    """Train some folds of a model and return the content of `metrics.json`.

    `start_from` is a folder with the same model's folds, or one weights file; `backbone` a local file for the
    EfficientNet inside.

    Raises
    ------
    ValueError
        If the folder holds folds of another configuration or recipe, or a fold's number is out of range.
    """
    wrong = [fold for fold in folds if not 0 <= fold < recipe.folds]
    if wrong:
        raise ValueError(f"fold {wrong[0]}: the recipe has folds 0 to {recipe.folds - 1}")
    out.mkdir(parents=True, exist_ok=True)
    metrics = _go_on(out, config, recipe, data.description)
    if not metrics["folds"]:
        write_config(config, out / "config.json")
    data.write_folds(recipe, out)
    for fold in folds:
        weights = out / f"fold_{fold}.weights.h5"
        if weights.is_file() and str(fold) in metrics["folds"]:
            print(f"{weights}: finished before; remove it to train it again")
            continue
        started = time.monotonic()
        training, validation, rows = data.split(fold, recipe)
        state = out / UNFINISHED / f"fold_{fold}"
        first = start_from / weights.name if start_from is not None and start_from.is_dir() else start_from
        label = f"{out.name} fold {fold}"
        seeded = replace(recipe, seed=recipe.seed + fold)
        model, progress = fit_fold(
            config, seeded, training, validation, state, start_from=first, backbone=backbone, label=label
        )
        write_weights(model, weights)
        shares, probabilities = predict_windows(model, config, validation, recipe.batch_size)
        write_out_of_fold(out, rows, fold, shares, probabilities)
        described = _describe_fold(progress, len(training), len(rows), time.monotonic() - started)
        metrics["folds"][str(fold)] = {**described, "sha256": hash_file(weights)}
        _finish(out, config, metrics)
        shutil.rmtree(state)
        if not any(state.parent.iterdir()):
            state.parent.rmdir()
    return metrics


def _describe_fold(progress: Progress, n_training: int, n_validation: int, seconds: float) -> dict[str, Any]:
    best = min(range(len(progress.history)), key=lambda i: progress.history[i]["kl"])
    return {
        "kl": progress.history[best]["kl"],
        "best_epoch": best + 1,
        "training_windows": n_training,
        "validation_windows": n_validation,
        "seconds": round(seconds),
        "history": progress.history,
    }


def _finish(out: Path, config: ModelConfig, metrics: dict[str, Any]) -> None:
    """Write what sums up all folds so far: calibration, scores, curves."""
    frame = pd.read_csv(out / OUT_OF_FOLD)
    frame = frame[frame["fold"].astype(str).isin(metrics["folds"])]
    found = frame[list(PREDICTED)].to_numpy()
    calibrated = fit_calibration(frame[list(VOTES)].to_numpy(), found, config)
    write_config(calibrated, out / "config.json")
    frame[list(PREDICTED)] = calibrate(found, calibrated)
    metrics["out_of_fold"] = describe_table(frame)
    write_metrics(metrics, out)
    write_curves(metrics["folds"], out / "curves.png")


def _go_on(out: Path, config: ModelConfig, recipe: Recipe, data: str) -> dict[str, Any]:
    """Return the metrics of folds trained before, once they are known to be of the same model and recipe."""
    wanted = json.loads(json.dumps(recipe.to_json()))
    if not (out / METRICS).is_file():
        return {"recipe": wanted, "data": data, "folds": {}, "out_of_fold": {}}
    found = read_metrics(out)
    different = [name for name, value in wanted.items() if found["recipe"].get(name) != value]
    old, new = read_model_config(out / "config.json").to_json(), config.to_json()
    different += [f"model.{name}" for name in ("network", "inputs", "options") if old[name] != new[name]]
    if found["data"] != data:
        different.append(f"data ({found['data']})")
    if different:
        raise ValueError(
            f"{out}: holds folds trained with other values of {', '.join(different)}; choose another --out, or remove "
            "it first"
        )
    return found
