"""Fits one model on one fold: stages, moving average, best epoch, and a state on disk after every epoch.

Interrupted at any moment and run again it goes on after the last whole epoch, to
the same weights as if it had never stopped: the state holds every variable of the model (its dropout's seeds too) and
of the optimizer, and windows depend on the epoch's number alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
from tqdm import tqdm

from kernel.files import replacing
from kernel.model import ModelConfig, build_model, keras_array, read_weights, write_weights
from training.batches import FixedBatches, TrainingBatches
from training.devices import compiles_fast, spread_over_devices
from training.metric import kl_per_row
from training.recipe import Recipe, Stage
from training.windows import WindowSource


@dataclass
class Progress:
    """How far a fold is, and what each epoch gave; the JSON part of its state."""

    stage: int = 0
    epoch: int = 0
    """Epochs done of the stage."""
    total: int = 0
    """Epochs done of all stages."""
    best_kl: float = float("inf")
    history: list[dict[str, Any]] = field(default_factory=list)
    """One entry per epoch: stage, loss, kl (validation)."""


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
        saved = self._read_state()
        if saved:
            _assign([*self.model.weights, *_seeds(self.model)], saved["model"])
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
                    _assign(optimizer.variables, saved["optimizer"])
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
        batches = _TimedBatches(source, self.config.inputs, self.recipe, stage, progress.total)
        watch = _Watch(bar, progress, batches)
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
        self._write_state(optimizer)
        bar.write(
            f"{self.label} epoch {progress.total} ({stage.name}): loss {loss:.4f}, validation KL {kl:.4f}, "
            f"{len(batches) * self.recipe.batch_size / watch.seconds:.1f} windows/s, "
            f"{watch.waited / watch.seconds:.0%} of the time waiting for data"
        )

    def _write_state(self, optimizer: Any) -> None:
        with replacing(self.state) as part, h5py.File(part, "w") as file:
            parts = {"model": [*self.model.weights, *_seeds(self.model)], "optimizer": optimizer.variables}
            for name, variables in parts.items():
                for index, variable in enumerate(variables):
                    file[f"{name}/{index:05d}"] = keras_array(variable)
            file.attrs["signature"], file.attrs["progress"] = self.signature, json.dumps(vars(self.progress))

    def _read_state(self) -> dict[str, list[np.ndarray]]:
        """Return the variables of an earlier run, none where there was none, and take over its progress."""
        if not self.state.is_file():
            return {}
        with h5py.File(self.state) as file:
            if file.attrs["signature"] != self.signature:
                raise ValueError(
                    f"{self.state}: an unfinished training of another recipe or model; remove the folder "
                    f"{self.state.parent} to begin this one"
                )
            self.progress = Progress(**json.loads(file.attrs["progress"]))
            saved = {name: [np.asarray(group[key]) for key in sorted(group)] for name, group in file.items()}
        if self.progress.epoch == self.recipe.stages[self.progress.stage].epochs:
            # Stopped between two stages: the next one starts from the best weights, with a new optimizer.
            self.progress.stage, self.progress.epoch = self.progress.stage + 1, 0
        return saved


def _assign(variables: list[Any], values: list[np.ndarray]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _seeds(model: Any) -> list[Any]:
    """Return the states of the model's random generators: dropout goes on where it stopped."""
    weights = {id(variable) for variable in model.weights}
    return [v for v in model.non_trainable_variables if id(v) not in weights and "seed" in v.path]


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


class _TimedBatches(TrainingBatches):
    """Knows when each batch was ready."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.ready: dict[int, float] = {}

    def __getitem__(self, index: int) -> Any:
        batch = super().__getitem__(index)
        self.ready[index] = time.monotonic()
        return batch


class _Watch(keras.callbacks.Callback):
    """Moves one progress bar over all epochs and stages, and measures for how long the device waits for data.

    The device waits from the end of a batch until the next one is ready.
    """

    def __init__(self, bar: Any, progress: Progress, batches: _TimedBatches) -> None:
        super().__init__()
        self.bar, self.progress, self.batches = bar, progress, batches
        self.started = self.free = time.monotonic()
        self.seconds = self.waited = 0.0

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Advance by one batch; reading the loss waits until the device has finished it."""
        shown = {"loss": f"{(logs or {}).get('loss', float('nan')):.3f}"}
        if self.progress.history:
            shown["kl"] = f"{self.progress.history[-1]['kl']:.3f}"
        self.bar.set_postfix(shown, refresh=False)
        self.bar.update()
        self.waited += max(0.0, self.batches.ready[batch] - self.free)
        self.free = time.monotonic()
        self.seconds = self.free - self.started


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
