"""Windows drawn from the simulator while a network is fitted: none is ever seen twice.

Processes of their own draw ahead of the training. A window depends on its number alone, which follows from the epoch
and the index, so whoever draws it, and whenever, an interrupted training goes on with the very same windows.

A window takes some 40 ms of a core. A network that learns faster is better trained on a folder that `simulate` wrote
and `cache` prepared.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial

import numpy as np
import pandas as pd

from kernel.recording import build_channels
from kernel.table import MANY_VOTES
from simulator.generate import simulate_window
from simulator.workers import open_pool
from training.recipe import Recipe, Stage

Draw = Callable[[int, bool], tuple[np.ndarray, np.ndarray]]
"""(number, many votes only) -> electrodes (20, 10000), float32, microvolts with NaN in gaps, and votes (6,)."""

VALIDATION_START = 1 << 40
"""Number of the first window drawn for validation: training never gets that far."""

AHEAD, KEPT = 64, 128
"""Windows that are drawn ahead, and that are kept for a thread that is behind: 0.7 MB each."""


@dataclass(frozen=True)
class DrawnWindows:
    """Windows that a function draws; a `training.windows.WindowSource`."""

    draw: Draw
    windows: int
    """In an epoch."""
    name: str
    """What they are drawn from."""
    first: int = 0
    """Number of the first window: training and validation draw from ranges that do not touch."""
    many: bool = False
    fresh: bool = True
    """Draw new windows in every epoch; validation wants the same ones."""
    workers: int = 0
    """Processes that draw ahead; 0 draws when asked."""
    _drawn: dict[int, Future[tuple[np.ndarray, np.ndarray]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, compare=False)

    @property
    def description(self) -> str:
        """Return what `metrics.json` says of the data."""
        return f"{self.windows} windows an epoch, drawn from {self.name}"

    def __len__(self) -> int:
        return self.windows

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """Return all indices, rising: every window is a new one, and the next ones are drawn ahead."""
        return np.arange(self.windows)

    def read(self, index: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the channels and the votes of the window of this number."""
        number = self.first + index + (epoch * self.windows if self.fresh else 0)
        if not self.workers:
            return draw_channels(self.draw, self.many, number)
        pool = keep_pool(self.workers)
        with self._lock:
            for old in [known for known in self._drawn if known < number - KEPT]:
                self._drawn.pop(old).cancel()
            stop = number + AHEAD if self.fresh else min(number + AHEAD, self.first + self.windows)
            for wanted in range(number, stop):
                if wanted not in self._drawn:
                    self._drawn[wanted] = pool.submit(draw_channels, self.draw, self.many, wanted)
            drawn = self._drawn[number]
        try:
            return drawn.result()
        except BrokenProcessPool:
            raise OSError(
                "a process that draws windows was killed, most likely for lack of memory: run the same command again, "
                "with fewer --workers, to go on"
            ) from None

    def choose(self, stage: Stage) -> DrawnWindows:
        """Draw from the population with many votes where the stage asks for it."""
        if stage.min_top_share > 0:
            raise ValueError(
                f"stage {stage.name!r}: min_top_share needs a data set's rows, not windows drawn on the fly"
            )
        return replace(self, many=stage.min_votes >= MANY_VOTES)

    def assign_folds(self, recipe: Recipe) -> pd.DataFrame:
        """Return an empty table: every window is a patient of its own."""
        return pd.DataFrame({"eeg_id": [], "patient_id": [], "fold": []}, dtype=np.int64)

    def split(self, fold: int, recipe: Recipe) -> tuple[DrawnWindows, DrawnWindows, pd.DataFrame]:
        """Give each fold windows of its own, to train on and to validate on."""
        n_validation = recipe.validation_windows or max(recipe.batch_size, self.windows // recipe.folds)
        first = VALIDATION_START + fold * n_validation
        training = replace(self, first=fold * (VALIDATION_START // recipe.folds))
        validation = replace(self, windows=n_validation, first=first, many=True, fresh=False)
        numbers = np.arange(first, first + n_validation)
        return training, validation, pd.DataFrame({"eeg_id": numbers, "patient_id": numbers})


def draw_windows(windows: int, seed: int, *, votes: str = "cast", workers: int | None = None) -> DrawnWindows:
    """Return windows of the simulator, so many an epoch, with `cast` or `expected` votes; [workers: one a core]."""
    name = f"the simulator, seed {seed}, {votes} votes"
    workers = (os.cpu_count() or 1) if workers is None else workers
    return DrawnWindows(partial(simulate, seed, votes), windows, name, workers=workers)


def simulate(seed: int, votes: str, number: int, many: bool) -> tuple[np.ndarray, np.ndarray]:
    """Draw one window from the simulator: electrodes, and votes that are cast, or the mean of all raters."""
    window = simulate_window(seed, number, population="many" if many else None)
    return window.samples, window.votes if votes == "cast" else window.truth["expected"] * window.votes.sum()


def draw_channels(draw: Draw, many: bool, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw one window as its channels and votes."""
    samples, votes = draw(number, many)
    return build_channels(samples), np.asarray(votes, np.float64)


keep_pool = lru_cache(maxsize=1)(open_pool)
"""Start the processes that draw, once for all sources."""
