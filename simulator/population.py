"""Which windows exist: how much raters disagree on them, and how many are asked. Called by `simulator.plan`.

There are two populations, as in the competition's labels: windows that few raters saw and mostly agree on, and
windows that ten or more saw and do not. A window starts from its four decision scores (`simulator.voters.score`);
`simulator.plan` then makes a signal whose measurable properties have these scores. `population.npz` holds the scores
of 16,384 windows of each population, chosen by `simulator.calibrate` so that the votes cast on such signals have the
published statistics.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

Population = Literal["many", "few"]
LIBRARY = Path(__file__).with_name("population.npz")
MANY_SHARE = 39946 / 106800
"""Share of the competition's training rows with at least 10 votes."""

VOTES_PER_ROW = {
    "few": {1: 4360, 2: 2316, 3: 51867, 4: 3451, 5: 3974, 6: 883, 7: 3},
    "many": {
        10: 1146,
        11: 2602,
        12: 4356,
        13: 7525,
        14: 3887,
        15: 10665,
        16: 5191,
        17: 1445,
        18: 1934,
        19: 250,
        20: 634,
        21: 179,
        22: 54,
        23: 24,
        24: 17,
        25: 20,
        26: 6,
        27: 5,
        28: 6,
    },
}
"""How many rows of the competition's training set have how many votes."""


@cache
def load_library(population: Population) -> np.ndarray:
    """Return the decision scores (16384, 4) of the windows of a population."""
    with np.load(LIBRARY, allow_pickle=False) as found:
        return found[population].astype(np.float64)


def draw_population(rng: np.random.Generator) -> Population:
    """Return which of the two populations the next window is from."""
    return "many" if rng.random() < MANY_SHARE else "few"


def draw_n_votes(rng: np.random.Generator, population: Population, size: int) -> np.ndarray:
    """Return how many raters are asked, (size,)."""
    counts = VOTES_PER_ROW[population]
    weights = np.array(list(counts.values()), dtype=np.float64)
    return rng.choice(np.array(list(counts)), size=size, p=weights / weights.sum())


def draw_scores(rng: np.random.Generator, population: Population, size: int) -> np.ndarray:
    """Return decision scores (size, 4) of windows of a population."""
    library = load_library(population)
    return library[rng.integers(len(library), size=size)] + rng.normal(0, 0.05, (size, 4))
