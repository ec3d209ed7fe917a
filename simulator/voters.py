"""The raters: what they see in the central 10 s of a window, and how each of them votes on it.

`simulator.plan` asks what a pattern must look like for raters to disagree as much as the real ones do,
`simulator.generate` asks them for votes, `simulator.calibrate` fits the population of signals they are shown.

A rater decides in the order of the ACNS 2021 critical care EEG terminology (Hirsch et al., J Clin Neurophysiol
2021;38:1-29): is there a periodic or rhythmic pattern at all; is it ictal (Salzburg criteria: 2.5 Hz or evolving);
has it discharges with an interval between them; is it lateralised. At each step stands one measurable property of the
signal, a threshold of the rater's own, and logistic noise. Raters differ most by their thresholds (Jing et al.,
Neurology 2023;100:e1737: disagreement of experts is mostly bias, not noise), which is why a window near a threshold
splits them. Nothing is added to a label: the votes are these decisions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm

POOL, PANEL = 30, 7
"""The raters of the many-vote windows, drawn anew for each, and the fixed panel that votes on the others in its order:
most of those were seen by the same three."""

NOISE = 0.25
"""Scale of the logistic noise of one decision, in the units of the scores; the thresholds of the pool spread by 1.1."""


def _spread_thresholds() -> np.ndarray:
    rng = np.random.default_rng(20)
    pool = norm.ppf((np.arange(POOL) + 0.5) / POOL) * 1.1
    thresholds = np.stack([rng.permutation(pool) for _ in range(4)], axis=1)
    core = np.array([[0, 1.2, -1.2, 1.2], [-1.2, 0, 0.3, 0.3], [1.2, -1.2, 1.2, -1.2]])
    return np.concatenate([thresholds, core, rng.normal(0, 1.1, (PANEL - 3, 4))])


THRESHOLDS = _spread_thresholds()
"""Each rater's thresholds (37, 4) on the four decisions, relative to the average rater's."""

ICTAL_HZ_PERIODIC, ICTAL_HZ_RHYTHMIC = 2.5, 3.4
"""The rate at which half of the raters call a pattern ictal that does not evolve: 2.5 Hz for discharges (ACNS: more
than 25 in 10 s), more for rhythmic delta, which is RDA up to 4 Hz."""


RHYTHM_DOUBT = np.where(np.arange(POOL + PANEL) < 4, 0.9, 0.0)
"""How often a rater takes rhythmic delta for slowing and votes Other: four of the pool do. Real many-vote rows of RDA
are hardly ever unanimous while a quarter of those of GRDA has four fifths of the votes, which needs such raters."""

HALF_SEEN = 1.1
"""The salience at which a pattern is half seen."""


@dataclass(frozen=True)
class Properties:
    """What can be measured of a pattern in the labelled 10 s.

    salience: 98th percentile of its amplitude over twice the background's root mean square, strongest channels;
    regularity: 1 for a clock with equal waves, 0 for waves that share neither interval nor shape;
    prevalence: share of the 10 s that it fills; rate: in hertz; evolution: 0 static, 1 unmistakable change of rate,
    shape and place; sharpness: 0 a sinusoid, 1 short sharp discharges with a flat interval between them;
    laterality: (E - e) / (E + e) of the energy over the two hemispheres, double banana.
    """

    salience: float
    regularity: float
    prevalence: float
    rate: float
    evolution: float
    sharpness: float
    laterality: float


def score(p: Properties) -> np.ndarray:
    """Return the four decision scores (pattern, ictal, periodic, lateralised): 0 splits the raters in half."""
    visible = p.salience**2 / (p.salience**2 + HALF_SEEN**2) * p.regularity * p.prevalence
    return np.array(
        [
            14 * visible - 7,
            np.log(p.rate / ictal_rate(p.sharpness)) / 0.12 + 7 * p.evolution - 0.5,
            12 * (p.sharpness - 0.5),
            11 * (p.laterality - 0.5),
        ]
    )


def ictal_rate(sharpness: float) -> float:
    """Return the rate in hertz at which a static pattern of this sharpness splits the raters."""
    return ICTAL_HZ_RHYTHMIC + (ICTAL_HZ_PERIODIC - ICTAL_HZ_RHYTHMIC) * min(1.0, max(0.0, sharpness * 1.5 - 0.25))


def rater_distributions(scores: np.ndarray, panel: bool) -> np.ndarray:
    """Return each rater's probabilities of the six votes.

    Parameters
    ----------
    scores : ndarray, shape (..., 4)
        The four decision scores of `score`.
    panel : bool
        Ask the fixed panel instead of the pool.

    Returns
    -------
    ndarray, shape (..., n_raters, 6)
        Rows sum to 1, columns in the order of VOTES.
    """
    thresholds = THRESHOLDS[POOL:] if panel else THRESHOLDS[:POOL]
    yes = 1 / (1 + np.exp(-(np.asarray(scores)[..., None, :] - thresholds) / NOISE))
    pattern, ictal, periodic, lateral = np.moveaxis(yes, -1, 0)
    calm = pattern * (1 - ictal)
    doubt = calm * (1 - periodic) * (RHYTHM_DOUBT[POOL:] if panel else RHYTHM_DOUBT[:POOL])
    rhythmic = calm * (1 - periodic) - doubt
    return np.stack(
        [
            pattern * ictal,
            calm * periodic * lateral,
            calm * periodic * (1 - lateral),
            rhythmic * lateral,
            rhythmic * (1 - lateral),
            1 - pattern + doubt,
        ],
        axis=-1,
    )


def expected_votes(scores: np.ndarray, panel: bool) -> np.ndarray:
    """Return the distribution (..., 6) of the votes of all raters of the pool, or of the panel's usual three."""
    each = rater_distributions(scores, panel)
    return (each[..., :3, :] if panel else each).mean(axis=-2)


@dataclass(frozen=True)
class Raters:
    """Who is asked about each of n label events, and what chance does to them: the same for all windows of an event.

    n_votes (n,); draws (n, POOL or PANEL) uniform numbers, one for each rater's choice; order (n, POOL or PANEL) in
    which raters are asked.
    """

    n_votes: np.ndarray
    draws: np.ndarray
    order: np.ndarray

    def __getitem__(self, at: Any) -> Raters:
        """Return the raters of the events `at`."""
        return Raters(self.n_votes[at], self.draws[at], self.order[at])


def draw_raters(rng: np.random.Generator, n_votes: np.ndarray, panel: bool) -> Raters:
    """Draw who is asked: of the panel always the first ones, of the pool any `n_votes` (n,)."""
    shape = (len(n_votes), PANEL if panel else POOL)
    draws = rng.random(shape, dtype=np.float32)
    order = np.arange(PANEL)[None].repeat(len(n_votes), axis=0) if panel else np.argsort(rng.random(shape), axis=1)
    return Raters(n_votes, draws, order.astype(np.int8))


def cast_votes(scores: np.ndarray, raters: Raters, panel: bool) -> np.ndarray:
    """Ask `raters` of n events about windows with `scores` (n, 4), or of one event (4,); return counts (n, 6), (6,)."""
    each = rater_distributions(scores, panel)
    choice = np.minimum((raters.draws[..., None] > np.cumsum(each, axis=-1)).sum(axis=-1), 5)
    choice = np.take_along_axis(choice, raters.order.astype(np.intp), axis=-1)
    asked = np.arange(choice.shape[-1]) < np.asarray(raters.n_votes)[..., None]
    return np.stack([((choice == c) & asked).sum(axis=-1) for c in range(6)], axis=-1)
