"""The time that a run may take: projected from its own first minutes, and held at every batch and every epoch.

A session that Kaggle ends keeps nothing, so a training ends itself: before an epoch that would not fit any more, and
in the middle of one that turns out not to. What is lost is the part of an epoch; the next run repeats it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

FIRST_SECONDS = 120.0
"""Of an epoch, from its second batch on, after which its pace is believed: the first batch compiles the network."""
TICK = 1e-9
"""Seconds that anything takes at least."""


class OutOfTime(Exception):
    """The next epoch does not fit into the run any more."""


@dataclass
class Budget:
    """The clock of a run."""

    seconds: float
    """That the run may take, from when this is made."""
    windows: int
    """Training windows that are left in all epochs of all folds asked for."""
    say: Callable[[str], None] = print
    clock: Callable[[], float] = time.monotonic
    first_seconds: float = FIRST_SECONDS
    epochs: int = 0
    """Done in this run."""
    pace: float | None = None
    """Seconds a window, validation included; of the last epoch."""
    _end: float = field(init=False)
    _epoch: tuple[float, int, int] = field(default=(0.0, 0, 0), init=False)
    """When the epoch was begun, its windows, those done."""
    _second_batch: tuple[float, int] | None = field(default=None, init=False)
    _told: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._end = self.clock() + self.seconds

    @property
    def left(self) -> float:
        """Return the seconds that are left."""
        return self._end - self.clock()

    def begin_epoch(self, windows: int) -> None:
        """Raise OutOfTime where an epoch of so many windows would not end in time."""
        self._epoch, self._second_batch = (self.clock(), windows, 0), None
        if self.left <= 0 or (self.pace is not None and self.pace * windows > self.left):
            self._stop(windows, self.pace)

    def end_batch(self, windows: int) -> None:
        """Count a batch; raise OutOfTime once the epoch's pace says that it will not end in time."""
        started, total, done = self._epoch
        done += windows
        self._epoch = (started, total, done)
        now = self.clock()
        if self._second_batch is None:
            self._second_batch = (now, done)
            return
        since, before = self._second_batch
        if now - since < self.first_seconds and self.left > 0:
            return
        pace = max(now - since, TICK) / (done - before)
        if pace * (total - done) > self.left:
            self._stop(total, max(pace, self.pace or 0))
        if not self._told:
            self._tell(pace, done)

    def end_epoch(self) -> None:
        """Count an epoch, its validation included."""
        started, total, _ = self._epoch
        self.pace = max(self.clock() - started, TICK) / max(1, total)
        self.epochs += 1
        self.windows -= total
        if not self._told or self.epochs == 1:
            self._tell(self.pace, 0)

    def _tell(self, pace: float, done: int) -> None:
        """Say what the pace means for all that is left."""
        self._told = True
        needed = pace * max(0, self.windows - done)
        more = math.ceil(max(0.0, needed - self.left) / self.seconds)
        runs = "it ends in this run" if more == 0 else f"{more} more run{'s' if more > 1 else ''} after this one"
        self.say(
            f"projection: {1 / pace:,.1f} windows/s; {needed / 3600:.2f} h for the {self.windows - done:,} windows "
            f"that are left, {self.left / 3600:.2f} h of this run: {runs}"
        )

    def _stop(self, windows: int, pace: float | None) -> None:
        """Raise: the training goes on in the next run, unless not even one epoch fits into a run."""
        if pace and not self.epochs and pace * windows > self.seconds:
            fits = int(self.seconds / pace / 2)
            raise ValueError(
                f"an epoch of {windows:,} windows takes about {pace * windows / 3600:.2f} h, and a run has "
                f"{self.seconds / 3600:.2f} h: ask for shorter epochs with --set recipe.stages.N.windows={fits}, or "
                "for a GPU"
            )
        raise OutOfTime(f"{max(0.0, self.left) / 60:.0f} minutes are left, and the next epoch needs more")
