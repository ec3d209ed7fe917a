"""Which label events exist: how much raters disagree on them, and who is asked. Called by `simulator.generate`.

There are two populations, as in the competition's labels: windows that few raters saw and mostly agree on, and
windows that ten or more saw and do not. An event is voted on once, and its votes stand for all overlapping windows of
it; the published figures count windows, so that a long event weighs much. An event starts from its four decision
scores (`simulator.voters.score`); `simulator.plan` then makes a signal whose measurable properties have these scores.
`population.npz` holds the scores of 16,384 events of each population and which raters are asked about them, chosen by
`simulator.calibrate` so that their votes have the published statistics.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from simulator.voters import Raters, draw_raters

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


JITTER = 0.02
"""Deviation of the scores of events that come from the same place of the library."""
CANDIDATES = 24_000
VOTINGS = 4
"""The label events that `simulator.calibrate` chooses from: windows, and how often raters are drawn for each."""


@dataclass(frozen=True)
class Events:
    """Label events: decision scores (n, 4) that the pattern is made for, and the raters who are asked about it."""

    scores: np.ndarray
    raters: Raters


def draw_all_raters(population: Population) -> Raters:
    """Return the raters of all CANDIDATES * VOTINGS events, the same ones in every process."""
    rng = np.random.default_rng(12)
    return draw_raters(rng, draw_n_votes(rng, population, CANDIDATES * VOTINGS), population == "few")


@cache
def load_library(population: Population) -> Events:
    """Return the 16,384 events of a population."""
    with np.load(LIBRARY, allow_pickle=False) as found:
        scores, voting = found[population].astype(np.float64), found[f"{population}_raters"]
    return Events(scores, draw_all_raters(population)[voting])


def draw_population(rng: np.random.Generator) -> Population:
    """Return which of the two populations the next window is from."""
    return "many" if rng.random() < MANY_SHARE else "few"


def draw_n_votes(rng: np.random.Generator, population: Population, size: int) -> np.ndarray:
    """Return how many raters are asked, (size,)."""
    counts = VOTES_PER_ROW[population]
    weights = np.array(list(counts.values()), dtype=np.float64)
    return rng.choice(np.array(list(counts)), size=size, p=weights / weights.sum())


def draw_events(rng: np.random.Generator, population: Population, size: int) -> Events:
    """Return `size` label events of a population, their scores never twice quite the same."""
    library = load_library(population)
    chosen = rng.integers(len(library.scores), size=size)
    return Events(library.scores[chosen] + rng.normal(0, JITTER, (size, 4)), library.raters[chosen])
