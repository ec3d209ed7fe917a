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
from kernel.model import ModelConfig, calibrate, load_model, read_model_config, write_config, write_weights
from training.batches import predict_windows
from training.blending import fit_calibration
from training.budget import Budget
from training.evaluation import PREDICTED, describe_table, write_curves
from training.fitting import fit_fold
from training.recipe import Recipe
from training.state import BEST, Progress, read_progress
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
from training.windows import WindowSource


def train_model(
    config: ModelConfig,
    recipe: Recipe,
    data: WindowSource,
    folds: list[int],
    out: Path,
    *,
    start_from: Path | None = None,
    backbone: Path | None = None,
    budget: Budget | None = None,
    label: str = "",
) -> dict[str, Any]:
    """Train some folds of a model and return the content of `metrics.json`.

    `start_from` is a folder with the same model's folds, or one weights file; `backbone` a local file for the
    EfficientNet inside; `budget` the time that all of it may take, which ends in OutOfTime; `label` what the log calls
    it [the folder]. A folder that holds folds of another configuration or recipe is a ValueError.
    """
    out.mkdir(parents=True, exist_ok=True)
    metrics = _go_on(out, config, recipe, data.description)
    if not metrics["folds"]:
        write_config(config, out / "config.json")
    if (assigned := data.assign_folds(recipe)) is not None:
        write_folds(assigned, out)
    for fold in folds:
        weights = out / f"fold_{fold}.weights.h5"
        if weights.is_file() and is_finished(metrics, fold):
            print(f"{weights}: finished before; remove it to train it again")
            continue
        started = time.monotonic()
        split = data.split(fold, recipe)
        state = out / UNFINISHED / f"fold_{fold}"
        first = start_from / weights.name if start_from is not None and start_from.is_dir() else start_from
        fitted = fit_fold(
            config,
            replace(recipe, seed=recipe.seed + fold),
            *split[:2],
            state,
            start_from=first,
            backbone=backbone,
            label=f"{label or out.name} fold {fold}",
            budget=budget,
        )
        _keep_fold(out, config, recipe, metrics, fold, split, fitted, time.monotonic() - started)
    return metrics


def keep_unfinished(config: ModelConfig, recipe: Recipe, data: WindowSource, out: Path) -> dict[str, Any]:
    """Write the best weights so far of each fold under way, with all that belongs beside them; return the metrics.

    The fold is marked as unfinished, its state stays, and the same training goes on with it.
    """
    metrics = _go_on(out, config, recipe, data.description)
    for state in sorted((out / UNFINISHED).glob("fold_*")):
        progress, fold = read_progress(state), int(state.name.removeprefix("fold_"))
        if progress is None or not (state / BEST).is_file():
            continue
        known = metrics["folds"].get(str(fold), {})
        if len(known.get("history", ())) == len(progress.history):
            continue  # the run before kept it, and this one did not get further
        split = data.split(fold, recipe)
        _keep_fold(out, config, recipe, metrics, fold, split, (load_model(config, state / BEST), progress), 0.0)
    return metrics


def is_finished(metrics: dict[str, Any], fold: int) -> bool:
    """Return whether a fold was trained to the end."""
    entry = metrics["folds"].get(str(fold))
    return entry is not None and not entry.get("unfinished")


def _keep_fold(
    out: Path,
    config: ModelConfig,
    recipe: Recipe,
    metrics: dict[str, Any],
    fold: int,
    split: tuple[WindowSource, WindowSource, pd.DataFrame],
    fitted: tuple[Any, Progress],
    seconds: float,
) -> None:
    """Write a fold's weights and rows out of fold, and what sums up all folds so far; a finished one's state goes."""
    (training, validation, rows), (model, progress) = split, fitted
    weights = out / f"fold_{fold}.weights.h5"
    write_weights(model, weights)
    shares, probabilities = predict_windows(model, config, validation, recipe.batch_size)
    write_out_of_fold(out, rows, fold, shares, probabilities)
    kls, unfinished = [entry["kl"] for entry in progress.history], progress.total < count_epochs(recipe)
    metrics["folds"][str(fold)] = {
        "kl": min(kls),
        "best_epoch": kls.index(min(kls)) + 1,
        "training_windows": len(training),
        "validation_windows": len(rows),
        "seconds": round(seconds),
        "history": progress.history,
        "sha256": hash_file(weights),
        **({"unfinished": True} if unfinished else {}),
    }
    _finish(out, config, metrics)
    state = out / UNFINISHED / f"fold_{fold}"
    if not unfinished:
        shutil.rmtree(state)
        if not any(state.parent.iterdir()):
            state.parent.rmdir()


def count_epochs(recipe: Recipe) -> int:
    """Return the epochs of all stages of one fold."""
    return sum(stage.epochs for stage in recipe.stages)


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
