"""Puts trained models into `weights/`, where the bundle takes them from: verified, blended, shrunk, nothing lost.

The new content is made ready beside the folder and takes its place at once; what was there is kept whole.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from kernel.ensemble import ENSEMBLE, list_models, read_ensemble
from kernel.model import temper
from training.blending import find_common_rows, fit_shares, score_blend
from training.evaluation import describe_table
from training.folds import choose_folds
from training.scoring import predict_folders
from training.trained import UNFINISHED, TrainedModel, keep_folds, shrink_folds, verify_model


@dataclass(frozen=True)
class Shipment:
    """What is to ship, compared with what does."""

    weights: Path
    models: list[TrainedModel]
    """All that will ship."""
    ensemble: dict[str, Any]
    """The content of `ensemble.json`."""
    lines: list[str]
    """Old against new, for a person to decide."""
    kept: dict[str, list[int]]
    """The folds that alone ship, of models of which not all do."""


def plan_shipment(
    folders: list[Path],
    weights: Path,
    *,
    replace: bool = False,
    on: list[Path] | None = None,
    min_votes: int = 10,
    keep: Sequence[str] = (),
) -> Shipment:
    """Verify models, and fit the blend that they will be part of. Writes nothing.

    Each of the models takes the place of one with its name that ships, and `replace` ships them alone; without any,
    only the shares are fitted anew: on the rows that all have predicted out of fold, or on the recordings of the
    folders `on` with as many votes. `keep`, each MODEL=FOLD,FOLD, names the folds that ship of a model whose folds
    are too large or too slow; its share is fitted with all of them. A model that is damaged (`verify_model`) or cannot
    be compared with those that it is to ship with is an error.
    """
    if replace and not folders:
        raise ValueError("--replace: name the models that shall ship")
    there = list_models(weights)
    shares_now, temperature = read_ensemble(weights) if there else ({}, 1.0)
    before = dict.fromkeys(there, 0.0) | shares_now
    new = [verify_model(folder) for folder in folders]
    names = [model.name for model in new]
    if len(set(names)) < len(names):
        raise ValueError(f"two of the models to ship are called {max(names, key=names.count)}; rename one's folder")
    kept = dict(_choose_kept(one, new) for one in keep)
    staying = [] if replace else [name for name in before if name not in names]
    old, broken = {}, ""
    for name in before:
        try:
            old[name] = verify_model(weights / name)
        except (ValueError, FileNotFoundError) as error:
            if name in staying:
                raise
            broken = str(error)
    models = [*(old[name] for name in staying), *new]
    try:
        if on:
            models = [_ask(model, on, min_votes) for model in models]
        ensemble = fit_shares(models)
    except ValueError as error:
        hint = f"; --replace ships {' and '.join(names)} without the others" if staying and names else ""
        hint += "" if on else "; --on asks all of them about the same recordings"
        raise ValueError(f"{' and '.join(model.name for model in models)} cannot be blended: {error}{hint}") from error
    new, old = models[len(staying) :], old | dict(zip(staying, models, strict=False))
    if on:
        for name in old.keys() - set(staying):
            with suppress(ValueError):  # it may have heard all of them, and leaves anyway
                old[name] = _ask(old[name], on, min_votes)
    lines = _tell(before, old, {model.name: model for model in new}, staying, ensemble["shares"], kept)
    if before:
        compared = "" if broken else _compare(before, temperature, old, models, ensemble)
        lines.append(compared or f"what ships now is damaged: {broken}")
    return Shipment(weights, models, ensemble, lines, kept)


def _tell(
    before: dict[str, float],
    old: dict[str, TrainedModel],
    new: dict[str, TrainedModel],
    staying: list[str],
    shares: dict[str, float],
    kept: dict[str, list[int]],
) -> list[str]:
    """Say of each model, one a line, its share `before` and then, and what it is."""
    lines = [f"{'now':>28}{'then':>8}"]
    for name, share in before.items():
        described = old[name].describe() if name in old else "damaged"
        then, moves = (f"{shares[name]:.3f}", "") if name in staying else ("-", "; moves to dist/replaced")
        lines.append(f"  {name:20}{share:6.3f}{then:>8}  {described}{moves}")
    for name, model in new.items():
        alone = f"; fold {', '.join(map(str, kept[name]))} alone ships" if name in kept else ""
        lines.append(f"  {name:20}{'-':>6}{shares[name]:8.3f}  {model.describe()}{alone}")
    return lines


def _choose_kept(keep: str, models: list[TrainedModel]) -> tuple[str, list[int]]:
    """Return the name of one of the models, and which of its folds MODEL=FOLD,FOLD keeps."""
    name, _, folds = keep.partition("=")
    trained = {model.name: [int(fold) for fold in model.metrics["folds"]] for model in models}
    if name not in trained:
        raise ValueError(f"--keep {keep}: not among the models to ship ({', '.join(trained) or 'none'})")
    return name, choose_folds(folds, trained[name], f"--keep {keep}")


def _ask(model: TrainedModel, folders: list[Path], min_votes: int) -> TrainedModel:
    """Give a model its answers on some folders in place of those of its training."""
    table = predict_folders(folders, {model.folder: 1.0}, min_votes)
    asked = {"data": " and ".join(table["data"].unique()), "out_of_fold": describe_table(table)}
    return dataclasses.replace(model, out_of_fold=table, metrics=model.metrics | asked)


def _compare(
    before: dict[str, float],
    temperature: float,
    old: dict[str, TrainedModel],
    models: list[TrainedModel],
    ensemble: dict[str, Any],
) -> str:
    """Say what the old and the new blend score on the rows that both have predicted out of fold."""
    try:
        shares, predictions = find_common_rows([*old.values(), *models])
    except ValueError:
        return "what ships now has predicted other rows out of fold: its KL and the new one's are not comparable"
    now = score_blend(shares, temper(predictions[: len(old)], temperature), [*before.values()])
    weights = [ensemble["shares"][model.name] for model in models]
    then = score_blend(shares, temper(predictions[len(old) :], ensemble["temperature"]), weights)
    crossed = ensemble["fitted_on"].get("kl_cross_validated", "unknown")
    return (
        f"on {len(shares)} rows in common: KL now {now:.4f}, then {then:.4f} with a temperature of "
        f"{ensemble['temperature']:g}; each tenth by what the others fit: {crossed}"
    )


def ship(shipment: Shipment, kept: Path) -> None:
    """Give `weights/` the planned content, and move what was there to `kept`, whole.

    Whatever else lies there (the model card) stays. Interrupted, the folder is as it was or as it shall be.
    """
    weights, part = shipment.weights, shipment.weights.with_name(shipment.weights.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    weights.mkdir(parents=True, exist_ok=True)
    models = {path.parent.name for path in weights.glob("*/config.json")}
    try:
        shutil.copytree(
            weights, part, ignore=lambda folder, names: models & set(names) if Path(folder) == weights else []
        )
        for model in shipment.models:
            shutil.copytree(model.folder, part / model.name, ignore=shutil.ignore_patterns(UNFINISHED, ".*.part"))
        for name, folds in shipment.kept.items():
            keep_folds(part / name, folds)
        for model in shipment.models:
            shrink_folds(part / model.name)
        (part / ENSEMBLE).write_text(json.dumps(shipment.ensemble, indent=1) + "\n")
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise OSError(error.errno, f"{part}: cannot be written ({error}); what ships is as it was") from error
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(weights, kept)
    try:
        part.rename(weights)
    except BaseException:
        shutil.move(kept, weights)
        raise


def name_copy(folder: Path) -> Path:
    """Return a new name below a folder, of the present second."""
    return folder / f"{datetime.now():%Y-%m-%d_%H.%M.%S}"
