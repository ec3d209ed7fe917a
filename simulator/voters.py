"""The raters: what they see in the central 10 s of a window, and how each of them votes on it.

A rater decides in the order of the ACNS 2021 critical care EEG terminology (Hirsch et al., J Clin Neurophysiol
2021;38:1-29): is there a periodic or rhythmic pattern at all; is it ictal (Salzburg criteria: 2.5 Hz or evolving);
has it discharges with an interval between them; is it lateralised. Each decision is a logistic regression of the
rater's own on the signal's four scores: a threshold, a noise scale, and leanings (such as to call rhythmic delta
Other). `raters.npz` holds what `simulator.fit_raters` found for 124 real raters, and which panels of them vote
together. Nothing is added to a label: the votes are these decisions.

What is voted on is a label event. There are two populations of them, as in the competition's labels: windows that few
raters saw and mostly agree on, and windows that ten or more saw and do not. An event is voted on once, and its votes
stand for all overlapping windows of it. It starts from its four scores; `simulator.plan` then makes a signal whose
measurable properties have these scores. `population.npz` holds the scores of 16,384 events of each population and the
panel asked about each, chosen by `simulator.calibrate` so that rows have the published statistics. How the raters of a
panel then vote is drawn afresh for every event.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.special import expit

from kernel.table import MANY_VOTES

RATERS, LIBRARY = (Path(__file__).with_name(name) for name in ("raters.npz", "population.npz"))
Population = Literal["many", "few"]
"""Rows that ten or more raters voted on, or fewer."""

MANY_SHARE = 39946 / 106800  # share of the competition's training rows with at least 10 votes

JITTER = 0.02  # deviation of the scores of events that come from the same place of the library

ICTAL_HZ_PERIODIC, ICTAL_HZ_RHYTHMIC = 2.5, 3.4
"""The rate at which half of the raters call a pattern ictal that does not evolve: 2.5 Hz for discharges (ACNS: more
than 25 in 10 s), more for rhythmic delta, which is RDA up to 4 Hz."""

HALF_SEEN = 1.1
"""The salience at which a pattern is half seen: a steady rhythm of 0.7 times the background's root mean square."""

CHANGE_HIDES = 1.0
"""What changes its rate, shape and place all the time must stand out more, by up to this factor more, to be seen."""

WEAK = 0.25
"""The power of regularity and of prevalence: a pattern that is plainly visible is named though it is not perfect."""

SPLIT = np.array([0.3, 0.8, -0.3, -0.3])
"""The scores that split the raters of many-vote rows in half: what their fitted thresholds are on average."""


@dataclass(frozen=True)
class Properties:
    """What can be measured of a pattern in the labelled 10 s."""

    salience: float  # how far it stands out of the background's root mean square, strongest channels
    regularity: float  # 1 for a clock with equal waves, 0 for waves that share neither interval nor shape
    prevalence: float  # share of the 10 s that it fills
    rate: float  # in hertz
    evolution: float  # 0 static, 1 unmistakable change of rate, shape and place
    sharpness: float  # 0 a sinusoid, 1 short sharp discharges with a flat interval between them
    laterality: float  # (E - e) / (E + e) of the energy over the two hemispheres, double banana


def score(p: Properties) -> np.ndarray:
    """Return the four decision scores (pattern, ictal, periodic, lateralised) of a pattern."""
    half = HALF_SEEN * (1 + CHANGE_HIDES * min(1.0, p.evolution))
    visible = p.salience**2 / (p.salience**2 + half**2) * (p.regularity * p.prevalence) ** WEAK
    discharges = min(1.0, max(0.0, p.sharpness * 1.5 - 0.25))
    faster = np.log(p.rate / (ICTAL_HZ_RHYTHMIC + (ICTAL_HZ_PERIODIC - ICTAL_HZ_RHYTHMIC) * discharges))
    # raters disagree below the rate more than above
    ictal = faster / (0.12 if faster > 0 else 0.2) + 7 * p.evolution - 0.5
    return SPLIT + np.array([13 * visible - 6.5, ictal, 12 * (p.sharpness - 0.5), 11 * (p.laterality - 0.5)])


VOTES_PER_ROW = (
    *(4360, 2316, 51867, 3451, 3974, 883, 3, 0, 0, 1146, 2602, 4356, 7525, 3887, 10665, 5191, 1445, 1934, 250, 634),
    *(179, 54, 23, 24, 17, 20, 6, 5, 6),
)
"""How many rows of the competition's training set have 1, 2, 3, ... votes."""


@dataclass(frozen=True)
class Pool:
    """The fitted raters and the panels of them that vote together."""

    weights: np.ndarray  # (n_raters, 4, 6) of each decision on what `look` returns
    members: np.ndarray  # (n_panels, n_asked) raters, -1 after the last
    rows: dict[Population, np.ndarray]  # share of a population's rows (n_panels,) that a panel is asked about
    case_scores: np.ndarray  # (n, 4) scores of cases that real raters saw
    case_panels: np.ndarray  # (n,) the panel asked about each


@cache
def load_pool() -> Pool:
    """Return the raters of `raters.npz`, their panels asked so that rows have as many votes as the competition's."""
    with np.load(RATERS, allow_pickle=False) as found:
        weights, segments = found["weights"].astype(np.float64), found["segments"]
        asked = np.unpackbits(found["panels"], axis=1, count=len(weights)).astype(bool)
        cases = found["case_scores"].astype(np.float64), found["case_panels"].astype(np.intp)
    size = asked.sum(axis=1)
    rows = np.pad(VOTES_PER_ROW, (1, 8))[size] * segments / np.bincount(size, segments)[size]
    order = np.argsort(~asked, axis=1, kind="stable")[:, : size.max()]
    members = np.where(np.take_along_axis(asked, order, axis=1), order, -1)
    few, many = rows * (size < MANY_VOTES), rows * (size >= MANY_VOTES)
    return Pool(weights, members, {"few": few / few.sum(), "many": many / many.sum()}, *cases)


def look(scores: np.ndarray) -> np.ndarray:
    """Return what each of the four decisions rests on (..., 4, 6): 1, its own score, and all four squashed to -1, 1."""
    scores = np.asarray(scores, dtype=np.float64)
    bent = np.broadcast_to(np.tanh(scores)[..., None, :], (*scores.shape, 4))
    return np.concatenate([np.ones_like(scores)[..., None], scores[..., None], bent], axis=-1)


def combine(yes: np.ndarray) -> np.ndarray:
    """Return the probabilities (..., 6) of the six votes from those of the four decisions (..., 4)."""
    pattern, ictal, periodic, lateral = np.moveaxis(yes, -1, 0)
    calm = pattern * (1 - ictal)
    sharp, smooth = calm * periodic, calm * (1 - periodic)
    sides = [sharp * lateral, sharp * (1 - lateral), smooth * lateral, smooth * (1 - lateral)]
    return np.stack([pattern * ictal, *sides, 1 - pattern], axis=-1)


def rater_distributions(scores: np.ndarray, raters: np.ndarray) -> np.ndarray:
    """Return the probabilities of the six votes (..., m, 6) of `raters` (..., m) about windows of `scores` (..., 4)."""
    return combine(expit(np.einsum("...jf,...mjf->...mj", look(scores), load_pool().weights[raters], optimize=True)))


def expected_votes(scores: np.ndarray, population: Population) -> np.ndarray:
    """Return the distribution (..., 6) that votes about `scores` tend to, whichever raters of the population see it."""
    pool = load_pool()
    asked = pool.members >= 0
    rows = np.broadcast_to(pool.rows[population][:, None], asked.shape)[asked]
    shares = np.bincount(pool.members[asked], rows, len(pool.weights)) / rows.sum()
    usual = np.flatnonzero(shares > 1e-4)
    return np.einsum("...mc,m->...c", rater_distributions(scores, usual), shares[usual] / shares[usual].sum())


@dataclass(frozen=True)
class Raters:
    """Who is asked about each of n label events, and what chance does to them: the same for all windows of an event."""

    asked: np.ndarray  # (n, m) raters, -1 where fewer are asked
    draws: np.ndarray  # (n, m) uniform numbers, one for each one's vote

    def __getitem__(self, at: Any) -> Raters:
        """Return the raters of the events `at`."""
        return Raters(self.asked[at], self.draws[at])


def draw_raters(rng: np.random.Generator, panels: np.ndarray) -> Raters:
    """Ask `panels` (n,), each about one event, by fresh chance."""
    asked = load_pool().members[panels]
    asked = asked[:, : int((asked >= 0).sum(axis=1).max())]
    return Raters(asked, rng.random(asked.shape))


def cast_votes(scores: np.ndarray, raters: Raters) -> np.ndarray:
    """Ask `raters` of n events about windows with `scores` (n, 4), or of one event (4,); return counts (n, 6), (6,)."""
    below = np.cumsum(rater_distributions(scores, raters.asked), axis=-1)[..., :5]
    choice = (raters.draws[..., None] > below).sum(axis=-1)
    return np.stack([((choice == c) & (raters.asked >= 0)).sum(axis=-1) for c in range(6)], axis=-1)


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
