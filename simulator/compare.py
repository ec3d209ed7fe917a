"""Simulated beside real recordings: figures of both, and how well they can be told apart by them.

`build.py simulate --compare DIR` calls `compare_recordings`, which prints what `simulator/README.md` reports. For each
real recording simulated windows with the same leading class and number of votes are drawn, cut to the same length.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from scipy.optimize import minimize
from scipy.stats import rankdata

from kernel.constants import ELECTRODES, LABEL_SECONDS, SFREQ, VOTES
from kernel.recording import cut_window
from kernel.table import MANY_VOTES, RECORDING_FOLDERS, read_rows
from simulator.features import FEATURES, compute_features, read_channels
from simulator.generate import peek_class, simulate_window
from simulator.population import Population

LABELLED = slice(LABEL_SECONDS[0] * SFREQ, LABEL_SECONDS[1] * SFREQ)


@dataclass(frozen=True)
class Voted:
    """A recording's labelled 10 s with its votes: channels (18, 2000) filtered, votes (6,)."""

    name: str
    channels: np.ndarray
    votes: np.ndarray


def read_voted(folder: Path) -> list[Voted]:
    """Return the labelled 10 s of every recording of a folder with train.csv and test_eegs/ or train_eegs/."""
    found = []
    rows = read_rows(folder)
    for row in rows.drop_duplicates("eeg_id").to_dict("records"):
        paths = [folder / name / f"{row['eeg_id']}.parquet" for name in RECORDING_FOLDERS]
        path = next((p for p in paths if p.exists()), None)
        if path is None:
            raise FileNotFoundError(f"{paths[0]} is missing, though {folder / 'train.csv'} lists it")
        frame = pq.read_table(path, columns=list(ELECTRODES)).to_pandas()
        channels = read_channels(frame.to_numpy(dtype=np.float32).T)
        # A short recording's middle is what was labelled, as it is that of a whole window.
        window = cut_window(channels, row["start"])
        first = max(0, window.shape[1] - (LABELLED.stop - LABELLED.start)) // 2
        channels = window[:, first : first + LABELLED.stop - LABELLED.start]
        found.append(Voted(str(row["eeg_id"]), channels, np.array([row[v] for v in VOTES])))
    return found


def draw_like(real: list[Voted], each: int, seed: int) -> list[list[Voted]]:
    """Return for each real recording `each` simulated ones with the same leading class and as few or many votes."""
    wanted = [(int(r.votes.argmax()), bool(r.votes.sum() >= MANY_VOTES)) for r in real]
    waiting = {key: each * wanted.count(key) for key in set(wanted)}
    drawn: dict[tuple[int, bool], list[Voted]] = {key: [] for key in waiting}
    index = 0
    while any(len(drawn[key]) < count for key, count in waiting.items()):
        many = index % 2 == 0
        population: Population = "many" if many else "few"
        key = (peek_class(seed, index, population), many)
        if len(drawn.get(key, ())) < waiting.get(key, 0):
            window = simulate_window(seed, index, population)
            if int(window.votes.argmax()) == key[0]:
                voted = Voted(f"{seed}/{index}", read_channels(window.samples)[:, LABELLED], window.votes)
                drawn[key].append(voted)
        index += 1
    return [[drawn[key].pop() for _ in range(each)] for key in wanted]


def compare_recordings(folder: Path, each: int = 12, seed: int = 11) -> float:
    """Print the distribution of every figure, real and simulated; return the discriminator's AUC, printed last."""
    real = read_voted(folder)
    simulated = [voted for same in draw_like(real, each, seed) for voted in same]
    a = np.array([compute_features(r.channels) for r in real])
    b = np.array([compute_features(s.channels) for s in simulated])
    quantiles = (5, 25, 50, 75, 95)
    print(f"{len(real)} real, {len(simulated)} simulated recordings of the same classes; labelled 10 s, 0.5 to 40 Hz")
    print(f"{'quantiles 5 25 50 75 95':>24}  {'real':>45}  {'simulated':>45}   AUC")
    for k, name in enumerate(FEATURES):
        line = [" ".join(f"{v:8.3g}" for v in np.percentile(x[:, k], quantiles)) for x in (a, b)]
        print(f"{name:>24}  {line[0]:>45}  {line[1]:>45}  {compute_auc(b[:, k], a[:, k]):.2f}")
    auc = discriminate(a, b)
    print(f"logistic regression on all of them, left-out AUC: {auc:.3f} (0.5: cannot tell, 1: always)")
    return auc


def compute_auc(negative: np.ndarray, positive: np.ndarray) -> float:
    """Return the chance that a positive's score exceeds a negative's."""
    ranks = rankdata(np.concatenate([negative, positive]))[len(negative) :]
    return float((ranks.sum() - len(positive) * (len(positive) + 1) / 2) / (len(positive) * len(negative)))


def discriminate(real: np.ndarray, simulated: np.ndarray, penalty: float = 1.0, seed: int = 0) -> float:
    """Return the AUC, on left-out rows of eleven folds, of a logistic regression that tells real (n, k) rows."""
    x = np.concatenate([simulated, real])
    x = np.sign(x) * np.log1p(np.abs(x) * 10)
    x = np.column_stack([(x - x.mean(axis=0)) / (x.std(axis=0) + 1e-9), np.ones(len(x))])
    y = np.concatenate([np.zeros(len(simulated)), np.ones(len(real))])
    weight = np.where(y > 0, 0.5 / y.mean(), 0.5 / (1 - y.mean()))
    folds = np.random.default_rng(seed).permutation(len(x)) % 11
    scores = np.empty(len(x))
    for fold in range(11):
        seen = folds != fold

        def loss(w: np.ndarray, seen: np.ndarray = seen) -> tuple[float, np.ndarray]:
            z = x[seen] @ w
            error = weight[seen] * (1 / (1 + np.exp(-z)) - y[seen])
            value = (weight[seen] * (np.logaddexp(0, z) - y[seen] * z)).sum() + penalty * (w[:-1] ** 2).sum()
            return float(value), x[seen].T @ error + 2 * penalty * np.append(w[:-1], 0)

        fitted = minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B").x
        scores[~seen] = x[~seen] @ fitted
    return compute_auc(scores[y == 0], scores[y == 1])
