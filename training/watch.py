"""Watches an epoch: moves the progress bar, and measures for how long the device waits for data."""

from __future__ import annotations

import time
from typing import Any

import keras

from training.batches import TrainingBatches
from training.state import Progress


class TimedBatches(TrainingBatches):
    """Batches that know when each of them was ready."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.ready: dict[int, float] = {}

    def __getitem__(self, index: int) -> Any:
        """Return a batch."""
        batch = super().__getitem__(index)
        self.ready[index] = time.monotonic()
        return batch


class Watch(keras.callbacks.Callback):
    """Moves one progress bar over all epochs; the device waits from a batch's end until the next one is ready."""

    def __init__(self, bar: Any, progress: Progress, batches: TimedBatches) -> None:
        super().__init__()
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
