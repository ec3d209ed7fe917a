"""The devices a training runs on: the only place in this room that knows which backend Keras has."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import keras

from kernel.model import count_gpus


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
