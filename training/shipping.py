"""Puts trained models into `weights/`, where the bundle takes them from: verified, blended, nothing lost.

The new content is made ready beside the folder and takes its place at once; what was there is kept whole.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from kernel.ensemble import ENSEMBLE, list_models, read_model_weights
from training.blending import find_common_rows, fit_shares, score_blend
from training.trained import UNFINISHED, TrainedModel, verify_model


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


def plan_shipment(folders: list[Path], weights: Path, *, replace: bool = False) -> Shipment:
    """Verify models, and fit the blend that they will be part of. Writes nothing.

    Parameters
    ----------
    folders : list of Path
        The models to ship; each takes the place of one with its name. None: only fit the shares anew.
    weights : Path
        What ships now.
    replace : bool
        Ship these models alone; else beside those that ship.

    Raises
    ------
    FileNotFoundError, ValueError
        If a model is damaged (`verify_model`), or those to ship together cannot be compared.
    """
    if replace and not folders:
        raise ValueError("--replace: name the models that shall ship")
    there = list_models(weights)
    before = dict.fromkeys(there, 0.0) | (read_model_weights(weights) if there else {})
    new = [verify_model(folder) for folder in folders]
    names = [model.name for model in new]
    if len(set(names)) < len(names):
        raise ValueError(f"two of the models to ship are called {max(names, key=names.count)}; rename one's folder")
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
        ensemble = fit_shares(models)
    except ValueError as error:
        hint = f"; --replace ships {' and '.join(names)} without the others" if staying and names else ""
        raise ValueError(f"{' and '.join(model.name for model in models)} cannot be blended: {error}{hint}") from error
    lines = _list_models(before, models, ensemble)
    fitted = ensemble["fitted_on"]
    lines.append(f"KL then: {fitted['kl']:.4f} on the {fitted['rows']} rows that the shares are fitted on")
    if before:
        lines.append(broken or _compare(before, old, models, ensemble))
    return Shipment(weights, models, ensemble, lines)


def _list_models(before: dict[str, float], models: list[TrainedModel], ensemble: dict[str, Any]) -> list[str]:
    """Return one line a model: its share now and then."""
    described = {model.name: model.describe() for model in models}
    lines = [f"{'share now':>25}{'then':>8}"]
    for name in sorted({*before, *described}, key=lambda name: (-ensemble["shares"].get(name, -1), name)):
        now, then = (f"{shares[name]:.3f}" if name in shares else "-" for shares in (before, ensemble["shares"]))
        lines.append(f"  {name:17}{now:>6}{then:>8}  {described.get(name, 'moves to the copy of what ships now')}")
    return lines


def _compare(
    before: dict[str, float], old: dict[str, TrainedModel], models: list[TrainedModel], ensemble: dict[str, Any]
) -> str:
    """Say what the old and the new blend score on the rows that both have predicted out of fold."""
    try:
        shares, predictions = find_common_rows([*old.values(), *models])
    except ValueError as error:
        return f"what ships now cannot be compared with it: {error}"
    now = [*before.values()] + [0.0] * len(models)
    then = [0.0] * len(old) + [ensemble["shares"][model.name] for model in models]
    scores = (score_blend(shares, predictions, weights) for weights in (now, then))
    return "on {} rows in common: KL now {:.4f}, then {:.4f}".format(len(shares), *scores)


def ship(shipment: Shipment, kept: Path) -> None:
    """Give `weights/` the planned content, and move what was there to `kept`, whole.

    Whatever else lies there (the model card) stays. Interrupted, the folder is as it was or as it shall be.
    """
    weights, part = shipment.weights, shipment.weights.with_name(shipment.weights.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    models = {path.parent.name for path in weights.glob("*/config.json")}
    try:
        shutil.copytree(
            weights, part, ignore=lambda folder, names: models & set(names) if Path(folder) == weights else []
        )
        for model in shipment.models:
            shutil.copytree(model.folder, part / model.name, ignore=shutil.ignore_patterns(UNFINISHED, ".*.part"))
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
    return folder / datetime.now().strftime("%Y-%m-%d_%H.%M.%S")
