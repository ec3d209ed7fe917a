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
from training.augmentation import augment, augment_inputs, choose
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
        windows = [self._read(place) for place in range(index * size, (index + 1) * size)]
        shares, weights = (np.array([w[i] for w in windows], np.float32) for i in (1, 2))
        batch = _stack([window[0] for window in windows]), shares, weights
        self.ready[index] = time.monotonic()
        return batch

    def _read(self, place: int) -> tuple[list[np.ndarray], np.ndarray, float]:
        """Return the inputs, the smoothed shares and the weight of one window."""
        rng = np.random.default_rng([self.recipe.seed, self.epoch, place, 1])
        names = choose(rng, self.recipe.augmentation)
        signal, votes = self.source.read(int(self.order[place]), self.epoch)
        shares = smooth(votes, self.recipe.prior_votes)
        if self.source.gives_inputs:
            arrays = augment_inputs(rng, signal, self.inputs, names)
        else:
            channels, shares = augment(rng, (signal, shares), lambda: self._read_neighbour(place), names)
            arrays = [build_input(np.ascontiguousarray(channels), config) for config in self.inputs]
        weight = min(votes.sum() / FULL_WEIGHT_VOTES, 1.0) if self.stage.weight_by_votes else 1.0
        return arrays, shares, weight

    def _read_neighbour(self, place: int) -> tuple[Any, np.ndarray]:
        """Return another window's channels and shares: the next one in the epoch's order, or the one before."""
        signal, votes = self.source.read(int(self.order[min(place ^ 1, len(self.order) - 1)]), self.epoch)
        return signal, smooth(votes, self.recipe.prior_votes)


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
        places = range(index * self.batch_size, min((index + 1) * self.batch_size, len(self.source)))
        windows = [self._read(place) for place in places]
        self.votes[list(places)] = [votes for _, votes in windows]
        return (_stack([arrays for arrays, _ in windows]),)

    def _read(self, place: int) -> tuple[list[np.ndarray], np.ndarray]:
        signal, votes = self.source.read(place, 0)
        return signal if self.source.gives_inputs else [build_input(signal, one) for one in self.inputs], votes


def predict_windows(
    model: Any, config: ModelConfig, source: WindowSource, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Predict a source's windows in their order.

    Returns
    -------
    shares : ndarray, shape (n, 6), float64
        Of the votes.
    probabilities : ndarray, shape (n, 6), float64
        The network's, before calibration.
    """
    batches = FixedBatches(source, config.inputs, batch_size)
    predicted = model.predict(batches, verbose=0).astype(np.float64)[: len(source)]
    return batches.votes / batches.votes.sum(axis=1, keepdims=True), predicted / predicted.sum(axis=1, keepdims=True)


def _stack(windows: list[list[np.ndarray]]) -> Any:
    """Stack windows input by input; one input alone is not a tuple."""
    arrays = tuple(np.stack(same) for same in zip(*windows, strict=True))
    return arrays if len(arrays) > 1 else arrays[0]


def smooth(votes: np.ndarray, prior_votes: float) -> np.ndarray:
    """Return the shares of votes after the prior has cast `prior_votes` of its own.

    The mean of the posterior under a Dirichlet prior: three votes that agree say less than fifteen.

    Parameters
    ----------
    votes : ndarray, shape (6,), float
        Counts.
    prior_votes : float
        The prior's weight in votes; 0 leaves the shares as they are.

    Returns
    -------
    shares : ndarray, shape (6,), float64
        Sums to 1.
    """
    return (votes + prior_votes * np.array(PRIOR)) / (votes.sum() + prior_votes)
