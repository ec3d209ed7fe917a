"""Watches an epoch: moves the progress bar, and measures for how long the device waits for data."""

from __future__ import annotations

import time
from typing import Any

import keras

from training.batches import TrainingBatches
from training.budget import Budget, OutOfTime
from training.state import Progress


class Watch(keras.callbacks.Callback):
    """Moves one progress bar over all epochs; the device waits from a batch's end until the next one is ready.

    Where a budget says so, it ends the epoch.
    """

    def __init__(self, bar: Any, progress: Progress, batches: TrainingBatches, budget: Budget | None = None) -> None:
        super().__init__()
        self.budget = budget
        self.stopped: Exception | None = None
        """Why the epoch was ended, where the budget did."""
        self.bar, self.progress, self.batches = bar, progress, batches
        self.started = self.free = time.monotonic()
        self.seconds = self.waited = 0.0

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Advance by one batch; its loss is a number only once the device has finished it."""
        shown = {"loss": f"{(logs or {}).get('loss', float('nan')):.3f}"}
        if self.progress.history:
            shown["kl"] = f"{self.progress.history[-1]['kl']:.3f}"
        self.bar.set_postfix(shown, refresh=False)
        self.bar.update()
        self.waited += max(0.0, self.batches.ready[batch] - self.free)
        self.free = time.monotonic()
        self.seconds = self.free - self.started
        if self.budget:
            try:
                self.budget.end_batch(self.batches.recipe.batch_size)
            except (OutOfTime, ValueError) as reason:
                self.stopped, self.model.stop_training = reason, True
