"""Fits one model on one fold: stages, moving average, best epoch, and a state on disk after every epoch.

Interrupted at any moment and run again it goes on after the last whole epoch, to the same weights as if it had never
stopped: the state holds every variable of the model (its dropout's seeds too) and of the optimizer, and windows depend
on the epoch's number alone. This is the only module of the room that knows which backend Keras has.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from kernel.model import ModelConfig, build_model, count_gpus, keras_array, read_weights, write_weights
from training.batches import TrainingBatches, count_batches, predict_windows
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
    start_from: Sequence[Path] = (),
    backbone: Path | None = None,
    label: str = "train",
    budget: Budget | None = None,
) -> tuple[Any, Progress]:
    """Train one fold; return the model with its best epoch's weights, a moving average, and every epoch's loss and KL.

    It goes on from the state in the folder `state`. `start_from` are weights files of the same model, whose mean it
    begins with, `backbone` a local file for the EfficientNet inside (`kernel.efficientnet.read_backbone_weights`),
    `label` the fold's name in the progress bar and the log. The state of another recipe or model is a ValueError. A
    `budget` that ends it raises OutOfTime, and leaves the state of the last whole epoch.
    """
    state.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(recipe.seed)
    keras.mixed_precision.set_global_policy(recipe.precision)
    scope = spread_over_devices()
    try:
        with scope():
            model = build_model(config)
        if start_from:
            read_mean_weights(model, start_from)
        if backbone is not None:
            from kernel.efficientnet import read_backbone_weights

            read_backbone_weights(model, backbone)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    return model, _Fit(model, config, recipe, state, scope, label, budget).run(training, validation)


def read_mean_weights(model: Any, files: Sequence[Path]) -> None:
    """Put the mean of some weights files' arrays into a model; each must be of its network."""
    arrays = []
    for file in files:
        read_weights(model, file)
        arrays.append(model.get_weights())
    model.set_weights([np.mean(same, axis=0) for same in zip(*arrays, strict=True)])


class _Fit:
    """A model, where it is kept, and the progress of its training."""

    def __init__(
        self,
        model: Any,
        config: ModelConfig,
        recipe: Recipe,
        folder: Path,
        scope: Callable[[], AbstractContextManager[object]],
        label: str,
        budget: Budget | None,
    ) -> None:
        self.model, self.config, self.recipe, self.folder = model, config, recipe, folder
        self.scope, self.label, self.budget = scope, label, budget
        self.best = folder / BEST
        self.progress = read_progress(folder)

    def run(self, training: WindowSource, validation: WindowSource) -> Progress:
        stages, progress = self.recipe.stages, self.progress
        signature = json.dumps({"model": self.config.to_json(), "recipe": self.recipe.to_json()}, sort_keys=True)
        saved = read_arrays(self.folder, signature) if progress.total else {}
        if saved:
            assign(model_variables(self.model), saved.pop("model"))
        sources = [training.choose(stage) for stage in stages]
        steps = [count_batches(source, self.recipe, stage) for source, stage in zip(sources, stages, strict=True)]
        epochs = [n for n, stage in zip(steps, stages, strict=True) for _ in range(stage.epochs)]
        done, stop = sum(epochs[: progress.total]), 0
        with tqdm(total=sum(epochs), initial=done, desc=self.label, unit="batch", disable=None) as bar:
            for number, stage in enumerate(stages):
                start, stop = stop, stop + stage.epochs
                if progress.total >= stop:
                    continue
                if number and progress.total == start:  # a stage starts from the best weights of those before
                    read_weights(self.model, self.best)
                optimizer = self._compile(stage, steps[number] * stage.epochs)
                if progress.total > start:
                    assign(optimizer.variables, saved.pop("optimizer"))
                while progress.total < stop:
                    self._run_epoch(stage, sources[number], validation, bar)
                    write_state(self.folder, signature, self.model, optimizer, progress)
                    if self.budget:
                        self.budget.end_epoch()
        read_weights(self.model, self.best)
        return progress

    def _compile(self, stage: Stage, steps: int) -> Any:
        rate = keras.optimizers.schedules.CosineDecay(
            0.0, max(1, steps - steps // 10), warmup_target=stage.learning_rate, warmup_steps=max(1, steps // 10)
        )
        averaged = {"use_ema": True, "ema_momentum": self.recipe.ema_momentum} if self.recipe.ema_momentum else {}
        with self.scope():
            optimizer = keras.optimizers.AdamW(rate, weight_decay=self.recipe.weight_decay, **averaged)
            self.model.compile(optimizer, keras.losses.KLDivergence(), jit_compile=compiles_fast())
            # What mixed precision put around the optimizer has variables of its own, and they belong to the state too.
            self.model.optimizer.build(self.model.trainable_variables)
        return self.model.optimizer

    def _run_epoch(self, stage: Stage, source: WindowSource, validation: WindowSource, bar: Any) -> None:
        """Train on an epoch's windows, validate, and keep the weights if they are the best so far."""
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
        with _averaged(self.model, self.recipe.ema_momentum > 0):
            predicted = predict_windows(self.model, self.config, validation, self.recipe.batch_size)
            kl = float(kl_per_row(*predicted).mean())
            if kl < progress.best_kl:
                progress.best_kl = kl
                write_weights(self.model, self.best, "float32")
        progress.history.append({"stage": stage.name, "loss": round(loss, 5), "kl": round(kl, 5)})
        with bar.external_write_mode():
            print(  # at once, into a pipe too
                f"{self.label} epoch {progress.total} ({stage.name}): loss {loss:.4f}, validation KL {kl:.4f}, "
                f"{windows / watch.seconds:.1f} windows/s, "
                f"{watch.waited / watch.seconds:.0%} of the time waiting for data",
                flush=True,
            )


class Watch(keras.callbacks.Callback):
    """Moves one progress bar over all epochs; the device waits from a batch's end until the next one is ready.

    Where a budget says so, it ends the epoch.
    """

    def __init__(self, bar: Any, progress: Progress, batches: TrainingBatches, budget: Budget | None = None) -> None:
        super().__init__()
        self.bar, self.progress, self.batches, self.budget = bar, progress, batches, budget
        self.stopped: Exception | None = None
        """Why the epoch was ended, where the budget did."""
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
def _averaged(model: Any, wanted: bool) -> Iterator[None]:
    """Give the model the moving average of its weights, and its own back afterwards."""
    if not wanted:
        yield
        return
    own = [keras_array(variable).copy() for variable in model.trainable_variables]
    model.optimizer.finalize_variable_values(model.trainable_variables)
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
