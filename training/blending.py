"""Fits how much each model counts in the average, on out-of-fold predictions.

Called by `build.py train --model ensemble`. The blend is convex: weights of zero or more that sum to 1, found by
minimising the mean KL of the mixture on rows that no model was trained on. That problem has one minimum, and a model
that adds nothing gets zero.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from kernel.constants import VOTES
from kernel.model import calibrate, read_model_config
from training.evaluation import PREDICTED
from training.metric import EPSILON

ENSEMBLE = "ensemble.json"
ROUNDS = 2000


def fit_blend(shares: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Find the convex combination of predictions with the lowest mean divergence from the votes.

    Expectation-maximisation for the proportions of a mixture whose components are known (Dempster et al. 1977): each
    round raises the likelihood, stays in the simplex, and needs no step size.

    Parameters
    ----------
    shares : ndarray, shape (n, 6), float
        Votes' shares.
    predictions : ndarray, shape (n_models, n, 6), float
        Each model's probabilities.

    Returns
    -------
    weights : ndarray, shape (n_models,), float64
        Zero or more, summing to 1.
    """
    weights = np.full(len(predictions), 1 / len(predictions))
    clipped = np.clip(predictions, EPSILON, 1)
    for _ in range(ROUNDS):
        mixture = np.tensordot(weights, clipped, 1)
        moved = weights * (clipped * (shares / mixture)).sum(axis=(1, 2)) / shares.sum()
        if np.abs(moved - weights).max() < 1e-9:
            break
        weights = moved
    return weights / weights.sum()


def fit_ensemble(weights: Path) -> dict[str, float]:
    """Fit a blend of all models under `weights` that have out-of-fold predictions of the same rows; write it there.

    Raises
    ------
    ValueError
        If fewer than two models share rows, or they were voted on differently.
    """
    tables, configs = {}, {}
    for path in sorted(weights.glob("*/out_of_fold.csv")):
        table = pd.read_csv(path)
        # A recording may be there once per vote pattern: the votes tell which row is which.
        tables[path.parent.name] = table.set_index(["eeg_id", *VOTES])[list(PREDICTED)]
        configs[path.parent.name] = read_model_config(path.parent / "config.json")
    if len(tables) < 2:
        raise ValueError(f"{weights}: an ensemble needs at least two models with out_of_fold.csv, found {len(tables)}")
    common = None
    for table in tables.values():
        common = table.index if common is None else common.intersection(table.index)
    if common is None or len(common) == 0:
        raise ValueError(
            f"{weights}: {', '.join(tables)} have no predicted rows in common; train them on the same data"
        )
    shares = common.to_frame()[list(VOTES)].to_numpy(float)
    predictions = np.stack([calibrate(table.loc[common].to_numpy(), configs[name]) for name, table in tables.items()])
    found = dict(zip(tables, (round(float(w), 4) for w in fit_blend(shares, predictions)), strict=True))
    part = weights / (ENSEMBLE + ".part")
    part.write_text(json.dumps(found, indent=1) + "\n")
    part.replace(weights / ENSEMBLE)
    return found
