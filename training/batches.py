"""Windows as batches of network inputs: an epoch to train on with smoothed vote shares and weights, or to predict."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kernel.constants import PRIOR
from kernel.inputs import InputConfig, build_input
from kernel.model import ModelConfig
from training.augmentation import Labelled, augment, choose
from training.recipe import Recipe, Stage
from training.windows import WindowSource

FULL_WEIGHT_VOTES = 20
"""As many votes weigh 1 where a stage weighs rows by their votes (second place of the competition)."""
THREADS = max(2, os.cpu_count() or 2)
"""Batches prepared at a time; the transforms release the interpreter's lock."""


class TrainingBatches(keras.utils.PyDataset):
    """One epoch in the source's order: augmented windows, shares smoothed toward the prior, no partial batch.

    A window depends on the recipe's seed, the epoch and its place alone, whichever thread prepares it.
    """

    def __init__(
        self, source: WindowSource, inputs: Sequence[InputConfig], recipe: Recipe, stage: Stage, epoch: int
    ) -> None:
        super().__init__(workers=THREADS, max_queue_size=4)
        self.source, self.inputs, self.recipe, self.stage, self.epoch = source, inputs, recipe, stage, epoch
        self.order = source.order(np.random.default_rng([recipe.seed, epoch]))[: stage.windows]
        self.ready: dict[int, float] = {}
        """When each batch was ready."""

    def __len__(self) -> int:
        return len(self.order) // self.recipe.batch_size

    def __getitem__(self, index: int) -> Any:
        """Return (inputs, shares, weights) of a batch."""
        size = self.recipe.batch_size
        inputs, shares, weights = zip(*map(self._build, range(index * size, (index + 1) * size)), strict=True)
        batch = _stack(inputs), np.array(shares, np.float32), np.array(weights, np.float32)
        self.ready[index] = time.monotonic()
        return batch

    def _build(self, place: int) -> tuple[list[np.ndarray], np.ndarray, float]:
        """Return the inputs, the smoothed shares and the weight of one window."""
        rng = np.random.default_rng([self.recipe.seed, self.epoch, place, 1])
        names = choose(rng, self.recipe.augmentation)
        channels, votes = self._read(place)
        # Another window is the next one in the epoch's order, or the one before.
        neighbour = min(place ^ 1, len(self.order) - 1)
        window = augment(rng, (channels, self._smooth(votes)), lambda: self._label(neighbour), names)
        weight = min(votes.sum() / FULL_WEIGHT_VOTES, 1.0) if self.stage.weight_by_votes else 1.0
        return build_inputs(window[0], self.inputs), window[1], weight

    def _read(self, place: int) -> Labelled:
        return self.source.read(int(self.order[place]), self.epoch)

    def _label(self, place: int) -> Labelled:
        channels, votes = self._read(place)
        return channels, self._smooth(votes)

    def _smooth(self, votes: np.ndarray) -> np.ndarray:
        return smooth(votes, self.recipe.prior_votes)


def count_batches(source: WindowSource, recipe: Recipe, stage: Stage) -> int:
    """Return the number of batches in each epoch of a stage; where there would be none it is a ValueError."""
    windows = min(len(source), stage.windows or len(source))
    if windows < recipe.batch_size:
        raise ValueError(
            f"stage {stage.name!r}: {windows} windows do not fill a batch of {recipe.batch_size}; "
            "lower recipe.batch_size or give more data"
        )
    return windows // recipe.batch_size


class FixedBatches(keras.utils.PyDataset):
    """The inputs of some windows in their order, nothing changed, a last partial batch kept: for predicting."""

    def __init__(self, source: WindowSource, inputs: Sequence[InputConfig], batch_size: int) -> None:
        super().__init__(workers=THREADS, max_queue_size=4)
        self.source, self.inputs, self.batch_size = source, inputs, batch_size
        self.votes = np.full((len(source), len(PRIOR)), np.nan)

    def __len__(self) -> int:
        return math.ceil(len(self.source) / self.batch_size)

    def __getitem__(self, index: int) -> Any:
        """Return a batch's inputs as a tuple of one element, which is how Keras tells inputs from targets."""
        windows = []
        for place in range(index * self.batch_size, min((index + 1) * self.batch_size, len(self.source))):
            channels, self.votes[place] = self.source.read(place, 0)
            windows.append(build_inputs(channels, self.inputs))
        return (_stack(windows),)


def predict_windows(
    model: Any, config: ModelConfig, source: WindowSource, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Predict a source's windows in their order: the votes' shares, and the network's probabilities before calibration.

    Both have the shape (n, 6) and are float64.
    """
    batches = FixedBatches(source, config.inputs, batch_size)
    predicted = model.predict(batches, verbose=0).astype(np.float64)[: len(source)]
    return batches.votes / batches.votes.sum(axis=1, keepdims=True), predicted / predicted.sum(axis=1, keepdims=True)


def build_inputs(channels: np.ndarray, inputs: Sequence[InputConfig]) -> list[np.ndarray]:
    """Return what a network reads of one window's channels."""
    return [build_input(np.ascontiguousarray(channels), config) for config in inputs]


def _stack(windows: Sequence[list[np.ndarray]]) -> Any:
    """Stack windows input by input; one input alone is not a tuple."""
    arrays = tuple(np.stack(same) for same in zip(*windows, strict=True))
    return arrays if len(arrays) > 1 else arrays[0]


def smooth(votes: np.ndarray, prior_votes: float) -> np.ndarray:
    """Return the shares of votes, (6,), after the prior has cast `prior_votes` of its own.

    The mean of the posterior under a Dirichlet prior: three votes that agree say less than fifteen.
    """
    return (votes + prior_votes * np.array(PRIOR)) / (votes.sum() + prior_votes)
