"""Chooses the events of `population.npz` by the published figures of the real votes; run by hand when voters change.

`python -m simulator.calibrate ../shared/facts/votes.json` draws windows of every kind, lets raters vote on them, and
finds the weights nearest to equal (maximum entropy: Csiszar, Ann Probab 1975;3:146) under which all published figures
hold; each is a mean of something computed row by row, so the problem is convex. The library is drawn by these weights.
With --report it only says how many of the figures hold.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import logsumexp, softmax

from kernel.constants import VOTES
from simulator.plan import draw_plan
from simulator.population import (
    CANDIDATES,
    JITTER,
    LIBRARY,
    VOTINGS,
    Population,
    draw_all_raters,
    draw_n_votes,
    load_library,
)
from simulator.voters import cast_votes, draw_raters, expected_votes, score

FIGURES = {"few": "votes_lt_10", "many": "votes_ge_10"}
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
SLACK = 3e-5
MARGIN = 0.03
"""How far the rows that have a share reach beyond the quantiles that are said to have it."""
DRAWINGS = 100
JITTERS = 4
"""How often each event is voted on, each time with scores a little different, as they are when events are drawn."""
Figures = dict[str, np.ndarray]


def describe_votes(votes: np.ndarray) -> Figures:
    """Return the published figures of `votes` (n, 6): majority share, co-votes, agreement, quantiles, entropy."""
    shares = votes / votes.sum(axis=1, keepdims=True)
    majority, top = shares.argmax(axis=1), shares.max(axis=1)
    groups = [majority == c for c in range(6)]
    return {
        "majority_share": np.array([g.mean() for g in groups]),
        "co_vote": np.array([shares[g].mean(axis=0) for g in groups]),
        "unanimous_share_by_class": np.array([(top[g] > 0.999).mean() for g in groups]),
        "top_share_quantiles_by_class": np.array([np.quantile(top[g], QUANTILES) for g in groups]),
        "mean_entropy_nats": np.array(_entropy(shares).mean()),
        "mean_soft_label": shares.mean(axis=0),
    }


def read_figures(path: Path, population: Population) -> Figures:
    """Return the published figures of one population under the names of `describe_votes`."""
    found: dict[str, Any] = dict(json.loads(path.read_text())[FIGURES[population]])
    quantiles = found["top_share_quantiles_by_class"]
    found["top_share_quantiles_by_class"] = [quantiles[vote] for vote in VOTES]
    return {key: np.asarray(value) for key, value in found.items() if key != "rows"}


def compare_figures(real: Figures, simulated: Figures) -> list[tuple[str, float, float]]:
    """Return (name, real, simulated) of every published figure."""
    return [
        (f"{key}{list(index) if index else ''}", float(want[index]), float(simulated[key][index]))
        for key, want in real.items()
        for index in np.ndindex(want.shape)
    ]


def choose_library(target: Figures, population: Population, size: int = 16_384) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores (size, 4) of label events whose votes have the figures `target`, and their raters (size,)."""
    rng = np.random.default_rng(7)
    scores = np.tile(_propose(rng, target, CANDIDATES), (VOTINGS, 1)).astype(np.float16).astype(np.float64)
    raters = draw_all_raters(population)
    votings = [
        cast_votes(scores + rng.normal(0, JITTER, scores.shape), raters, population == "few") for _ in range(JITTERS)
    ]
    weights = _balance(np.mean([_features(votes, target, population) for votes in votings], axis=0))
    print(f"{population}: {1 / (weights**2).sum():.0f} effective events of {len(weights)}")
    votes = votings[0]
    best, chosen = np.inf, np.zeros(size, dtype=np.intp)
    for _ in range(DRAWINGS):  # evenly over classes and certainty, and of several such drawings the nearest
        keys = (rng.random(len(votes)), *(votes.T if population == "few" else ()))
        order = np.lexsort((*keys, votes.max(axis=1) / votes.sum(axis=1), votes.argmax(axis=1)))
        places = (np.arange(size) + rng.random()) / size
        drawn = order[np.minimum(np.searchsorted(np.cumsum(weights[order]), places), len(scores) - 1)]
        table = compare_figures(target, describe_votes(np.concatenate([v[drawn] for v in votings])))
        furthest = max(abs(simulated / real - 1) for _, real, simulated in table)
        if furthest < best:
            best, chosen = furthest, drawn
    return scores[chosen], chosen


def _balance(features: np.ndarray) -> np.ndarray:
    """Return weights (n,) under which all features (n, k) have nearly mean 0.

    Damped Newton steps on the dual; the slack allowed to a mean starts wide and narrows, each solution the next start.
    """
    multipliers = np.zeros(features.shape[1])

    def value(at: np.ndarray, slack: float) -> float:
        return float(logsumexp(features @ at) + slack * at @ at)

    for slack in np.geomspace(1.0, SLACK, 16):
        for _ in range(25):
            weights = softmax(features @ multipliers)
            mean = weights @ features
            gradient = mean + 2 * slack * multipliers
            curvature = (features * weights[:, None]).T @ features - np.outer(mean, mean)
            step = np.linalg.solve(curvature + 2 * slack * np.eye(len(mean)), gradient)
            start, slope, size = value(multipliers, slack), gradient @ step, 1.0
            while value(multipliers - size * step, slack) > start - 0.1 * size * slope and size > 1e-6:
                size /= 3
            if size <= 1e-6 or slope < 1e-7:
                break
            multipliers -= size * step
        print(f"slack {slack:.1e}: furthest figure {np.abs(mean).max():.3f}, {1 / (weights**2).sum():.0f} effective")
    return softmax(features @ multipliers)


def _propose(rng: np.random.Generator, target: Figures, size: int) -> np.ndarray:
    """Draw windows of every kind: a leading class, any certainty, a rest near the published co-votes."""
    leader = rng.choice(6, size=size, p=target["majority_share"] / target["majority_share"].sum())
    certainty = np.where(rng.random(size) < 0.4, rng.beta(8, 0.5, size), rng.uniform(0.2, 1, size))
    others = (target["co_vote"] * (1 - np.eye(6)))[leader] + 1e-4
    others /= others.sum(axis=1, keepdims=True)
    rest = rng.standard_gamma(others * rng.choice([1.0, 4.0, 20.0], size)[:, None]) + 1e-7
    p = rest / rest.sum(axis=1, keepdims=True) * (1 - certainty)[:, None]
    p[np.arange(size), leader] += certainty
    periodic, rhythmic = p[:, 1] + p[:, 2], p[:, 3] + p[:, 4]
    lateral = np.where(periodic > rhythmic, np.log(p[:, 1] / p[:, 2]), np.log(p[:, 3] / p[:, 4]))
    calm = periodic + rhythmic
    scores = np.stack(
        [np.log((p[:, 0] + calm) / p[:, 5]), np.log(p[:, 0] / calm), np.log(periodic / rhythmic), lateral], axis=1
    )
    # The raters' own thresholds flatten a decision; other spreads than the average rater's make up for it.
    scores = scores * rng.uniform(0.5, 1.5, scores.shape) + rng.normal(0, 0.7, scores.shape)
    # One decision near the raters' thresholds, so that every kind of split is among the windows.
    near = rng.random(scores.shape) < np.array([0.25, 0.25, 0.25, 0.25]) * (rng.random((size, 1)) < 0.6)
    scores[near] = rng.uniform(-2.8, 2.8, near.sum())
    return np.clip(scores, (-6.8, -9, -5.8, -5.3), (6.8, 9, 5.8, 5.3))


def _features(votes: np.ndarray, target: Figures, population: Population) -> np.ndarray:
    """Return (n, k): what has mean 0 where the figures hold, scaled so that 1 is as far off as the figure is large."""
    shares = votes / votes.sum(axis=1, keepdims=True)
    majority, top = shares.argmax(axis=1), shares.max(axis=1)
    columns = []
    for c in range(6):
        mine = (majority == c).astype(np.float64)
        share = target["majority_share"][c]
        columns.append(mine / share - 1)
        columns.extend(mine * (shares[:, j] / target["co_vote"][c, j] - 1) / share for j in range(6))
        agree = target["unanimous_share_by_class"][c]
        columns.append(mine * ((top > 0.999) - agree) / agree / share)
        levels: dict[float, list[float]] = {}
        for u, value in zip(QUANTILES, target["top_share_quantiles_by_class"][c], strict=True):
            if value < 0.999:
                levels.setdefault(float(value), []).append(u)
        for value, us in levels.items():
            below, upto = top < value - 0.002, top < value + 0.002
            if population == "few" or len(us) > 1:  # few votes have few shares: this one holds all these quantiles
                columns.append(mine * (below - (min(us) - MARGIN)) / share)
                columns.append(mine * (upto - (max(us) + MARGIN)) / share)
            else:
                columns.append(mine * (0.5 * below + 0.5 * upto - np.mean(us)) / share)
    columns.append(_entropy(shares) / target["mean_entropy_nats"] - 1)
    columns.extend(shares[:, j] / target["mean_soft_label"][j] - 1 for j in range(6))
    return np.stack(columns, axis=1)


def _entropy(shares: np.ndarray) -> np.ndarray:
    return -(shares * np.log(np.where(shares > 0, shares, 1))).sum(axis=1)


def report(path: Path) -> None:
    """Print how many published figures hold to a tenth: for the library, its patterns as planned, and fresh raters."""
    rng = np.random.default_rng(5)
    names: tuple[Population, Population] = ("few", "many")
    for name in names:
        target, library, panel = read_figures(path, name), load_library(name), name == "few"
        at = np.tile(np.arange(len(library.scores)), 9)
        scores, raters = library.scores[at] + rng.normal(0, JITTER, (len(at), 4)), library.raters[at]
        planned = np.array([score(draw_plan(rng, s).properties) for s in scores[: len(library.scores)]])
        fresh = draw_raters(rng, draw_n_votes(rng, name, len(at)), panel)
        cast = {
            "the library": (scores, cast_votes(scores, raters, panel)),
            "as planned": (planned, cast_votes(planned, library.raters, panel)),
            "fresh raters": (scores, cast_votes(scores, fresh, panel)),
        }
        for kind, (seen, votes) in cast.items():
            table = compare_figures(target, describe_votes(votes))
            held = sum(abs(simulated - real) <= 0.1 * real for _, real, simulated in table)
            shares = votes / votes.sum(axis=1, keepdims=True)
            expected = np.maximum(expected_votes(seen, panel), 1e-4)
            divergence = (shares * np.log(np.where(shares > 0, shares, 1) / np.where(shares > 0, expected, 1))).sum(1)
            print(f"{name}, {kind}: {held} of {len(table)} figures; KL of votes from expected {divergence.mean():.3f}")


def main() -> None:
    """Choose both libraries and write them, unless only asked to --report; print the figures that hold."""
    path = Path(sys.argv[1])
    if "--report" not in sys.argv:
        chosen: dict[str, np.ndarray] = {}
        names: tuple[Population, Population] = ("few", "many")
        for name in names:
            scores, voting = choose_library(read_figures(path, name), name)
            chosen[name], chosen[f"{name}_raters"] = scores.astype(np.float16), voting.astype(np.int32)
        np.savez_compressed(LIBRARY, **chosen)
    report(path)


if __name__ == "__main__":
    main()
