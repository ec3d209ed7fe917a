"""From what raters shall think of a window to the properties its pattern must have; called by `simulator.generate`.

`draw_plan` inverts `simulator.voters.score`: many patterns convince the same share of raters, and one of them is drawn.
A decision on which all raters agree leaves its property free (a 1 Hz and a 2 Hz GPD are both no seizure).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.voters import HALF_SEEN, Properties, ictal_rate

SURE = 3.0
"""Beyond this score no rater's threshold lies."""


@dataclass(frozen=True)
class Plan:
    """A pattern to render: the properties it shall have, and the choices that raters do not care about."""

    properties: Properties
    side: int  # -1 left, 1 right
    seizure: bool  # has an onset or an offset, spreads, and leaves a post-ictal state
    bilateral: bool  # BIPD: both hemispheres discharge, each at its own times


def draw_plan(rng: np.random.Generator, scores: np.ndarray) -> Plan:
    """Draw one of the patterns whose decision scores are `scores` (4,)."""
    visible, ictal, periodic, lateral = (float(s) for s in scores)
    sharpness = _free(rng, periodic, 12.0, 0.5)
    laterality = _free(rng, lateral, 11.0, 0.5)
    if visible > SURE:
        salience, regularity, prevalence = 0.0, rng.uniform(0.84, 1), 1.0 if rng.random() < 0.8 else rng.uniform(0.9, 1)
        needed = ((SURE + 7) / 14) / (regularity * prevalence)
        least = HALF_SEEN * np.sqrt(needed / max(1 - needed, 0.05))
        salience = max(least, min(12.0, rng.lognormal(np.log(4.2 if ictal > 0.8 else 3.2), 0.5)))
    else:
        quality = (visible + 7) / 14 if visible > -SURE else rng.uniform(0.005, (7 - SURE) / 14)
        salience, regularity, prevalence = _split(rng, float(np.clip(quality, 0.005, 0.9)), visible < -SURE)
    rate, evolution = _draw_rate(rng, ictal, sharpness)
    properties = Properties(salience, regularity, prevalence, rate, evolution, sharpness, laterality)
    return Plan(
        properties,
        side=1 if rng.random() < 0.5 else -1,
        seizure=ictal > 0.8 and (evolution > 0.25 or rng.random() < 0.3),
        bilateral=sharpness > 0.55 and laterality < 0.75 and rng.random() < 0.2,
    )


def _free(rng: np.random.Generator, score: float, slope: float, middle: float) -> float:
    """Return the property at `score`; any on the same side where raters are sure."""
    edge = SURE / slope
    distance = np.sign(score) * rng.uniform(edge, 0.5) if abs(score) > SURE else score / slope
    return float(np.clip(middle + distance, 0.0, 1.0))


def _split(rng: np.random.Generator, quality: float, hopeless: bool) -> tuple[float, float, float]:
    """Return salience, regularity and prevalence whose product is `quality`, with salience as voters count it."""
    if hopeless and rng.random() < 0.45:
        part = np.array([0.96, 0.03, 0.01])
    else:
        part = rng.dirichlet([1.2, 1.3, 0.7])
        part[1:] *= min(1.0, 1.0 / max(1e-9, -np.log(quality) * part[1:].max() / 1.9))
        part[0] = 1 - part[1:].sum()
    seen, regularity, prevalence = (float(np.exp(np.log(quality) * p)) for p in part)
    if prevalence > 0.97:
        regularity, prevalence = regularity * prevalence, 1.0
    seen = min(seen, 0.96)
    return float(HALF_SEEN * np.sqrt(seen / (1 - seen))), regularity, prevalence


def _draw_rate(rng: np.random.Generator, ictal: float, sharpness: float) -> tuple[float, float]:
    """Return rate and evolution at the score `ictal`."""
    pivot = ictal_rate(sharpness)
    if ictal < -SURE:
        highest = pivot * np.exp(0.12 * (0.5 - SURE))
        usual = rng.lognormal(np.log(1.1 if sharpness > 0.5 else 1.6), 0.35)
        rate = usual if 0.35 < usual < highest else rng.uniform(0.45, highest)
        return float(rate), rng.uniform(0, 0.08) if rate < 0.8 * highest else 0.0
    if ictal > SURE:
        kind = rng.random()
        if kind < 0.5:  # spike and wave, or fast discharges
            rate = pivot * rng.uniform(1.0, 1.6)
            evolution = rng.uniform(0.15, 0.8)
        else:  # a rhythm that changes
            rate = rng.lognormal(np.log(3.2), 0.45)
            evolution = rng.uniform(0.5, 1.0)
        rate = float(np.clip(rate, 1.4, 14))
        short = SURE + 0.5 - np.log(rate / pivot) / 0.12
        return rate, float(np.clip(max(evolution, short / 7), 0, 1))
    for _ in range(20):
        evolution = rng.beta(1, 5) if ictal < 0 else rng.beta(1.5, 2.5)
        rate = pivot * np.exp(0.12 * (ictal + 0.5 - 7 * evolution))
        if 0.6 < rate < 12:
            break
    return float(rate), float(evolution)
