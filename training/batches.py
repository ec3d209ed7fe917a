"""An epoch as batches of network inputs, smoothed vote shares and weights. Called by `training.fitting`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kernel.constants import PRIOR
from kernel.inputs import InputConfig, build_input
from training.augmentation import augment, choose
from training.cached import CachedWindows, augment_inputs
from training.recipe import Recipe, Stage
from training.windows import WindowSource

FULL_WEIGHT_VOTES = 20
"""As many votes weigh 1 where a stage weighs rows by their votes (second place of the competition)."""
THREADS = 2
"""Batches prepared at a time; the transforms release the interpreter's lock."""


class TrainingBatches(keras.utils.PyDataset):
    """One epoch in random order: augmented windows, shares smoothed toward the prior, a last partial batch dropped.

    A window depends on the recipe's seed, the epoch and its place alone, whichever thread prepares it.
    """

    def __init__(
        self, source: WindowSource, inputs: Sequence[InputConfig], recipe: Recipe, stage: Stage, epoch: int
    ) -> None:
        super().__init__(workers=THREADS, max_queue_size=4)
        self.source, self.inputs, self.recipe, self.stage, self.epoch = source, inputs, recipe, stage, epoch
        rng = np.random.default_rng([recipe.seed, epoch])
        self.order = rng.permutation(len(source))[: stage.windows]

    def __len__(self) -> int:
        return len(self.order) // self.recipe.batch_size

    def __getitem__(self, index: int) -> Any:
        """Return (inputs, shares, weights) of a batch."""
        size = self.recipe.batch_size
        windows = [self._read(place) for place in range(index * size, (index + 1) * size)]
        arrays = tuple(np.stack([window[0][i] for window in windows]) for i in range(len(self.inputs)))
        shares, weights = (np.array([w[i] for w in windows], np.float32) for i in (1, 2))
        return (arrays if len(arrays) > 1 else arrays[0]), shares, weights

    def _read(self, place: int) -> tuple[list[np.ndarray], np.ndarray, float]:
        """Return the inputs, the smoothed shares and the weight of one window."""
        rng = np.random.default_rng([self.recipe.seed, self.epoch, place, 1])
        index = int(self.order[place])
        names = choose(rng, self.recipe.augmentation)
        stored = self.source.read_inputs(index, self.epoch, names) if isinstance(self.source, CachedWindows) else None
        if stored is not None:
            arrays = augment_inputs(rng, stored[0], tuple(self.inputs), names)
            return arrays, smooth(stored[1], self.recipe.prior_votes), self._weigh(stored[1])
        channels, votes = self.source.read(index, self.epoch)

        def another() -> tuple[np.ndarray, np.ndarray]:
            other, other_votes = self.source.read(int(rng.choice(self.order)), self.epoch)
            return other, smooth(other_votes, self.recipe.prior_votes)

        window = (channels, smooth(votes, self.recipe.prior_votes))
        channels, shares = augment(rng, window, another, names)
        channels = np.ascontiguousarray(channels)
        return [build_input(channels, config) for config in self.inputs], shares, self._weigh(votes)

    def _weigh(self, votes: np.ndarray) -> float:
        return float(min(votes.sum() / FULL_WEIGHT_VOTES, 1.0)) if self.stage.weight_by_votes else 1.0


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
        arrays = tuple(np.stack([window[i] for window, _ in windows]) for i in range(len(self.inputs)))
        return (arrays if len(arrays) > 1 else arrays[0],)

    def _read(self, place: int) -> tuple[list[np.ndarray], np.ndarray]:
        stored = self.source.read_inputs(place, 0, []) if isinstance(self.source, CachedWindows) else None
        if stored is not None:
            return stored
        channels, votes = self.source.read(place, 0)
        return [build_input(channels, config) for config in self.inputs], votes


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
