"""How long a training will take on Kaggle, before anything is pushed: from what is measured, counted and assumed.

A run is held up by whichever is slower: the GPUs, or the host that prepares their windows. In the run the session
projects again, from its own first minutes (`training.budget`), and that is what counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from kernel.inputs import to_json
from training.folds import choose_folds
from training.recipe import read_recipe

PATTERNS, MANY_SHARE = 20_183, 0.374
"""Windows of the competition's data in an epoch, and the share of its rows with ten votes or more."""
PREPARING = 20 * 60
"""Seconds of a run before its first epoch: 17,089 recordings are read into the cache. Assumed."""
VALIDATING = 1 / 3
"""What a validated window costs, of a trained one: no gradients. Measured for `raw_1d` on a CPU: 0.29."""
CORES = 4
"""Of a Kaggle session."""

CHANNELS_MS, INPUT_MS = 5.0, {"raw": 2.0, "scalogram": 7.0}
"""Processor time to read a window's channels from the cache and augment them, and to build each input. Measured by
`benchmarks.cache`, on a machine busy with other work."""
GFLOP = {
    "raw_1d": 0.71,
    "raw_attention": 0.84,
    "scalogram_b2": 2.77,
    "scalogram_pairs_b2": 0.29,
    "scalogram_zoom_b2": 5.01,
    "two_input_b2": 5.01,
    "baseline_b2": 12.3,
    "scalogram_maxvit": 3.03,
}
"""Of one forward pass of each network as its recipe has it, counted by TensorFlow's profiler; training takes three."""
GFLOPS = {"gpu": 2500.0, "cpu": 70.0 * CORES}
"""A second, in training. Two T4 in mixed precision: ASSUMED, a fiftieth of their 130 TFLOP/s; no GPU was measured.
A core: measured with `raw_1d`, 23 ms a window in batches of 8."""


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
    why: str
    """What holds it up, and how well that is known."""
    device: str

    def line(self) -> str:
        """Return the estimate as one line for people."""
        runs = "one run" if self.runs == 1 else f"{self.runs} runs"
        return (
            f"expected: about {self.hours:.1f} {self.device.upper()} hours in {runs}, for {self.windows:,} windows at "
            f"{self.rate:,.0f} a second ({self.why}); the run's log projects it anew from its first minutes"
        )


def estimate(
    model: str, changes: list[str] | None = None, fold: str = "all", hours: float = 11.0, device: str = "gpu"
) -> Estimate:
    """Estimate a training in Kaggle's sessions.

    `model` and `changes` are as `read_recipe` takes them, `fold` as `choose_folds` does; one run may take `hours`, and
    `device` is `gpu`, two T4, or `cpu`.
    """
    config, recipe = read_recipe(model, changes)
    host = CHANNELS_MS + sum(INPUT_MS[to_json(one)["kind"]] for one in config.inputs)
    prepared, trained = CORES * 1000 / host, GFLOPS[device] / (3 * GFLOP[config.network])
    if device == "cpu":  # the same cores do both
        prepared = trained = 1 / (1 / prepared + 1 / trained)
    rate = min(prepared, trained)
    validated = math.ceil(PATTERNS * MANY_SHARE / recipe.folds)
    validated = min(validated, recipe.validation_windows or validated)
    windows = seconds = 0.0
    for stage in recipe.stages:
        kept = 1.0 if stage.min_votes == 1 and not stage.min_top_share else MANY_SHARE
        kept *= PATTERNS * (1 - 1 / recipe.folds)
        in_epoch = math.ceil(min(kept, stage.windows or kept))
        windows += stage.epochs * in_epoch
        seconds += stage.epochs * (in_epoch + validated * VALIDATING) / rate
    n_folds = len(choose_folds(fold, range(recipe.folds)))
    runs = max(1, math.ceil(n_folds * seconds / max(hours * 3600 - PREPARING, PREPARING)))
    why = "the GPUs as assumed, none was measured" if trained < prepared else "the host's cores, as measured"
    return Estimate(int(n_folds * windows), (n_folds * seconds + runs * PREPARING) / 3600, runs, rate, why, device)
