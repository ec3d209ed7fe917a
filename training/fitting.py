"""Fits one model on one fold: stages, moving average, best epoch, and a state on disk after every epoch.

Interrupted at any moment and run again it goes on after the last whole epoch, to
the same weights as if it had never stopped: the state holds every variable of the model (its dropout's seeds too) and
of the optimizer, and windows depend on the epoch's number alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from kernel.model import ModelConfig, build_model, keras_array, read_weights, write_weights
from training.batches import FixedBatches
from training.devices import compiles_fast, spread_over_devices
from training.metric import kl_per_row
from training.recipe import Recipe, Stage
from training.state import Progress, assign, model_variables, read_state, write_state
from training.watch import TimedBatches, Watch
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
) -> tuple[Any, Progress]:
    """Train one fold and return the model with its best epoch's weights.

    Parameters
    ----------
    config : ModelConfig
        Network, inputs and options.
    recipe : Recipe
        Stages and everything else.
    training, validation : WindowSource
        Windows to learn from, and to choose the epoch by.
    state : Path
        Folder for the state and the best weights so far; goes on from what lies there.
    start_from : Path, optional
        A weights file of the same model to start from.
    backbone : Path, optional
        A local file for the EfficientNet inside, see `kernel.efficientnet.read_backbone_weights`.
    label : str
        Names the fold in the progress bar and the log.

    Returns
    -------
    model : keras.Model
        The moving average of the weights at the epoch with the lowest validation KL.
    progress : Progress
        Every epoch's loss and KL.

    Raises
    ------
    ValueError
        If the folder holds the state of another recipe or model.
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
    signature = json.dumps({"model": config.to_json(), "recipe": recipe.to_json()}, sort_keys=True)
    fold = _Fold(model, config, recipe, validation, state, signature, scope, label)
    return model, fold.fit(training)


class _Fold:
    """A model, where it is kept, and the progress of its training."""

    def __init__(
        self,
        model: Any,
        config: ModelConfig,
        recipe: Recipe,
        validation: WindowSource,
        state: Path,
        signature: str,
        scope: Callable[[], AbstractContextManager[object]],
        label: str,
    ) -> None:
        self.model, self.config, self.recipe, self.validation = model, config, recipe, validation
        self.state, self.best, self.signature = state / "state.h5", state / "best.weights.h5", signature
        self.scope, self.label, self.progress = scope, label, Progress()

    def fit(self, training: WindowSource) -> Progress:
        stages = self.recipe.stages
        saved = read_state(self.state, self.signature)
        if saved is not None:
            assign(model_variables(self.model), saved.model)
            self.progress = saved.progress
            if self.progress.epoch == stages[self.progress.stage].epochs:
                # Stopped between two stages: the next one starts from the best weights, with a new optimizer.
                self.progress.stage, self.progress.epoch = self.progress.stage + 1, 0
        sources = [training.choose(stage) for stage in stages]
        steps = [self._steps(source, stage) for source, stage in zip(sources, stages, strict=True)]
        total = sum(n * stage.epochs for n, stage in zip(steps, stages, strict=True))
        with tqdm(total=total, desc=self.label, unit="batch", disable=None) as bar:
            for number in range(self.progress.stage, len(stages)):
                stage = stages[number]
                if self.progress.epoch == 0 and self.best.is_file():
                    read_weights(self.model, self.best)
                optimizer = self._compile(stage, steps[number])
                if saved is not None and self.progress.epoch:
                    assign(optimizer.variables, saved.optimizer)
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
            optimizer.build(self.model.trainable_variables)
            self.model.compile(optimizer, keras.losses.KLDivergence(), jit_compile=compiles_fast())
        return self.model.optimizer

    def _run_epoch(self, stage: Stage, source: WindowSource, optimizer: Any, bar: Any) -> None:
        progress = self.progress
        batches = TimedBatches(source, self.config.inputs, self.recipe, stage, progress.total)
        watch = Watch(bar, progress, batches)
        fitted = self.model.fit(batches, epochs=1, verbose=0, shuffle=False, callbacks=[watch])
        loss = float(fitted.history["loss"][-1])
        if not np.isfinite(loss):
            raise ValueError(
                f"the loss became {loss} in epoch {progress.total + 1}: lower the learning rate of stage "
                f"{stage.name!r}, or use precision float32; remove {self.state} to start again"
            )
        with _averaged(self.model, optimizer if self.recipe.ema_momentum else None):
            kl = float(
                kl_per_row(*predict_windows(self.model, self.config, self.validation, self.recipe.batch_size)).mean()
            )
            if kl < progress.best_kl:
                progress.best_kl = kl
                write_weights(self.model, self.best, "float32")
        progress.epoch += 1
        progress.total += 1
        progress.history.append({"stage": stage.name, "loss": round(loss, 5), "kl": round(kl, 5)})
        write_state(self.state, self.signature, self.model, optimizer, progress)
        with bar.external_write_mode():
            self._log(stage, loss, kl, len(batches) * self.recipe.batch_size, watch)

    def _log(self, stage: Stage, loss: float, kl: float, windows: int, watch: Watch) -> None:
        """Print an epoch's line at once, into a pipe too."""
        print(
            f"{self.label} epoch {self.progress.total} ({stage.name}): loss {loss:.4f}, validation KL {kl:.4f}, "
            f"{windows / watch.seconds:.1f} windows/s, {watch.waited / watch.seconds:.0%} of the time waiting for data",
            flush=True,
        )


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


def predict_windows(
    model: Any, config: ModelConfig, source: WindowSource, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Predict a source's windows in their order.

    Returns
    -------
    shares : ndarray, shape (n, 6), float64
        Of the votes.
    probabilities : ndarray, shape (n, 6), float64
        The network's, before calibration.
    """
    batches = FixedBatches(source, config.inputs, batch_size)
    predicted = model.predict(batches, verbose=0).astype(np.float64)[: len(source)]
    return batches.votes / batches.votes.sum(axis=1, keepdims=True), predicted / predicted.sum(axis=1, keepdims=True)
