"""The state of a fold in training, on disk after every epoch: variables of model and optimizer, and progress."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from kernel.files import replacing
from kernel.model import keras_array


@dataclass
class Progress:
    """How far a fold is, and what each epoch gave."""

    stage: int = 0
    epoch: int = 0
    """Epochs done of the stage."""
    total: int = 0
    """Epochs done of all stages."""
    best_kl: float = float("inf")
    history: list[dict[str, Any]] = field(default_factory=list)
    """One entry per epoch: stage, loss, kl (validation)."""


@dataclass(frozen=True)
class State:
    """What `write_state` wrote."""

    model: list[np.ndarray]
    optimizer: list[np.ndarray]
    progress: Progress


def write_state(path: Path, signature: str, model: Any, optimizer: Any, progress: Progress) -> None:
    """Write the state; `signature` says of which model and recipe it is."""
    with replacing(path) as part, h5py.File(part, "w") as file:
        for name, variables in (("model", model_variables(model)), ("optimizer", optimizer.variables)):
            for index, variable in enumerate(variables):
                file[f"{name}/{index:05d}"] = keras_array(variable)
        file.attrs["signature"], file.attrs["progress"] = signature, json.dumps(vars(progress))


def read_state(path: Path, signature: str) -> State | None:
    """Return the state of an earlier run, None where there was none.

    Raises
    ------
    ValueError
        If it is of another model or recipe.
    """
    if not path.is_file():
        return None
    with h5py.File(path) as file:
        if file.attrs["signature"] != signature:
            raise ValueError(
                f"{path}: an unfinished training of another recipe or model; remove the folder {path.parent} to begin "
                "this one"
            )
        arrays = {name: [np.asarray(group[key]) for key in sorted(group)] for name, group in file.items()}
        return State(arrays["model"], arrays["optimizer"], Progress(**json.loads(file.attrs["progress"])))


def model_variables(model: Any) -> list[Any]:
    """Return all variables of a model: its weights, and its random generators, so that dropout goes on as it would."""
    weights = {id(variable) for variable in model.weights}
    seeds = [v for v in model.non_trainable_variables if id(v) not in weights and "seed" in v.path]
    return [*model.weights, *seeds]


def assign(variables: list[Any], values: list[np.ndarray]) -> None:
    """Give variables their values of before."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
