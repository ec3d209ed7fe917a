"""Which label events exist: how much raters disagree on them, and which panel of raters is asked.

There are two populations, as in the competition's labels: windows that few raters saw and mostly agree on, and
windows that ten or more saw and do not. An event is voted on once, and its votes stand for all overlapping windows of
it. An event starts from its four decision scores (`simulator.voters.score`); `simulator.plan` then makes a signal whose
measurable properties have these scores. `population.npz` holds the scores of 16,384 events of each population and the
panel asked about each, chosen by `simulator.calibrate` so that rows have the published statistics. How the raters of a
panel then vote is drawn afresh for every event.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from simulator.voters import Population, Raters, draw_raters

LIBRARY = Path(__file__).with_name("population.npz")
MANY_SHARE = 39946 / 106800
"""Share of the competition's training rows with at least 10 votes."""

JITTER = 0.02
"""Deviation of the scores of events that come from the same place of the library."""


@cache
def load_library(population: Population) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores (16384, 4) of a population's events and the panel (16384,) of each."""
    with np.load(LIBRARY, allow_pickle=False) as found:
        return found[f"{population}_scores"].astype(np.float64), found[f"{population}_panels"].astype(np.intp)


def draw_population(rng: np.random.Generator) -> Population:
    """Return which of the two populations the next window is from."""
    return "many" if rng.random() < MANY_SHARE else "few"


def draw_events(rng: np.random.Generator, population: Population, size: int) -> tuple[np.ndarray, Raters]:
    """Return the scores (size, 4) of label events, never twice quite the same, and the raters asked about each."""
    scores, panels = load_library(population)
    chosen = rng.integers(len(scores), size=size)
    return scores[chosen] + rng.normal(0, JITTER, (size, 4)), draw_raters(rng, panels[chosen])
