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
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kernel.constants import VOTES
from kernel.model import ModelConfig, calibrate, read_config, write_config, write_weights
from training.calibration import fit_calibration
from training.evaluation import PREDICTED, describe, write_curves
from training.fitting import Progress, fit_fold, predict
from training.recipe import Recipe
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
