"""Chooses the events of `population.npz` by the published figures of the real votes; run by hand when voters change.

`python -m simulator.calibrate VOTES_JSON` plans windows like the cases that `simulator.fit_raters` found and windows of
other kinds, measures what raters would see of each, lets the panels of both populations vote on them by fresh chance,
and finds the weights nearest to equal (maximum entropy: Csiszar, Ann Probab 1975;3:146) under which the expected
figures are near the published ones. The library is drawn by these weights. With --report it counts the figures that
hold on windows rendered anew, which no weight was fitted to.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from scipy.spatial import KDTree
from scipy.special import entr, logsumexp, rel_entr, softmax
from tqdm import tqdm

from kernel.constants import VOTES
from kernel.table import MANY_VOTES
from simulator.generate import measure_window, simulate_window
from simulator.voters import LIBRARY, VOTES_PER_ROW, Population, cast_votes, draw_events, draw_raters, load_pool

POPULATIONS: tuple[Population, ...] = ("few", "many")
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
CANDIDATES, SIZE, MEASURED, VOTINGS, ROUNDS = 26_000, 16_384, 5, 60, 3
WITHIN, SLACK = 0.015, 1e-3
"""How near the expected figures shall be to the published ones, and the cost of multipliers, lest they follow noise."""
REPORTED = 10_000  # windows of each population that --report renders
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
        "mean_entropy_nats": np.array(entr(shares).sum(axis=1).mean()),
        "mean_soft_label": shares.mean(axis=0),
    }


def read_figures(path: Path, population: Population) -> Figures:
    """Return the published figures of one population under the names of `describe_votes`."""
    found = json.loads(path.read_text())["votes_lt_10" if population == "few" else "votes_ge_10"]
    quantiles = found["top_share_quantiles_by_class"]
    found["top_share_quantiles_by_class"] = [quantiles[vote] for vote in VOTES]
    return {key: np.asarray(value) for key, value in found.items() if key != "rows"}


def count_held(target: Figures, votes: np.ndarray) -> tuple[int, list[tuple[str, float, float]]]:
    """Return how many published figures the votes (n, 6) have to a tenth, and of the others name, real, simulated."""
    simulated = describe_votes(votes)
    held, far = 0, []
    for key, figures in target.items():
        for index, real in np.ndenumerate(figures):
            found = simulated[key][index]
            if abs(found - real) > 0.1 * real:
                far.append((f"{key}{list(index) if index else ''}", float(real), float(found)))
            else:
                held += 1
    return held, far


def propose_scores(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return scores (size, 4) to plan windows for: around those of real cases, some of them far around."""
    cases = load_pool().case_scores
    reach = rng.choice([0.7, 2.0], (size, 1), p=[0.7, 0.3])
    return np.clip(cases[rng.integers(len(cases), size=size)] + rng.uniform(-reach, reach, (size, 4)), -6.9, 6.9)


def propose_panels(rng: np.random.Generator, scores: np.ndarray, population: Population) -> np.ndarray:
    """Return for each of `scores` (n, 4) a panel of a real case near it; who is asked depends on the case."""
    pool = load_pool()
    cases, panels, rows = pool.case_scores, pool.case_panels, pool.rows[population]
    mine = rows[panels] > 0
    _, near = KDTree(cases[mine] + rng.normal(0, 0.01, (mine.sum(), 4))).query(scores, k=12)
    offered = panels[mine][near]
    real = np.bincount(panels[mine], minlength=len(rows)) / mine.sum()
    odds = np.log(rows[offered] / real[offered]) + rng.gumbel(size=offered.shape)
    return np.take_along_axis(offered, odds.argmax(axis=1)[:, None], axis=1)[:, 0]


def measure(rng: np.random.Generator, planned: np.ndarray) -> np.ndarray:
    """Return what raters find in a window planned for each of the scores `planned` (n, 4), the same shape."""
    others = rng.integers(len(planned), size=(len(planned), 2))
    # Nobody is asked yet; without these raters the next numbers, so the library, would not be those of population.npz.
    draw_raters(rng, np.zeros(3, dtype=np.intp))
    windows = tqdm(others, desc="windows", leave=False)
    return np.array([measure_window(rng, planned[[k, *other]]) for k, other in enumerate(windows)])


def choose_library(target: Figures, population: Population, planned: np.ndarray, measured: np.ndarray) -> Figures:
    """Return the planned scores (SIZE, 4) and the panels (SIZE,) of label events whose votes have the figures `target`.

    What counts is what a window's votes are like on average over VOTINGS of fresh raters, each time with one of the
    findings `measured` (n, MEASURED, 4) from windows planned for the same scores: a weight must not follow luck.
    """
    rng = np.random.default_rng(7)
    panels = propose_panels(rng, measured[:, 0], population)
    weights = np.full(len(planned), 1 / len(planned))
    for _ in range(ROUNDS):  # what the first weights took for a window's own and was luck, the next ones set right
        misses, total = np.zeros(1, dtype=np.float32), np.zeros((len(planned), 6))
        for k in tqdm(range(VOTINGS), desc=f"votes, {population}", leave=False):
            votes = cast_votes(measured[:, k % MEASURED], draw_raters(rng, panels))
            misses, total = misses + _compute_misses(votes, target) / np.float32(VOTINGS), total + votes
        weights = _balance(misses, weights)
        print(f"{population}: {1 / (weights**2).sum():.0f} effective windows of {len(weights)}")
    order = np.lexsort((total.max(axis=1), total.argmax(axis=1)))  # evenly over classes and certainty
    places = (np.arange(SIZE) + rng.random()) / SIZE
    drawn = order[np.minimum(np.searchsorted(np.cumsum(weights[order]), places), len(order) - 1)]
    return {
        f"{population}_scores": planned[drawn].astype(np.float16),
        f"{population}_panels": panels[drawn].astype(np.int16),
    }


def _balance(misses: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Return weights (n,), the nearest to `base`, under which none of the `misses` (n, k) has a mean above WITHIN."""

    def dual(at: np.ndarray) -> tuple[float, np.ndarray]:
        logits = np.log(base) - misses @ at
        value = logsumexp(logits) + WITHIN * at.sum() + SLACK * at @ at / 2
        return float(value), WITHIN - softmax(logits) @ misses + SLACK * at

    start = np.zeros(misses.shape[1])
    options = {"maxiter": 2000, "maxfun": 4000}
    found = minimize(dual, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(start), options=options)
    weights = softmax(np.log(base) - misses @ found.x)
    means = weights @ misses
    print(f"{found.message}; furthest {np.max(means):.3f}, {np.sum(means > 2 * WITHIN)} far")
    return weights


def _compute_misses(votes: np.ndarray, target: Figures) -> np.ndarray:
    """Return by what share of a figure each row of `votes` (n, 6) takes it off its target, (n, k) and both signs.

    Where the figures hold, no column has a mean above 0.
    """
    shares = votes / votes.sum(axis=1, keepdims=True)
    majority, top = shares.argmax(axis=1), shares.max(axis=1)
    columns, one_sided = [], []
    for c in range(6):
        mine = (majority == c) / target["majority_share"][c]
        columns.append(mine - 1)
        columns.extend(mine * (shares[:, j] / target["co_vote"][c, j] - 1) for j in range(6))
        columns.append(mine * ((top > 0.999) / target["unanimous_share_by_class"][c] - 1))
        for u, value in zip(QUANTILES, target["top_share_quantiles_by_class"][c], strict=True):
            one_sided.append(mine * ((top < 0.91 * value) - u + 0.01 + WITHIN))  # too many of too low a share
            if value < 0.9:
                one_sided.append(mine * (u + 0.01 + WITHIN - (top <= 1.09 * value)))
    columns.append(entr(shares).sum(axis=1) / target["mean_entropy_nats"] - 1)
    columns.extend((shares / target["mean_soft_label"] - 1).T)
    size, rows = votes.sum(axis=1), np.array(VOTES_PER_ROW)
    sizes = np.arange(1, len(rows) + 1)
    rows = rows * ((sizes >= MANY_VOTES) == (size[0] >= MANY_VOTES))
    columns.extend(
        (size == k) / (n / rows.sum()) - 1 for k, n in zip(sizes, rows, strict=True) if n > 0.03 * rows.sum()
    )
    both = np.stack(columns, axis=1)
    return np.concatenate([both, -both, np.stack(one_sided, axis=1)], axis=1).astype(np.float32)


def vote_unrendered(population: Population, size: int, seed: int) -> np.ndarray:
    """Return votes (size, 6) of fresh raters on windows that are measured but not rendered: thirty times faster."""
    rng = np.random.default_rng(seed)
    votes = []
    for _ in tqdm(range(size), desc=population, leave=False):
        scores, raters = draw_events(rng, population, 3)
        votes.append(cast_votes(measure_window(rng, scores), raters[0]))
    return np.array(votes)


def report(path: Path, size: int) -> None:
    """Print how many figures hold on `size` windows of each population rendered anew, and which do not."""
    for name in POPULATIONS:
        windows = (simulate_window(20_260, k, name) for k in tqdm(range(size), desc=name, leave=False))
        votes, expected = map(np.array, zip(*((w.votes, w.truth["expected"]) for w in windows), strict=True))
        held, far = count_held(read_figures(path, name), votes)
        divergence = rel_entr(votes / votes.sum(axis=1, keepdims=True), np.maximum(expected, 1e-4)).sum(axis=1).mean()
        print(f"{name}: {held} of {held + len(far)} figures hold on {size} windows rendered anew;", end=" ")
        print(f"KL of votes from expected {divergence:.3f}")
        for figure, real, simulated in far:
            print(f"  {figure}: real {real:.4f}, simulated {simulated:.4f}")


def write_library(path: Path) -> None:
    """Choose the events of both populations by the figures of `path` and write them; print how many figures hold."""
    targets = {name: read_figures(path, name) for name in POPULATIONS}
    rng = np.random.default_rng(3)
    planned = propose_scores(rng, CANDIDATES)
    measured = np.stack([measure(rng, planned) for _ in range(MEASURED)], axis=1)
    few, many = (choose_library(targets[name], name, planned, measured) for name in POPULATIONS)
    np.savez_compressed(LIBRARY, **few, **many)
    for name in POPULATIONS:
        held, far = count_held(targets[name], vote_unrendered(name, REPORTED, seed=4))
        print(f"{name}: {held} of {held + len(far)} figures hold on {REPORTED} windows planned anew, not rendered")


def main() -> None:
    """Choose both libraries and write them, or --report the figures that hold on windows rendered anew."""
    parser = argparse.ArgumentParser(description="fit the population of events to published figures of real votes")
    add = parser.add_argument
    add("figures", type=Path, help="the published figures, as JSON")
    add("--report", action="store_true", help="only count the figures that hold on windows rendered anew")
    add("--windows", type=int, default=REPORTED, help="how many of each population to render")
    options = parser.parse_args()
    if options.report:
        report(options.figures, options.windows)
    else:
        write_library(options.figures)


if __name__ == "__main__":
    main()
