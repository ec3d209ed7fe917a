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
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from scipy.special import expit
from tqdm import tqdm

from kernel.table import MANY_VOTES
from simulator.voters import RATERS, combine, look

LEVELS = [
    np.concatenate([[-2 * a], np.linspace(-a, a, n), [2 * a]]) for a, n in ((3.0, 7), (3.0, 5), (2.8, 5), (2.8, 5))
]
GRID = np.array(list(product(*LEVELS)))
ROUNDS, CHUNK, CASES = 40, 4000, 11_000
SLOPE = 4.0
"""How steep decisions are at first, and the fixed noise scale (1/4) of the model that knows thresholds alone."""
SPREAD = (4.4, 2.0, 2.0, 2.0, 2.0, 2.0)  # deviation of the raters' weights at first
FIXED = 2e-6  # that of weights in which raters do not differ
YES_OR_NO = (((0, 1, 2, 3, 4), (5,)), ((0,), (1, 2, 3, 4)), ((1, 2), (3, 4)), ((1, 3), (2, 4)))
"""The votes that say yes to each decision, and those that say no."""
LEANINGS = np.array([[0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 1, 0]], dtype=bool)
"""On which scores each decision may lean: those of the decisions after it, and lateralised on periodic."""


@dataclass(frozen=True)
class Votes:
    """Real votes: `counts` (n_segments, 6 n_raters) with a column for each rater and vote, `size`, `patient` (n,)."""

    counts: csr_matrix
    size: np.ndarray
    patient: np.ndarray

    def __getitem__(self, at: np.ndarray | slice) -> Votes:
        """Return the segments `at`."""
        return Votes(self.counts[at], self.size[at], self.patient[at])


def read_votes(path: Path) -> Votes:
    """Read one vote a row; a missing column is a ValueError."""
    frame = pd.read_parquet(path)
    missing = {"segment", "patient", "rater", "vote"} - set(frame.columns)
    if missing:
        raise ValueError(f"{path}: no column {', '.join(sorted(missing))}; it must have one vote a row")
    segment, first, at = np.unique(frame["segment"], return_index=True, return_inverse=True)
    column = frame["rater"].to_numpy(dtype=np.int64) * 6 + frame["vote"]
    shape = (len(segment), 6 * (int(frame["rater"].max()) + 1))
    counts = csr_matrix((np.ones(len(frame), dtype=np.float32), (at, column)), shape=shape)
    return Votes(counts, np.asarray(counts.sum(axis=1)).ravel(), frame["patient"].to_numpy()[first])


class Confusions:
    """The simpler and freer models: confusion matrices, of each rater drawn to the common one, or all `alike`.

    Six points are the six classes; more are mixtures of them, found anew by the fit.
    """

    def __init__(self, n_raters: int, points: int, alike: bool) -> None:
        self.alike = alike
        start = np.full((6, 6), 0.06) + np.eye(6) * 0.64
        if points != 6:
            start = np.random.default_rng(1).dirichlet(np.full(6, 0.5), points).T + 1e-3
        self.log_p = np.tile(np.log(start), (n_raters, 1))

    def update(self, found: np.ndarray, step: int) -> None:
        """Take the shares of the votes in `found`, after a few more that are as those of all raters."""
        n = found.reshape(-1, 6, found.shape[1])
        common = n.sum(axis=0) + 0.5
        n = 5 * common / common.sum(axis=0) + (np.broadcast_to(common, n.shape) if self.alike else n)
        self.log_p = np.log(n / n.sum(axis=1, keepdims=True)).reshape(found.shape)


class Decisions:
    """Each rater's four logistic regressions, `weights` (n_raters, 4, 6) on what `look` returns.

    noise, leanings: whether raters may differ in their noise, and lean on the scores of other decisions.
    """

    def __init__(self, n_raters: int, noise: bool = True, leanings: bool = True) -> None:
        self.x = np.moveaxis(look(GRID), 0, -1)
        self.free = np.column_stack([[True] * 4, [noise] * 4, LEANINGS & leanings])
        self.spread = np.where(self.free, SPREAD, FIXED)
        self.mean = np.zeros((4, 6))
        self.mean[:, 1] = SLOPE
        self.weights = np.tile(self.mean, (n_raters, 1, 1))
        self.weights[:, :, 0] += np.random.default_rng(0).normal(0, 0.3 * SLOPE, (n_raters, 4))

    @property
    def log_p(self) -> np.ndarray:
        """The log probability of each vote of each rater at each point of the grid, (6 n_raters, n_points)."""
        yes = expit(np.einsum("rjf,jfk->rkj", self.weights, self.x, optimize=True))
        p = np.maximum(np.moveaxis(combine(yes), -1, 1), 1e-9)
        return np.log(p).reshape(-1, len(GRID))

    def update(self, found: np.ndarray, step: int) -> None:
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
        known = self.weights[n.sum(axis=(1, 2)) > 500]
        if step > 3 and len(known):
            self.mean[:, 1] = np.where(self.free[:, 1], known[:, :, 1].mean(axis=0), self.mean[:, 1])
            self.spread = np.where(self.free, np.sqrt(known.var(axis=0) + 0.05), self.spread)


def locate(votes: Votes, log_p: np.ndarray, prior: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Find out where segments lie, by `log_p` of each vote of each rater at each point, (6 n_raters, n_points).

    `prior` (2, n_points) is the probability of the points for segments with fewer than ten votes and with ten or more.
    Returns the log likelihood; how many of the votes (6 n_raters, n_points), and how many segments (2, n_points), are
    expected to lie at each point.
    """
    likelihood, found, segments = 0.0, np.zeros(log_p.shape), np.zeros(prior.shape)
    for part, log_joint in _weigh(votes, log_p, prior, np.float32):
        top = log_joint.max(axis=1, keepdims=True)
        joint = np.exp(log_joint - top)
        total = joint.sum(axis=1, keepdims=True)
        likelihood += float((np.log(total) + top).sum())
        joint /= total
        found += part.counts.T @ joint
        many = part.size >= MANY_VOTES
        segments += [joint[~many].sum(axis=0), joint[many].sum(axis=0)]
    return likelihood, found, segments


def _weigh(votes: Votes, log_p: np.ndarray, prior: np.ndarray, dtype: type) -> Iterator[tuple[Votes, np.ndarray]]:
    """Yield some segments at a time with the log probability of each and each point, (n, n_points)."""
    log_p, log_prior = log_p.astype(dtype), np.log(prior + 1e-12).astype(dtype)
    for start in range(0, len(votes.size), CHUNK):
        part = votes[start : start + CHUNK]
        yield part, part.counts @ log_p + log_prior[(part.size >= MANY_VOTES).astype(int)]


def fit(votes: Votes, model: Confusions | Decisions, name: str) -> np.ndarray:
    """Fit the model in ROUNDS rounds, and return the prior of the points (see `locate`)."""
    n_points = model.log_p.shape[1]
    prior = np.full((2, n_points), 1 / n_points)
    for step in tqdm(range(ROUNDS), desc=name, leave=False):
        _, found, segments = locate(votes, model.log_p, prior)
        prior = (segments + 1e-2 / n_points) / (segments.sum(axis=1, keepdims=True) + 1e-2)
        model.update(found, step)
    return prior


def compare(votes: Votes) -> None:
    """Print the log likelihood per left-out vote of simpler models, of this one, and of freer ones."""
    out = votes.patient % 5 == 4
    train, left = votes[~out], votes[out]
    n = votes.counts.shape[1] // 6
    print(f"left out: every fifth patient, {len(left.size)} segments, {int(left.size.sum())} votes")
    print(f"{'log likelihood per left-out vote':44} {'all':>8} {'1 to 9':>8} {'10 up':>8} {'fitted':>8}")
    models: dict[str, Confusions | Decisions] = {
        "independent raters, each with shares of its own": Confusions(n, 1, alike=False),
        "one confusion matrix for all, 6 classes": Confusions(n, 6, alike=True),
        "one for all, 200 mixtures of classes": Confusions(n, 200, alike=True),
        "a confusion matrix each, 6 classes": Confusions(n, 6, alike=False),
        "a confusion matrix each, 100 kinds of case": Confusions(n, 100, alike=False),
        "decisions: thresholds, one noise 1/4": Decisions(n, noise=False, leanings=False),
        "decisions: thresholds and noise": Decisions(n, leanings=False),
        "decisions: thresholds, noise and leanings": Decisions(n),
    }
    groups = (left, left[left.size < MANY_VOTES], left[left.size >= MANY_VOTES], train)
    for name, model in models.items():
        prior, log_p = fit(train, model, name), model.log_p
        each = (locate(group, log_p, prior)[0] / group.size.sum() for group in groups)
        print(f"{name:44}", *(f"{likelihood:8.4f}" for likelihood in each), flush=True)


def write_raters(votes: Votes) -> None:
    """Fit the raters to all votes; write them, their panels, and cases: scores and panels of real segments.

    Who is asked depends on the case (some panels were only shown seizures), so that both are drawn together: the
    scores from what a segment's votes say of it.
    """
    model = Decisions(votes.counts.shape[1] // 6)
    prior = fit(votes, model, "all votes")
    voted = np.asarray(votes.counts.todense()).reshape(len(votes.size), -1, 6).any(axis=2)
    panels, panel, segments = np.unique(voted, axis=0, return_inverse=True, return_counts=True)
    rng = np.random.default_rng(2)
    many = votes.size >= MANY_VOTES
    cases = np.concatenate([rng.choice(np.flatnonzero(group), CASES, replace=False) for group in (~many, many)])
    weighed = (log_joint for _, log_joint in _weigh(votes[cases], model.log_p, prior, np.float64))
    points = [(log_joint + rng.gumbel(size=log_joint.shape)).argmax(axis=1) for log_joint in weighed]
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
