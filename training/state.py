"""The state of a fold in training, on disk after every epoch: variables of model and optimizer, and progress."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from kernel.model import keras_array, writing_h5

STATE, BEST = "state.h5", "best.weights.h5"
"""In the folder of a fold under way: everything after its last epoch, and the weights of its best one."""


@dataclass
class Progress:
    """How far a fold is, and what each epoch gave."""

    best_kl: float = float("inf")
    history: list[dict[str, Any]] = field(default_factory=list)
    """One entry per epoch of all stages: stage, loss, kl (validation)."""

    @property
    def total(self) -> int:
        """Return the epochs done."""
        return len(self.history)


def write_state(folder: Path, signature: str, model: Any, optimizer: Any, progress: Progress) -> None:
    """Write the state; `signature` says of which model and recipe it is."""
    with writing_h5(folder / STATE) as file:
        for name, variables in (("model", model_variables(model)), ("optimizer", optimizer.variables)):
            for index, variable in enumerate(variables):
                file[f"{name}/{index:05d}"] = keras_array(variable)
        file.attrs["signature"], file.attrs["progress"] = signature, json.dumps(vars(progress))


def read_progress(folder: Path) -> Progress:
    """Return how far the fold is whose state lies in a folder."""
    if not (folder / STATE).is_file():
        return Progress()
    with h5py.File(folder / STATE) as file:
        saved = json.loads(file.attrs["progress"])
        return Progress(saved["best_kl"], saved["history"])


def read_arrays(folder: Path, signature: str) -> dict[str, list[np.ndarray]]:
    """Return the variables of `model` and `optimizer` in a state; one of another model or recipe is a ValueError."""
    with h5py.File(folder / STATE) as file:
        if file.attrs["signature"] != signature:
            raise ValueError(
                f"{folder / STATE}: an unfinished training of another recipe or model; remove the folder {folder} to "
                "begin this one"
            )
        return {name: [np.asarray(group[key]) for key in sorted(group)] for name, group in file.items()}


def model_variables(model: Any) -> list[Any]:
    """Return all variables of a model: its weights, and its random generators, so that dropout goes on as it would."""
    weights = {id(variable) for variable in model.weights}
    seeds = [v for v in model.non_trainable_variables if id(v) not in weights and "seed" in v.path]
    return [*model.weights, *seeds]


def assign(variables: list[Any], values: list[np.ndarray]) -> None:
    """Give variables their values of before."""
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
