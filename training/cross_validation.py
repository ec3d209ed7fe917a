"""Trains a model's folds, and writes all that belongs beside its weights (`training.trained`).

A finished fold is not trained again; an interrupted one goes on.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from kernel.constants import VOTES
from kernel.model import ModelConfig, calibrate, fold_files, load_model, read_model_config, write_config, write_weights
from training.batches import predict_windows
from training.blending import fit_calibration
from training.budget import Budget
from training.evaluation import PREDICTED, describe_table, write_curves
from training.fitting import fit_fold
from training.recipe import Recipe
from training.state import BEST, Progress, read_progress
from training.trained import (
    METRICS,
    UNFINISHED,
    fold_number,
    hash_file,
    read_folds,
    read_metrics,
    read_out_of_fold,
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
    start_from: Sequence[Path] = (),
    backbone: Path | None = None,
    budget: Budget | None = None,
    label: str = "",
) -> dict[str, Any]:
    """Train some folds of a model and return the content of `metrics.json`.

    `start_from` are weights files, or folders with the same model's folds, whose mean it begins with; `backbone` a
    local file for the EfficientNet inside; `budget` the time that all of it may take, which ends in OutOfTime; `label`
    what the log calls it [the folder]. A folder that holds folds of another configuration or recipe is a ValueError.
    """
    out.mkdir(parents=True, exist_ok=True)
    metrics = _go_on(out, config, recipe, data.description)
    if not metrics["folds"]:
        write_config(config, out / "config.json")
    assigned = data.assign_folds(recipe)
    known = add_heard_before(assigned, [*start_from, out])
    write_folds(known, out)
    heard = int(known.loc[known["fold"] < 0, "eeg_id"].isin(assigned["eeg_id"]).sum())
    if heard:
        print(
            f"WARNING: the weights that it starts from have heard {heard} of the {assigned['eeg_id'].nunique()} "
            "recordings: where a fold validates on them its KL is too good; `ship --on` fits shares on other recordings"
        )
    for fold in folds:
        weights, state = out / f"fold_{fold}.weights.h5", out / UNFINISHED / f"fold_{fold}"
        if weights.is_file() and count_done(metrics, fold) == count_epochs(recipe):
            print(f"{weights}: finished before; remove it to train it again")
        else:
            training, validation, _ = data.split(fold, recipe)
            model, progress = fit_fold(
                config,
                replace(recipe, seed=recipe.seed + fold),
                training,
                validation,
                state,
                start_from=[path / weights.name if path.is_dir() else path for path in start_from],
                backbone=backbone,
                label=f"{label or out.name} fold {fold}",
                budget=budget,
            )
            _keep_fold(out, config, recipe, metrics, data, fold, model, progress)
        shutil.rmtree(state, ignore_errors=True)
    with suppress(OSError):  # the states of other folds may be there
        (out / UNFINISHED).rmdir()
    return metrics


def add_heard_before(folds: pd.DataFrame, start_from: Sequence[Path]) -> pd.DataFrame:
    """Return which fold leaves out each recording, -1 for none: the weights a fold starts from have heard some too."""
    tables: list[pd.DataFrame | None] = [folds]
    for path in start_from:
        known = read_folds(path if path.is_dir() else path.parent)
        if known is not None and path.is_file():
            left_out = fold_number(path) if path in fold_files(path.parent) else None
            known = known[known["fold"] != left_out].assign(fold=-1)
        tables.append(known)
    each = pd.concat(tables).groupby(["eeg_id", "patient_id"], sort=False)["fold"]
    return each.min().where(each.nunique() == 1, -1).reset_index()


def keep_unfinished(config: ModelConfig, recipe: Recipe, data: WindowSource, out: Path) -> None:
    """Write the best weights so far of each fold under way, with all that belongs beside them.

    Its state stays, and the same training goes on with it.
    """
    metrics = _go_on(out, config, recipe, data.description)
    for state in sorted((out / UNFINISHED).glob("fold_*")):
        progress, fold = read_progress(state), int(state.name.removeprefix("fold_"))
        if progress.total > count_done(metrics, fold):  # else the run before kept it, and this one did not get further
            _keep_fold(out, config, recipe, metrics, data, fold, load_model(config, state / BEST), progress)


def count_done(metrics: dict[str, Any], fold: int) -> int:
    """Return how many epochs of a fold are done."""
    return len(metrics["folds"].get(str(fold), {}).get("history", ()))


def count_epochs(recipe: Recipe) -> int:
    """Return the epochs of all stages of one fold."""
    return sum(stage.epochs for stage in recipe.stages)


def _keep_fold(
    out: Path,
    config: ModelConfig,
    recipe: Recipe,
    metrics: dict[str, Any],
    data: WindowSource,
    fold: int,
    model: Any,
    progress: Progress,
) -> None:
    """Write a fold's weights and rows out of fold, and what sums up all folds so far: calibration, scores, curves."""
    training, validation, rows = data.split(fold, recipe)
    weights = out / f"fold_{fold}.weights.h5"
    write_weights(model, weights)
    write_out_of_fold(out, rows, fold, *predict_windows(model, config, validation, recipe.batch_size))
    kls = [entry["kl"] for entry in progress.history]
    metrics["folds"][str(fold)] = {
        "kl": min(kls),
        "best_epoch": kls.index(min(kls)) + 1,
        "training_windows": len(training),
        "validation_windows": len(rows),
        "history": progress.history,
        "sha256": hash_file(weights),
    }
    table = read_out_of_fold(out)
    table = table[table["fold"].astype(str).isin(metrics["folds"])]
    predicted = table[list(PREDICTED)].to_numpy()
    calibrated = fit_calibration(table[list(VOTES)].to_numpy(), predicted, config) if recipe.calibrated else config
    write_config(calibrated, out / "config.json")
    table[list(PREDICTED)] = calibrate(predicted, calibrated)
    metrics["out_of_fold"] = describe_table(table)
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
