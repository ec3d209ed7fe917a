"""Fits one model on one fold: stages, moving average, best epoch, and a state on disk after every epoch.

Interrupted at any moment and run again it goes on after the last whole epoch, to the same weights as if it had never
stopped: the state holds every variable of the model (its dropout's seeds too) and of the optimizer, and windows depend
on the epoch's number alone. This is the only module of the room that knows which backend Keras has.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from kernel.model import ModelConfig, build_model, count_gpus, keras_array, read_weights, write_weights
from training.batches import TrainingBatches, predict_windows
from training.budget import Budget, OutOfTime
from training.metric import kl_per_row
from training.recipe import Recipe, Stage
from training.state import BEST, Progress, assign, model_variables, read_arrays, read_progress, write_state
from training.windows import WindowSource


def fit_fold(
    config: ModelConfig,
    recipe: Recipe,
    training: WindowSource,
    validation: WindowSource,
    state: Path,
    *,
    start_from: Path | None = None,
    backbone: Path | None = None,
    label: str = "train",
    budget: Budget | None = None,
) -> tuple[Any, Progress]:
    """Train one fold; return the model with its best epoch's weights, a moving average, and every epoch's loss and KL.

    It goes on from the state in the folder `state`. `start_from` is a weights file of the same model, `backbone` a
    local file for the EfficientNet inside (`kernel.efficientnet.read_backbone_weights`), `label` the fold's name in the
    progress bar and the log. The state of another recipe or model is a ValueError. A `budget` that ends it raises
    OutOfTime, and leaves the state of the last whole epoch.
    """
    state.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(recipe.seed)
    keras.mixed_precision.set_global_policy(recipe.precision)
    scope = spread_over_devices()
    try:
        with scope():
            model = build_model(config)
        if start_from is not None:
            read_weights(model, start_from)
        if backbone is not None:
            from kernel.efficientnet import read_backbone_weights

            read_backbone_weights(model, backbone)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    fold = _Fold(model, config, recipe, validation, state, scope, label, budget)
    return model, fold.fit(training)


@dataclass
class _Fold:
    """A model, where it is kept, and the progress of its training."""

    model: Any
    config: ModelConfig
    recipe: Recipe
    validation: WindowSource
    folder: Path
    scope: Callable[[], AbstractContextManager[object]]
    label: str
    budget: Budget | None
    progress: Progress = field(default_factory=Progress)

    def __post_init__(self) -> None:
        self.best = self.folder / BEST
        self.signature = json.dumps({"model": self.config.to_json(), "recipe": self.recipe.to_json()}, sort_keys=True)

    def fit(self, training: WindowSource) -> Progress:
        stages, saved = self.recipe.stages, {}
        if progress := read_progress(self.folder):
            saved = read_arrays(self.folder, self.signature)
            assign(model_variables(self.model), saved["model"])
            self.progress = progress
            if progress.epoch == stages[progress.stage].epochs:
                # Stopped between two stages: the next one starts from the best weights, with a new optimizer.
                progress.stage, progress.epoch = progress.stage + 1, 0
        sources = [training.choose(stage) for stage in stages]
        steps = [self._steps(source, stage) for source, stage in zip(sources, stages, strict=True)]
        total = sum(n * stage.epochs for n, stage in zip(steps, stages, strict=True))
        with tqdm(total=total, desc=self.label, unit="batch", disable=None) as bar:
            for number in range(self.progress.stage, len(stages)):
                stage = stages[number]
                if self.progress.epoch == 0 and self.best.is_file():
                    read_weights(self.model, self.best)
                optimizer = self._compile(stage, steps[number])
                if self.progress.epoch:
                    assign(optimizer.variables, saved["optimizer"])
                done = sum(n * s.epochs for n, s in zip(steps[:number], stages[:number], strict=True))
                bar.update(done + self.progress.epoch * steps[number] - bar.n)
                while self.progress.epoch < stage.epochs:
                    self._run_epoch(stage, sources[number], optimizer, bar)
                self.progress.stage, self.progress.epoch = number + 1, 0
        read_weights(self.model, self.best)
        return self.progress

    def _steps(self, source: WindowSource, stage: Stage) -> int:
        windows = min(len(source), stage.windows or len(source))
        if windows < self.recipe.batch_size:
            raise ValueError(
                f"stage {stage.name!r}: {windows} windows do not fill a batch of {self.recipe.batch_size}; "
                "lower recipe.batch_size or give more data"
            )
        return windows // self.recipe.batch_size

    def _compile(self, stage: Stage, steps: int) -> Any:
        total = steps * stage.epochs
        rate = keras.optimizers.schedules.CosineDecay(
            0.0, max(1, total - total // 10), warmup_target=stage.learning_rate, warmup_steps=max(1, total // 10)
        )
        averaged = {"use_ema": True, "ema_momentum": self.recipe.ema_momentum} if self.recipe.ema_momentum else {}
        with self.scope():
            optimizer = keras.optimizers.AdamW(rate, weight_decay=self.recipe.weight_decay, **averaged)
            self.model.compile(optimizer, keras.losses.KLDivergence(), jit_compile=compiles_fast())
            # What mixed precision put around the optimizer has variables of its own, and they belong to the state too.
            self.model.optimizer.build(self.model.trainable_variables)
        return self.model.optimizer

    def _run_epoch(self, stage: Stage, source: WindowSource, optimizer: Any, bar: Any) -> None:
        progress = self.progress
        batches = TrainingBatches(source, self.config.inputs, self.recipe, stage, progress.total)
        windows, watch = len(batches) * self.recipe.batch_size, Watch(bar, progress, batches, self.budget)
        if self.budget:
            self.budget.begin_epoch(windows)
        fitted = self.model.fit(batches, epochs=1, verbose=0, shuffle=False, callbacks=[watch])
        if watch.stopped:
            raise watch.stopped
        loss = float(fitted.history["loss"][-1])
        if not np.isfinite(loss):
            raise ValueError(
                f"the loss became {loss} in epoch {progress.total + 1}: lower the learning rate of stage "
                f"{stage.name!r}, or use precision float32; remove {self.folder} to start again"
            )
        with _averaged(self.model, optimizer if self.recipe.ema_momentum else None):
            predicted = predict_windows(self.model, self.config, self.validation, self.recipe.batch_size)
            kl = float(kl_per_row(*predicted).mean())
            if kl < progress.best_kl:
                progress.best_kl = kl
                write_weights(self.model, self.best, "float32")
        progress.epoch += 1
        progress.total += 1
        progress.history.append({"stage": stage.name, "loss": round(loss, 5), "kl": round(kl, 5)})
        write_state(self.folder, self.signature, self.model, optimizer, progress)
        with bar.external_write_mode():
            print(  # at once, into a pipe too
                f"{self.label} epoch {progress.total} ({stage.name}): loss {loss:.4f}, validation KL {kl:.4f}, "
                f"{windows / watch.seconds:.1f} windows/s, "
                f"{watch.waited / watch.seconds:.0%} of the time waiting for data",
                flush=True,
            )
        if self.budget:
            self.budget.end_epoch()


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


@contextmanager
def _averaged(model: Any, optimizer: Any | None) -> Iterator[None]:
    """Give the model the moving average of its weights, and its own back afterwards."""
    if optimizer is None:
        yield
        return
    own = [keras_array(variable).copy() for variable in model.trainable_variables]
    optimizer.finalize_variable_values(model.trainable_variables)
    try:
        yield
    finally:
        for variable, value in zip(model.trainable_variables, own, strict=True):
            variable.assign(value)


def spread_over_devices() -> Callable[[], AbstractContextManager[object]]:
    """Return what opens the scope in which a model is built and compiled, to train on all GPUs or all logical CPUs.

    With several, `tf.distribute.MirroredStrategy` splits each batch among them and sums their gradients.
    """
    if keras.backend.backend() != "tensorflow":
        return nullcontext
    import tensorflow as tf

    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) < 2:
        return nullcontext
    return tf.distribute.MirroredStrategy([device.name for device in devices]).scope


def compiles_fast() -> bool:
    """Return whether XLA helps: on a GPU it does, on a CPU it gives up the vendor's kernels and is slower."""
    return keras.backend.backend() != "tensorflow" or count_gpus() == 1
