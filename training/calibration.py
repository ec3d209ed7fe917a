"""Fits how sure a model may be, on out-of-fold predictions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.optimize

from kernel.model import ModelConfig, calibrate
from training.metric import kl_per_row

FEWEST_ROWS = 100
"""Below so many rows two numbers are fitted to chance; a configuration then stays as it is."""


def fit_calibration(shares: np.ndarray, probabilities: np.ndarray, config: ModelConfig) -> ModelConfig:
    """Choose the temperature and the prior's share with the lowest mean divergence.

    Parameters
    ----------
    shares : ndarray, shape (n, 6), float
        Votes' shares.
    probabilities : ndarray, shape (n, 6), float
        The network's answers, by folds that did not see the rows.
    config : ModelConfig
        The model's.

    Returns
    -------
    config : ModelConfig
        With the two numbers, rounded to hundredths; as it was where there are fewer than 100 rows.
    """
    if len(shares) < FEWEST_ROWS:
        return config

    def loss(numbers: np.ndarray) -> float:
        changed = replace(config, temperature=float(numbers[0]), prior_share=float(numbers[1]))
        return float(kl_per_row(shares, calibrate(probabilities, changed)).mean())

    bounds = [(0.5, 4.0), (0.0, 0.5)]
    found = scipy.optimize.minimize(loss, [1.0, 0.02], method="Nelder-Mead", bounds=bounds).x.round(2)
    return replace(config, temperature=float(found[0]), prior_share=float(found[1]))
