"""Trains a model's folds, and writes all that belongs beside its weights (`training.trained`).

A finished fold is not trained again; an interrupted one goes on.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from kernel.constants import VOTES
from kernel.model import ModelConfig, calibrate, read_model_config, write_config, write_weights
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
from training.windows import FolderWindows, WindowSource


def train_model(
    config: ModelConfig,
    recipe: Recipe,
    data: WindowSource,
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
    if isinstance(data, FolderWindows):  # of windows that were drawn each is a patient of its own
        write_folds(data.patterns, assign_folds(data.patterns, recipe.folds, recipe.seed), out)
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
