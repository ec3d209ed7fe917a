"""The time that a run may take: projected from its own first minutes, and held at every batch and every epoch.

A session that Kaggle ends keeps nothing, so a training ends itself: before an epoch that would not fit any more, and
in the middle of one that turns out not to. What is lost is the part of an epoch; the next run repeats it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

FIRST_SECONDS = 120.0
"""Of an epoch, from its second batch on, after which its pace is believed: the first batch compiles the network."""
TICK = 1e-9
"""Seconds that anything takes at least."""


class OutOfTime(Exception):
    """The next epoch does not fit into the run any more."""


class Budget:
    """The clock of a run."""

    def __init__(
        self,
        seconds: float,
        windows: int,
        say: Callable[[str], None] = print,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.seconds, self.say, self.clock = seconds, say, clock
        self.windows = windows
        """Training windows that are left in all epochs of all folds asked for."""
        self.epochs = 0
        """Done in this run."""
        self.pace = 0.0
        """Seconds a window, validation included, of the last epoch; 0 before one is done."""
        self._end = clock() + seconds
        self._told = False

    @property
    def left(self) -> float:
        """Return the seconds that are left."""
        return self._end - self.clock()

    def begin_epoch(self, windows: int) -> None:
        """Raise OutOfTime where an epoch of so many windows would not end in time."""
        self._started, self._total, self._done = self.clock(), windows, 0
        self._second_batch: tuple[float, int] | None = None
        if self.left <= 0 or self.pace * windows > self.left:
            self._stop(self.pace)

    def end_batch(self, windows: int) -> None:
        """Count a batch; raise OutOfTime once the epoch's pace says that it will not end in time."""
        self._done += windows
        now = self.clock()
        if self._second_batch is None:
            self._second_batch = now, self._done
            return
        since, before = self._second_batch
        if now - since < FIRST_SECONDS and self.left > 0:
            return
        pace = max(now - since, TICK) / (self._done - before)
        if pace * (self._total - self._done) > self.left:
            self._stop(max(pace, self.pace))
        if not self._told:
            self._tell(pace, self.windows - self._done)

    def end_epoch(self) -> None:
        """Count an epoch, its validation included."""
        self.pace = max(self.clock() - self._started, TICK) / self._total
        self.epochs += 1
        self.windows -= self._total
        if not self._told or self.epochs == 1:
            self._tell(self.pace, self.windows)

    def _tell(self, pace: float, windows: int) -> None:
        """Say what the pace means for all the windows that are left."""
        self._told = True
        needed = pace * max(0, windows)
        more = math.ceil(max(0.0, needed - self.left) / self.seconds)
        runs = "it ends in this run" if more == 0 else f"{more} more run{'s' if more > 1 else ''} after this one"
        self.say(
            f"projection: {1 / pace:,.1f} windows/s; {needed / 3600:.2f} h for the {windows:,} windows "
            f"that are left, {self.left / 3600:.2f} h of this run: {runs}"
        )

    def _stop(self, pace: float) -> None:
        """Raise: the training goes on in the next run, unless not even one epoch fits into a run."""
        if not self.epochs and pace * self._total > self.seconds:
            raise ValueError(
                f"an epoch of {self._total:,} windows takes about {pace * self._total / 3600:.2f} h, and a run has "
                f"{self.seconds / 3600:.2f} h: ask for shorter epochs with --set "
                f"recipe.stages.N.windows={int(self.seconds / pace / 2)}, or for a GPU"
            )
        raise OutOfTime(f"{max(0.0, self.left) / 60:.0f} minutes are left, and the next epoch needs more")
