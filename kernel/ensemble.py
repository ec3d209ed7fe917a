"""The trained networks that answer together.

A member is one fold of one model. The models' shares of the answer are in `weights/ensemble.json`, equal where there is
no such file; the folds of a model divide its share equally. A mean of several answers is less sure than each of them,
and less than it might be (Ranjan & Gneiting 2010): the file's temperature sharpens each before they are averaged. The
most important member comes first: first the first fold of every model, the largest share before the others, then the
second folds. When time is short, the last are dropped.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kernel.constants import WINDOW_SAMPLES
from kernel.inputs import InputConfig, build_input
from kernel.model import ModelConfig, calibrate, count_gpus, fold_files, load_model, read_model_config, temper
from kernel.montage import CHANNELS

ENSEMBLE = "ensemble.json"
"""`shares`: model to weight; `temperature`; `fitted_on`: the rows that both were fitted on, and what they scored."""

Inputs = dict[InputConfig, np.ndarray]
"""What one window becomes: the array of each distinct configuration."""

CPU_BATCH = 8
GPU_BATCH = 64
"""Windows per call of a network, where it runs on the processor and where it runs on a GPU."""


def choose_batch(n_gpus: int) -> int:
    """Return how many windows a call of a network takes: few stay in a processor's cache, many keep a GPU busy."""
    return GPU_BATCH if n_gpus else CPU_BATCH


@dataclass(frozen=True)
class Member:
    """One fold of one model, loaded."""

    name: str
    config: ModelConfig
    network: Any
    weight: float  # its share of the answer
    batch: int = CPU_BATCH  # windows per call
    temperature: float = 1.0  # the ensemble's

    def answer(self, windows: list[Inputs]) -> np.ndarray:
        """Answer at most `batch` windows: calibrated, tempered probabilities, shape (len(windows), 6), float64.

        Each call is padded to `batch` windows, because another shape would be compiled again and may run other code.
        The answer for a window still differs in rounding (less than 1e-5) with its place in the batch.
        """
        arrays = []
        for config in self.config.inputs:
            batch = np.zeros((self.batch, *windows[0][config].shape), np.float32)
            for row, window in zip(batch, windows, strict=False):
                row[...] = window[config]
            arrays.append(batch)
        answers = calibrate(self.network.predict_on_batch(arrays)[: len(windows)], self.config)
        return temper(answers, self.temperature)


def list_models(folder: Path) -> list[str]:
    """Return the names of the models in a folder that have a configuration and weights."""
    return [path.parent.name for path in sorted(folder.glob("*/config.json")) if fold_files(path.parent)]


def read_model_weights(folder: Path) -> dict[str, float]:
    """Return each model's share of the answer, the largest first, summing to 1."""
    return read_ensemble(folder)[0]


def read_ensemble(folder: Path) -> tuple[dict[str, float], float]:
    """Return each model's share of the answer, the largest first, summing to 1; and the temperature of them all."""
    found = list_models(folder)
    if not found:
        raise FileNotFoundError(f"{folder}: no model here; expected <model>/config.json and <model>/fold_0.weights.h5")
    path = folder / ENSEMBLE
    weights, temperature = dict.fromkeys(found, 1.0), 1.0
    if path.is_file():
        try:
            content = json.loads(path.read_text())
            weights = {str(name): float(weight) for name, weight in content["shares"].items()}
            temperature = float(content.get("temperature", 1.0))
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise ValueError(f'{path}: expected {{"shares": {{"model": weight}}}} ({error!r}); ship anew') from error
        missing = sorted(weights.keys() - set(found))
        if missing:
            raise ValueError(f"{path}: names {', '.join(missing)}; the models with weights are {', '.join(found)}")
    if not weights or min(weights.values()) < 0 or not 0 < sum(weights.values()) < np.inf:
        raise ValueError(f"{path}: weights must not be negative and not all zero, found {weights}")
    if not 0 < temperature < np.inf:
        raise ValueError(f"{path}: temperature must be positive, found {temperature}")
    total = sum(weights.values())
    shares = {name: weight / total for name, weight in weights.items() if weight > 0}
    return dict(sorted(shares.items(), key=lambda item: -item[1])), temperature


def load_ensemble(folder: Path) -> list[Member]:
    """Load every fold of every model that has a share, most important first.

    Each answers once, so that a network that cannot run fails here, and no recording waits for its compilation.
    """
    members = []
    batch = choose_batch(count_gpus())
    shares, temperature = read_ensemble(folder)
    for name, share in shares.items():
        config = read_model_config(folder / name / "config.json")
        files = fold_files(folder / name)
        for fold, file in enumerate(files):
            fold_name = f"{name}/{file.name.split('.')[0]}"
            network, weight = load_model(config, file), share / len(files)
            members.append((fold, Member(fold_name, config, network, weight, batch, temperature)))
    ordered = [member for _, member in sorted(members, key=lambda item: item[0])]
    silence = build_inputs(np.zeros((len(CHANNELS), WINDOW_SAMPLES), np.float32), ordered)
    for member in ordered:
        member.answer([silence])
    return ordered


def build_inputs(channels: np.ndarray, members: list[Member]) -> Inputs:
    """Build what the members read from the channels of one window, (18, 10000), microvolts; each array once."""
    configs = dict.fromkeys(config for member in members for config in member.config.inputs)
    return {config: build_input(channels, config) for config in configs}
