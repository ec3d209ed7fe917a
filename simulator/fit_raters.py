"""Fits the raters of `raters.npz` to the votes of 124 real ones; run by hand when the voters' decisions change.

`python -m simulator.fit_raters VOTES_PARQUET` reads one vote a row (segment, patient, rater, vote), leaves every fifth
patient out, and prints how likely the left-out votes are under this model and under simpler and freer ones.
With --write the model is then fitted to all votes and written.

A segment has four unknown scores. Their distribution is free: a weight for each point of a grid, fewer and ten or more
votes apart. The expectation-maximisation algorithm (Dawid and Skene, J R Stat Soc C 1979;28:20) alternates between
where on the grid each segment lies, given its votes, and each rater's four logistic regressions, given that. Raters
with few votes are drawn to the mean of the others, as far as raters differ.

Source of the votes: github.com/bdsp-core/IIIC-IRR, commit bf8ec99, Open Data Commons Attribution License v1.0;
Jing et al., Neurology 2023;100:e1737.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from scipy.special import expit
from tqdm import tqdm

from simulator.voters import RATERS, combine, look

LEVELS = [
    np.concatenate([[-2 * a], np.linspace(-a, a, n), [2 * a]]) for a, n in ((3.0, 7), (3.0, 5), (2.8, 5), (2.8, 5))
]
GRID = np.array(list(product(*LEVELS)))
ROUNDS, CHUNK, CASES = 40, 4000, 11_000
SLOPE = 4.0
"""How steep decisions are at first, and the fixed noise scale (1/4) of the model that knows thresholds alone."""
SPREAD = np.array([4.4, 2.0, 2.0, 2.0, 2.0, 2.0])
"""Deviation of the raters' weights at first."""
YES_OR_NO = (((0, 1, 2, 3, 4), (5,)), ((0,), (1, 2, 3, 4)), ((1, 2), (3, 4)), ((1, 3), (2, 4)))
"""The votes that say yes to each decision, and those that say no."""
LEANINGS = np.zeros((4, 6), dtype=bool)
for _decision, _scores in enumerate(((1, 2, 3), (2, 3), (3,), (2,))):
    LEANINGS[_decision, [2 + s for s in _scores]] = True
"""Which other scores a decision may lean on: those of the decisions after it, and lateralised on periodic."""
Update = Callable[[np.ndarray, int], np.ndarray]


@dataclass(frozen=True)
class Votes:
    """Real votes: `counts` (n_segments, 6 n_raters) with a column for each rater and vote, `size`, `patient` (n,)."""

    counts: csr_matrix
    size: np.ndarray
    patient: np.ndarray

    def __getitem__(self, at: np.ndarray) -> Votes:
        """Return the segments `at`."""
        return Votes(self.counts[at], self.size[at], self.patient[at])


def read_votes(path: Path) -> Votes:
    """Read one vote a row; a missing column is a ValueError."""
    frame = pd.read_parquet(path)
    missing = {"segment", "patient", "rater", "vote"} - set(frame.columns)
    if missing:
        raise ValueError(f"{path}: no column {', '.join(sorted(missing))}; it must have one vote a row")
    segment, first = np.unique(frame["segment"], return_index=True)
    at = np.searchsorted(segment, frame["segment"])
    column = frame["rater"].to_numpy(dtype=np.int64) * 6 + frame["vote"]
    shape = (len(segment), 6 * (int(frame["rater"].max()) + 1))
    counts = csr_matrix((np.ones(len(frame), dtype=np.float32), (at, column)), shape=shape)
    return Votes(counts, np.asarray(counts.sum(axis=1)).ravel(), frame["patient"].to_numpy()[first])


def locate(votes: Votes, log_p: np.ndarray, prior: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Find out where segments lie, by `log_p` of each vote of each rater at each point, (6 n_raters, n_points).

    `prior` (2, n_points) is the probability of the points for segments with fewer than ten votes and with ten or more.
    Returns the log likelihood; how many of the votes (6 n_raters, n_points), and how many segments (2, n_points), are
    expected to lie at each point.
    """
    likelihood, found, segments = 0.0, np.zeros(log_p.shape), np.zeros(prior.shape)
    many = (votes.size >= 10).astype(int)
    for start in range(0, len(votes.size), CHUNK):
        at = slice(start, start + CHUNK)
        x = votes.counts[at]
        log_joint = x @ log_p.astype(np.float32) + np.log(prior + 1e-12).astype(np.float32)[many[at]]
        top = log_joint.max(axis=1, keepdims=True)
        joint = np.exp(log_joint - top)
        total = joint.sum(axis=1, keepdims=True)
        likelihood += float((np.log(total) + top).sum())
        joint /= total
        found += x.T @ joint
        for group in (0, 1):
            segments[group] += joint[many[at] == group].sum(axis=0)
    return likelihood, found, segments


def fit(votes: Votes, log_p: np.ndarray, update: Update, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return log_p and prior (see `locate`) after ROUNDS rounds; `update` makes the next log_p from expected counts."""
    prior = np.full((2, log_p.shape[1]), 1 / log_p.shape[1])
    for step in tqdm(range(ROUNDS), desc=name, leave=False):
        _, found, segments = locate(votes, log_p, prior)
        prior = (segments + 1e-2 / prior.shape[1]) / (segments.sum(axis=1, keepdims=True) + 1e-2)
        log_p = update(found, step)
    return log_p, prior


class Decisions:
    """Each rater's four logistic regressions, `weights` (n_raters, 4, 6) on what `look` returns.

    noise, leanings: whether raters may differ in their noise, and lean on the scores of other decisions.
    """

    def __init__(self, n_raters: int, noise: bool = True, leanings: bool = True) -> None:
        self.x = np.moveaxis(look(GRID), 0, -1)
        self.mean = np.zeros((4, 6))
        self.mean[:, 1] = SLOPE
        self.spread = np.tile(SPREAD, (4, 1)) * np.where(LEANINGS | (np.arange(6) < 2), 1, 1e-6)
        self.spread[:, 1:] *= [[noise, *[leanings] * 4]]
        self.spread = np.maximum(self.spread, 1e-6)
        self.free = self.spread > 1e-5
        start = np.random.default_rng(0).normal(0, 0.3 * SLOPE, (n_raters, 4))
        self.weights = np.tile(self.mean, (n_raters, 1, 1))
        self.weights[:, :, 0] += start

    def log_p(self) -> np.ndarray:
        """Return the log probability of each vote of each rater at each point of the grid, (6 n_raters, n_points)."""
        yes = expit(np.einsum("rjf,jfk->rkj", self.weights, self.x, optimize=True))
        p = np.maximum(np.moveaxis(combine(yes), -1, 1), 1e-9)
        return np.log(p).reshape(-1, len(GRID))

    def update(self, found: np.ndarray, step: int) -> np.ndarray:
        """Take two Newton steps of every regression towards `found`; learn how much raters differ."""
        n = found.reshape(len(self.weights), 6, -1)
        for j, (votes_yes, votes_no) in enumerate(YES_OR_NO):
            x, w = self.x[j], self.weights[:, j]
            yes = n[:, votes_yes].sum(axis=1)
            total, precision = yes + n[:, votes_no].sum(axis=1), self.spread[j] ** -2.0
            for _ in range(2):
                p = expit(w @ x)
                slope = (yes - total * p) @ x.T - (w - self.mean[j]) * precision
                curvature = np.einsum("rk,ak,bk->rab", total * p * (1 - p), x, x, optimize=True) + np.diag(precision)
                w += np.clip(np.linalg.solve(curvature, slope[..., None])[..., 0], -1, 1)
        often = n.sum(axis=(1, 2)) > 500
        if step > 3 and often.any():
            known, self_only = self.weights[often], np.arange(6) == 1
            self.mean = np.where(self.free & self_only, known.mean(axis=0), self.mean)
            self.spread = np.where(self.free, np.sqrt(known.var(axis=0) + 0.05), self.spread)
        return self.log_p()


def own_confusions(n_raters: int, points: int, alike: bool) -> tuple[np.ndarray, Update]:
    """Return start and update of free confusion matrices, of each rater drawn to the common one, or all alike.

    Six points are the six classes; more are mixtures of them, found anew by the fit.
    """
    rng = np.random.default_rng(1)
    start = np.full((6, 6), 0.06) + np.eye(6) * 0.64 if points == 6 else rng.dirichlet(np.full(6, 0.5), points).T + 1e-3

    def update(found: np.ndarray, step: int) -> np.ndarray:
        n = found.reshape(n_raters, 6, points)
        common = n.sum(axis=0) + 0.5
        n = 5 * common / common.sum(axis=0) + (np.broadcast_to(common, n.shape) if alike else n)
        return np.log(n / n.sum(axis=1, keepdims=True)).reshape(-1, points)

    return np.tile(np.log(start), (n_raters, 1)), update


def compare(votes: Votes) -> None:
    """Print the log likelihood per left-out vote of simpler models, of this one, and of freer ones."""
    out = votes.patient % 5 == 4
    train, left = votes[~out], votes[out]
    n_raters = votes.counts.shape[1] // 6
    print(f"left out: every fifth patient, {len(left.size)} segments, {int(left.size.sum())} votes")
    print(f"{'log likelihood per left-out vote':44} {'all':>8} {'1 to 9':>8} {'10 up':>8} {'fitted':>8}")

    def show(name: str, log_p: np.ndarray, update: Update) -> None:
        log_p, prior = fit(train, log_p, update, name)
        parts = [(locate(v, log_p, prior)[0], v.size.sum()) for v in (left[left.size < 10], left[left.size >= 10])]
        total = sum(p[0] for p in parts) / sum(p[1] for p in parts)
        each = " ".join(f"{a / b:8.4f}" for a, b in parts)
        print(f"{name:44} {total:8.4f} {each} {locate(train, log_p, prior)[0] / train.size.sum():8.4f}", flush=True)

    show("independent raters, each with shares of its own", *own_confusions(n_raters, 1, False))
    show("one confusion matrix for all, 6 classes", *own_confusions(n_raters, 6, True))
    show("one for all, 200 mixtures of classes", *own_confusions(n_raters, 200, True))
    show("a confusion matrix each, 6 classes", *own_confusions(n_raters, 6, False))
    show("a confusion matrix each, 100 kinds of case", *own_confusions(n_raters, 100, False))
    for name, noise, leanings in (
        ("decisions: thresholds, one noise 1/4", False, False),
        ("decisions: thresholds and noise", True, False),
        ("decisions: thresholds, noise and leanings", True, True),
    ):
        model = Decisions(n_raters, noise, leanings)
        show(name, model.log_p(), model.update)


def write_raters(votes: Votes) -> None:
    """Fit the raters to all votes; write them, their panels, and cases: scores and panels of real segments.

    Who is asked depends on the case (some panels were only shown seizures), so that both are drawn together: the
    scores from what a segment's votes say of it.
    """
    model = Decisions(votes.counts.shape[1] // 6)
    log_p, prior = fit(votes, model.log_p(), model.update, "all votes")
    voted = np.asarray(votes.counts.todense()).reshape(len(votes.size), -1, 6).any(axis=2)
    panels, panel, segments = np.unique(voted, axis=0, return_inverse=True, return_counts=True)
    rng = np.random.default_rng(2)
    many = votes.size >= 10
    cases = np.concatenate([rng.choice(np.flatnonzero(group), CASES, replace=False) for group in (~many, many)])
    points = []
    for start in range(0, len(cases), CHUNK):
        at = cases[start : start + CHUNK]
        log_joint = votes.counts[at] @ log_p + np.log(prior + 1e-12)[many[at].astype(int)]
        points.append((log_joint + rng.gumbel(size=log_joint.shape)).argmax(axis=1))
    np.savez_compressed(
        RATERS,
        weights=model.weights.astype(np.float32),
        panels=np.packbits(panels, axis=1),
        segments=segments.astype(np.int32),
        case_scores=GRID[np.concatenate(points)].astype(np.float16),
        case_panels=panel.ravel()[cases].astype(np.int16),
    )


def main() -> None:
    """Print the table; with --write fit to all votes and write `raters.npz`."""
    parser = argparse.ArgumentParser(description="fit the raters to real votes")
    parser.add_argument("votes", type=Path, help="one vote a row: segment, patient, rater, vote (0 to 5)")
    parser.add_argument("--write", action="store_true", help=f"fit to all votes and write {RATERS.name}, no table")
    options = parser.parse_args()
    (write_raters if options.write else compare)(read_votes(options.votes))


if __name__ == "__main__":
    main()
