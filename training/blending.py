"""Fits, on out-of-fold predictions, how sure a model may be, and how much each counts in the average.

The blend is convex: shares of zero or more that sum to 1, found by minimising the mean KL of the mixture on rows that
no model was trained on. That problem has one minimum, and a model that adds nothing gets zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import scipy.optimize

from kernel.constants import VOTES
from kernel.model import ModelConfig, calibrate
from training.evaluation import PREDICTED
from training.metric import EPSILON, kl_per_row
from training.trained import TrainedModel

ROUNDS = 2000
FEWEST_ROWS, FEWEST_CALIBRATED = 20, 100
"""With fewer rows, the models' shares, or a model's calibration, would be fitted to chance."""


def fit_calibration(shares: np.ndarray, probabilities: np.ndarray, config: ModelConfig) -> ModelConfig:
    """Choose the temperature and the prior's share with the lowest mean divergence, rounded to hundredths.

    `shares` and `probabilities` are (n, 6): the votes', and the network's answers by folds that did not see the rows.
    With fewer than 100 rows the configuration stays as it is.
    """
    if len(shares) < FEWEST_CALIBRATED:
        return config

    def loss(numbers: np.ndarray) -> float:
        changed = replace(config, temperature=float(numbers[0]), prior_share=float(numbers[1]))
        return float(kl_per_row(shares, calibrate(probabilities, changed)).mean())

    bounds = [(0.5, 4.0), (0.0, 0.5)]
    found = scipy.optimize.minimize(loss, [1.0, 0.02], method="Nelder-Mead", bounds=bounds).x.round(2)
    return replace(config, temperature=float(found[0]), prior_share=float(found[1]))


def fit_blend(shares: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Find the convex combination of predictions, (n_models, n, 6), with the lowest mean divergence from the votes.

    Expectation-maximisation for the proportions of a mixture whose components are known (Dempster et al. 1977): each
    round raises the likelihood, stays in the simplex, and needs no step size. Returns the models' weights, (n_models,),
    zero or more, summing to 1.
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


def find_common_rows(models: list[TrainedModel]) -> tuple[np.ndarray, np.ndarray]:
    """Return the votes' shares (n, 6), and the calibrated predictions (n_models, n, 6), of the rows that all have.

    Where they are too few, the models were trained on different data and cannot be compared: a ValueError.
    """
    # A recording may be there once per vote pattern: the votes tell which row is which.
    tables = [model.out_of_fold.set_index(["eeg_id", *VOTES])[list(PREDICTED)] for model in models]
    joined = pd.concat([table[~table.index.duplicated()] for table in tables], axis=1, join="inner")
    if len(models) > 1 and len(joined) < FEWEST_ROWS:
        data = "; ".join(f"{model.name} on {model.metrics['data']}" for model in models)
        raise ValueError(
            f"{len(joined)} rows out of fold in common, fewer than {FEWEST_ROWS}: the models were trained on different "
            f"data or folds ({data})"
        )
    predictions = joined.to_numpy().reshape(len(joined), len(models), len(PREDICTED)).swapaxes(0, 1)
    return joined.index.to_frame()[list(VOTES)].to_numpy(float), predictions


def score_blend(shares: np.ndarray, predictions: np.ndarray, weights: Sequence[float]) -> float:
    """Return the mean KL of a blend, for the arrays of `find_common_rows` and a weight of each model."""
    return float(kl_per_row(shares, np.tensordot(weights, predictions, 1)).mean())


def fit_shares(models: list[TrainedModel]) -> dict[str, Any]:
    """Fit the models' shares on their common rows and return the content of `ensemble.json`."""
    shares, predictions = find_common_rows(models)
    names = [model.name for model in models]
    fitted = [round(float(weight), 4) for weight in fit_blend(shares, predictions)]
    alone = [round(score_blend(shares, predictions, one), 4) for one in np.eye(len(models))]
    return {
        "shares": dict(zip(names, fitted, strict=True)),
        "fitted_on": {
            "rows": len(shares),
            "data": {model.name: model.metrics["data"] for model in models},
            "kl": round(score_blend(shares, predictions, fitted), 4),
            "kl_alone": dict(zip(names, alone, strict=True)),
        },
    }
