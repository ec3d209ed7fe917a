"""How long a training will take on Kaggle, before anything is pushed: from rates, which say how far to trust them.

A run is held up by whichever is slower: the GPUs, or the host that prepares their windows. In the run the session
projects again, from its own first minutes (`training.budget`), and that is what counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from training.folds import choose_folds
from training.recipe import Recipe, read_recipe

PATTERNS, MANY_SHARE = 20_183, 0.374
"""Windows of the competition's data in an epoch, and the share of its rows with ten votes or more."""
PREPARING = 20 * 60
"""Seconds of a run before its first epoch: reading 17,089 recordings into the cache. Assumed."""
VALIDATING = 1 / 3
"""What a validated window costs, of a trained one: no gradients."""
HOST_CORES = 4


@dataclass(frozen=True)
class Rate:
    """What a window of a network costs."""

    host_ms: float
    """Processor time to prepare it, with the recipe's augmentations: measured by `benchmarks.cache`."""
    core_ms: float
    """Processor time of one step of training on a CPU: measured."""
    gpu_windows: float
    """Windows a second on two T4 in mixed precision: NOT measured, see `RATES`."""


RATES = {
    "raw_1d": Rate(6.4, 0.0, 2000),
}


@dataclass(frozen=True)
class Estimate:
    """What a training is expected to take."""

    windows: int
    """Trained in all epochs of all folds."""
    hours: float
    """Of all runs together: on a GPU, hours of the week's quota."""
    runs: int
    rate: float
    """Windows a second."""
    limit: str
    """What holds it up: `host` or `gpu`."""

    def line(self) -> str:
        """Return the estimate as one line for people."""
        slower = "the host, as measured" if self.limit == "host" else "two T4, as assumed: no GPU was measured"
        runs = "one run" if self.runs == 1 else f"{self.runs} runs"
        return (
            f"expected: about {self.hours:.1f} GPU hours in {runs}, for {self.windows:,} windows at {self.rate:,.0f} a "
            f"second ({slower}); the run's log projects it anew from its first minutes"
        )


def estimate(
    model: str, changes: list[str] | None = None, fold: str = "all", hours: float = 11.0, patterns: int = PATTERNS
) -> Estimate:
    """Estimate a training on Kaggle's two T4.

    Parameters
    ----------
    model, changes
        As `training.recipe.read_recipe` takes them.
    fold : str
        As `training.folds.choose_folds` takes it.
    hours : float
        What one run may take.
    patterns : int
        Recordings and vote patterns of the data: `kernel.table.read_patterns` has a row for each.
    """
    config, recipe = read_recipe(model, changes)
    folds = choose_folds(fold, recipe.folds)
    rate = RATES[config.network]
    host = HOST_CORES * 1000 / rate.host_ms
    windows, validated = (count * len(folds) for count in count_windows(recipe, patterns))
    slowest = min(host, rate.gpu_windows)
    seconds = windows / slowest + validated * VALIDATING / slowest
    runs = max(1, math.ceil(seconds / (hours * 3600 - PREPARING)))
    total = (seconds + runs * PREPARING) / 3600
    return Estimate(windows, total, runs, slowest, "host" if host <= rate.gpu_windows else "gpu")


def count_windows(recipe: Recipe, patterns: int) -> tuple[int, int]:
    """Return how many windows one fold trains on and validates, in all its epochs."""
    share = (recipe.folds - 1) / recipe.folds
    validated = math.ceil(patterns * MANY_SHARE / recipe.folds)
    validated = min(validated, recipe.validation_windows or validated)
    trained = epochs = 0
    for stage in recipe.stages:
        kept = patterns * share * (1.0 if stage.min_votes == 1 and not stage.min_top_share else MANY_SHARE)
        trained += stage.epochs * math.ceil(min(kept, stage.windows or kept))
        epochs += stage.epochs
    return trained, validated * epochs
