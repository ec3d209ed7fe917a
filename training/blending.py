"""Fits, on out-of-fold predictions, how sure a model may be, and how much each counts in the average.

The blend is convex: shares of zero or more that sum to 1, found by minimising the mean KL of the mixture on rows that
no model was trained on. That problem has one minimum, and a model that adds nothing gets zero once some hundred rows
tell so. Because a mean is less sure than its parts, one temperature sharpens them all before, where that holds on rows
that it was not fitted on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import scipy.optimize

from kernel.constants import VOTES
from kernel.model import ModelConfig, calibrate, temper
from training.evaluation import PREDICTED
from training.metric import EPSILON, kl_per_row
from training.trained import TrainedModel

ROUNDS, TURNS, TENTHS = 2000, 10, 10
EQUAL_ROWS = 5
"""So many rows ask for equal shares beside the real ones."""
LEAST = 0.03
"""A smaller share is not worth its networks' time."""
TEMPERATURES, SPREAD = (0.25, 4.0), 0.3
"""Of a blend, and how far its logarithm is expected from zero: with 0.3 to 1 alike on rows left out, with 0.2 worse."""
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


def fit_blend(shares: np.ndarray, predictions: np.ndarray, equal_rows: float = 0.0) -> np.ndarray:
    """Find the convex combination of predictions, (n_models, n, 6), with the lowest mean divergence from the votes.

    Expectation-maximisation for the proportions of a mixture whose components are known (Dempster et al. 1977): each
    round raises the likelihood, stays in the simplex, and needs no step size. `equal_rows` rows more ask for equal
    weights. Returns the models' weights, (n_models,), zero or more, summing to 1.
    """
    n, weights = len(shares), np.full(len(predictions), 1 / len(predictions))
    clipped = np.clip(predictions, EPSILON, 1)
    for _ in range(ROUNDS):
        mixture = np.tensordot(weights, clipped, 1)
        moved = weights * (clipped * (shares / mixture)).sum(axis=(1, 2)) / shares.sum()
        moved = (n * moved + equal_rows / len(weights)) / (n + equal_rows)
        if np.abs(moved - weights).max() < 1e-9:
            break
        weights = moved
    return weights / weights.sum()


def fit_weights(shares: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Find the weights that ship: few rows do not choose between models that are as good, and little becomes zero."""
    weights = fit_blend(shares, predictions, EQUAL_ROWS)
    weights[weights < LEAST] = 0
    return weights / weights.sum()


def fit_answer(shares: np.ndarray, predictions: np.ndarray) -> tuple[np.ndarray, float]:
    """Find the models' weights and the temperature of their answers, in turn, each with the best of the other.

    The temperature's logarithm is expected near zero, with a deviation of `SPREAD`: few rows move it little.
    """
    temperature = 1.0
    for _ in range(TURNS):
        weights, before = fit_weights(shares, temper(predictions, temperature)), temperature

        def loss(value: float, weights: np.ndarray = weights) -> float:
            kl = score_blend(shares, temper(predictions, value), weights)
            return len(shares) * kl + 0.5 * (np.log(value) / SPREAD) ** 2

        temperature = float(scipy.optimize.minimize_scalar(loss, bounds=TEMPERATURES, method="bounded").x)
        if abs(temperature - before) < 0.002:
            break
    return fit_weights(shares, temper(predictions, temperature)), temperature


def cross_validate(shares: np.ndarray, predictions: np.ndarray, *, sharpen: bool) -> float:
    """Return the mean KL of the rows, each tenth of them by weights and a temperature that are fitted on the others."""
    part, kl = np.arange(len(shares)) % TENTHS, np.empty(len(shares))
    for one in range(TENTHS):
        fitted, scored = part != one, part == one
        known = shares[fitted], predictions[:, fitted]
        weights, temperature = fit_answer(*known) if sharpen else (fit_weights(*known), 1.0)
        kl[scored] = kl_per_row(shares[scored], np.tensordot(weights, temper(predictions[:, scored], temperature), 1))
    return float(kl.mean())


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


def score_blend(shares: np.ndarray, predictions: np.ndarray, weights: Sequence[float] | np.ndarray) -> float:
    """Return the mean KL of a blend, for the arrays of `find_common_rows` and a weight of each model."""
    return float(kl_per_row(shares, np.tensordot(weights, predictions, 1)).mean())


def fit_shares(models: list[TrainedModel]) -> dict[str, Any]:
    """Fit the models' shares and their temperature on their common rows; return the content of `ensemble.json`."""
    shares, predictions = find_common_rows(models)
    names = [model.name for model in models]
    weights, temperature, crossed = fit_weights(shares, predictions), 1.0, {}
    if len(shares) >= FEWEST_ROWS:
        plain, sharpened = (cross_validate(shares, predictions, sharpen=sharpen) for sharpen in (False, True))
        crossed = {"kl_cross_validated": round(min(plain, sharpened), 4)}
        if sharpened < plain:
            weights, temperature = fit_answer(shares, predictions)
            temperature = round(temperature, 2)
    fitted = [round(float(weight), 4) for weight in weights]
    alone = [round(score_blend(shares, predictions, one), 4) for one in np.eye(len(models))]
    return {
        "shares": dict(zip(names, fitted, strict=True)),
        "temperature": temperature,
        "fitted_on": {
            "rows": len(shares),
            "data": {model.name: model.metrics["data"] for model in models},
            "kl": round(score_blend(shares, temper(predictions, temperature), fitted), 4),
            **crossed,
            "kl_alone": dict(zip(names, alone, strict=True)),
        },
    }
