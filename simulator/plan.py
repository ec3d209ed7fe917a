"""From what raters shall think of a window to the properties its pattern must have.

`draw_plan` inverts `simulator.voters.score`, whatever its formula: a pattern is drawn from what physiology allows, and
one property of each decision is then set so that the decision has its score. What raters are sure of stays as drawn (a
1 Hz and a 2 Hz GPD are both no seizure), and where they are sure of a seizure, so do its sharpness and its side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from simulator.signals import draw_clipped, draw_size
from simulator.voters import Properties, score

SURE = 3.0  # beyond this score no rater's threshold lies
SURE_VISIBLE = 2.2
"""Beyond this score of "is there a pattern" hardly any rater doubts it, and it stands out as far as it may."""
SURE_SEIZURE = 1.0
"""Beyond this score of "is it ictal" hardly any rater goes on to ask whether it is periodic or lateralised."""
MOST_SALIENT = 20.0
MOST_EVOLUTION = 2.5
"""Above 1 not the change alone says seizure but the shape too, as polyspikes of 1 Hz do; the change is played as 1."""

Kind = Literal["calm", "rhythm", "spike_wave", "irregular", "polyspikes", "fast"]


@dataclass(frozen=True)
class Habit:
    """What seizures of a kind are like: their share, rate in hertz, sharpness, and salience where it is sure."""

    share: float
    rate: tuple[float, float, float, float]  # median, deviation of its logarithm, lowest, highest
    sharpness: tuple[float, float]
    salience: tuple[float, float] = (7.0, 0.7)  # median, deviation of its logarithm


SEIZURES: dict[Kind, Habit] = {
    "rhythm": Habit(0.46, (2.6, 0.35, 1.5, 9), (0.05, 0.5)),  # of any rate, which evolves
    "spike_wave": Habit(0.22, (2.6, 0.3, 1.6, 4.5), (0.6, 0.98)),  # spikes or sharp waves, with slow waves or without
    "irregular": Habit(0.15, (2.2, 0.35, 1.0, 5), (0.25, 0.85)),  # its regions run out of step
    "polyspikes": Habit(0.08, (1.2, 0.35, 0.6, 1.95), (0.6, 0.98)),
    "fast": Habit(0.09, (11, 0.4, 5, 22), (0.0, 0.4), (2.5, 0.5)),  # low, in few channels
}
"""Niedermeyer, 7th ed., ch. 30; Leitinger et al., Lancet Neurol 2016;15:1054; ACNS 2021."""
CALM_RHYTHM, CALM_DISCHARGES = (1.25, 0.4, 0.5, 3.6), (0.9, 0.45, 0.3, 3.0)  # their rates, as `Habit.rate`


@dataclass(frozen=True)
class Plan:
    """A pattern to render: the properties it shall have, and the choices that raters do not care about."""

    properties: Properties
    side: int  # -1 left, 1 right
    kind: Kind  # a seizure begins or ends, spreads, and leaves a post-ictal state; what is calm does not
    unrest: float  # how much its waves differ in time, size and shape
    apart: float  # 0 all regions run in step, 1 each at its own rate
    bilateral: bool  # BIPD: both hemispheres discharge, each at its own times

    @property
    def seizure(self) -> bool:
        """Whether it is a seizure."""
        return self.kind != "calm"


def draw_plan(rng: np.random.Generator, scores: np.ndarray) -> Plan:
    """Draw one of the patterns whose decision scores are `scores` (4,)."""
    visible, ictal, periodic, lateral = (float(s) for s in scores)
    p = Properties(1.0, 1.0, 1.0, 2.0, 0.0, 0.5, 0.5)
    p = replace(p, sharpness=_find_free(rng, lambda value: replace(p, sharpness=value), 2, periodic))
    p = replace(p, laterality=_find_free(rng, lambda value: replace(p, laterality=value), 3, lateral))
    if lateral < -SURE:  # most generalised patterns are the same on both sides
        p = replace(p, laterality=p.laterality * rng.beta(1.5, 1.5))
    kind = _draw_kind(rng, ictal, p.sharpness)
    if kind != "calm" and ictal > SURE_SEIZURE:
        bilateral = kind != "fast" and rng.random() < 0.6
        p = replace(p, sharpness=rng.uniform(*SEIZURES[kind].sharpness))
        p = replace(p, laterality=rng.beta(1.2, 6) if bilateral else rng.uniform(0.3, 1))
    p = _set_rate(rng, p, kind, ictal)
    p = _set_salience(rng, p, kind, visible)
    unrest, apart = 1 - p.regularity, 0.0
    if kind != "calm":  # a seizure is seen by its evolution; raters ask no regularity of it
        unrest = float(np.clip(rng.beta(1.2, 9) + (0.3 if kind == "irregular" else 0), 0, 0.8))
        apart = rng.uniform(0.3, 1) if kind == "irregular" else rng.beta(1, 6)
    return Plan(
        p,
        side=1 if rng.random() < 0.5 else -1,
        kind=kind,
        unrest=unrest,
        apart=apart,
        bilateral=p.sharpness > 0.55 and p.laterality < 0.75 and rng.random() < 0.2,
    )


def _find(make: Callable[[float], Properties], decision: int, target: float, low: float, high: float) -> float:
    """Return the value from `low` to `high` with which `make` gives a decision the score `target`, or comes nearest.

    The score must rise with the value.
    """
    for _ in range(16):
        middle = (low + high) / 2
        low, high = (middle, high) if score(make(middle))[decision] < target else (low, middle)
    return (low + high) / 2


def _find_free(rng: np.random.Generator, make: Callable[[float], Properties], decision: int, target: float) -> float:
    """Return a property, from 0 to 1, at the score `target`; any on the same side where raters are sure."""
    if abs(target) <= SURE:
        return _find(make, decision, target, 0.0, 1.0)
    edge = _find(make, decision, float(np.sign(target)) * SURE, 0.0, 1.0)
    return rng.uniform(edge, 1) if target > 0 else rng.uniform(0, edge)


def _draw_kind(rng: np.random.Generator, ictal: float, sharpness: float) -> Kind:
    if ictal <= SURE and rng.random() > 1 / (1 + np.exp(-2 * (ictal - 0.5))):
        return "calm"
    kinds = list(SEIZURES)
    if ictal <= SURE_SEIZURE:  # the sharpness is asked for
        kinds = [k for k in kinds if SEIZURES[k].sharpness[0] - 0.05 <= sharpness <= SEIZURES[k].sharpness[1] + 0.05]
    kinds = [k for k in kinds if k != "fast" or ictal > SURE] or ["irregular"]
    weights = np.array([SEIZURES[k].share for k in kinds])
    return kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))]


def _set_rate(rng: np.random.Generator, p: Properties, kind: Kind, ictal: float) -> Properties:
    """Return `p` with a rate and an evolution at the score `ictal`."""
    calm = CALM_DISCHARGES if p.sharpness > 0.5 else CALM_RHYTHM
    p = replace(p, rate=draw_clipped(rng, *(calm if kind == "calm" else SEIZURES[kind].rate)))
    if ictal < -SURE:
        p = replace(p, evolution=rng.uniform(0, 0.08))
        highest = _find(lambda value: replace(p, rate=value), 1, -SURE, 0.2, 20)
        return p if p.rate < highest else replace(p, rate=rng.uniform(0.45, 1) * highest)
    most = MOST_EVOLUTION if kind != "calm" else rng.uniform(0.1, 0.6)
    needed = _find(lambda value: replace(p, evolution=value), 1, ictal, 0.0, most)
    if ictal > SURE:
        return replace(p, evolution=max(needed, rng.uniform(0.15, 1.0)))
    p = replace(p, evolution=needed)
    return replace(p, rate=_find(lambda value: replace(p, rate=value), 1, ictal, 0.2, 20))


def _set_salience(rng: np.random.Generator, p: Properties, kind: Kind, visible: float) -> Properties:
    """Return `p` with regularity, prevalence and salience at the score `visible`."""
    regularity = rng.beta(7, 1.3) if kind == "calm" else rng.beta(4, 2)  # a doubtful seizure is seldom a faint one
    steady = 0.5 if kind == "calm" and p.sharpness < 0.5 else 0.65
    prevalence = 1.0 if rng.random() < steady else rng.uniform(0.45 if kind == "calm" else 0.3, 1)
    if visible < -SURE:
        if rng.random() < 0.3:  # not faint but without order, or brief
            regularity, prevalence = rng.uniform(0.05, 0.5), rng.uniform(0.1, 1)
        visible = rng.uniform(-7, -SURE)
    target = min(visible, SURE)

    def shape(power: float) -> Properties:  # 0 as drawn, 1 a clock without pause
        return replace(p, regularity=regularity ** (1 - power), prevalence=prevalence ** (1 - power))

    most = rng.uniform(4, MOST_SALIENT)
    p = shape(_find(lambda power: replace(shape(power), salience=most), 0, target, 0.0, 1.0))
    salience = _find(lambda value: replace(p, salience=value), 0, target, 0.02, MOST_SALIENT)
    if visible > SURE_VISIBLE:
        usual = (5.0, 0.7) if kind == "calm" else SEIZURES[kind].salience
        salience = max(salience, min(MOST_SALIENT, draw_size(rng, *usual)))
    return replace(p, salience=salience)
