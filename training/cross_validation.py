"""Trains a model's folds and writes all that belongs beside its weights. Called by `build.py train`.

    <out>/<model>/config.json             network, inputs, options, and the calibration that fits the rows out of fold
                    fold_k.weights.h5     best epoch of fold k, float16
                    metrics.json          recipe, data, each epoch of each fold, out-of-fold score
                    out_of_fold.csv       every predicted row, by the fold that did not see its patient, not calibrated
                    curves.png            loss and validation KL
                    .unfinished/          states of folds under way; a finished fold's is removed

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
from kernel.model import ModelConfig, calibrate, read_config, write_config, write_weights
from training.cached import CachedWindows
from training.calibration import fit_calibration
from training.evaluation import PREDICTED, describe, write_curves
from training.fitting import Progress, fit_fold, predict
from training.folds import assign_folds
from training.recipe import Recipe
from training.windows import MANY_VOTES, Draw, DrawnWindows, FolderWindows, WindowSource, read_rows

VALIDATION_START = 1 << 40
"""Index of the first window drawn for validation: training never gets that far."""


class Data(Protocol):
    """What a model is trained on, before it is cut into folds."""

    @property
    def description(self) -> str:
        """Return what `metrics.json` says of the data."""

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
    metrics = _read_metrics(out, config, recipe)
    metrics["data"] = data.description
    write_config(config, out / "config.json")
    for fold in folds:
        weights = out / f"fold_{fold}.weights.h5"
        if weights.is_file() and str(fold) in metrics["folds"]:
            print(f"{weights}: finished before; remove it to train it again")
            continue
        started = time.monotonic()
        training, validation, rows = data.split(fold, recipe)
        state = out / ".unfinished" / f"fold_{fold}"
        first = start_from / weights.name if start_from is not None and start_from.is_dir() else start_from
        label = f"{out.name} fold {fold}"
        seeded = replace(recipe, seed=recipe.seed + fold)
        model, progress = fit_fold(
            config, seeded, training, validation, state, start_from=first, backbone=backbone, label=label
        )
        write_weights(model, weights)
        shares, probabilities = predict(model, config, validation, recipe.batch_size)
        _write_out_of_fold(out / "out_of_fold.csv", rows, fold, shares, probabilities)
        metrics["folds"][str(fold)] = _describe_fold(progress, len(training), len(rows), time.monotonic() - started)
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
    frame = pd.read_csv(out / "out_of_fold.csv")
    frame = frame[frame["fold"].astype(str).isin(metrics["folds"])]
    votes, found = frame[list(VOTES)].to_numpy(), frame[list(PREDICTED)].to_numpy()
    calibrated = fit_calibration(votes, found, config)
    write_config(calibrated, out / "config.json")
    metrics["out_of_fold"] = describe(votes, calibrate(found, calibrated), frame["patient_id"].to_numpy())
    part = out / "metrics.json.part"
    part.write_text(json.dumps(metrics, indent=1) + "\n")
    part.replace(out / "metrics.json")
    write_curves(metrics["folds"], out / "curves.png")


def _read_metrics(out: Path, config: ModelConfig, recipe: Recipe) -> dict[str, Any]:
    """Return the metrics of folds trained before, once they are known to be of the same model and recipe."""
    path = out / "metrics.json"
    fresh: dict[str, Any] = {"recipe": recipe.to_json(), "data": "", "folds": {}, "out_of_fold": {}}
    if not path.is_file():
        return fresh
    found = json.loads(path.read_text())
    wanted = json.loads(json.dumps(fresh["recipe"]))
    different = [name for name, value in wanted.items() if found["recipe"].get(name) != value]
    old, new = read_config(out / "config.json").to_json(), config.to_json()
    different += [f"model.{name}" for name in ("network", "inputs", "options") if old[name] != new[name]]
    if different:
        raise ValueError(
            f"{out}: holds folds trained with another {', '.join(different)}; choose another --out, or remove it first"
        )
    return found


def _write_out_of_fold(
    path: Path, rows: pd.DataFrame, fold: int, shares: np.ndarray, probabilities: np.ndarray
) -> None:
    """Put this fold's rows into the table in place of what it had."""
    table = rows[["eeg_id", "patient_id"]].reset_index(drop=True).assign(fold=fold)
    table[list(VOTES)], table[list(PREDICTED)] = shares, probabilities
    if path.is_file():
        before = pd.read_csv(path)
        table = pd.concat([before[before["fold"] != fold], table]).sort_values("fold", kind="stable")
    part = path.with_name(path.name + ".part")
    table.to_csv(part, index=False, float_format="%.7g")
    part.replace(path)
