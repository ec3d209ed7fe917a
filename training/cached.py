"""Applies to a network's cached inputs the augmentations that change them as they would have changed the channels.

Those that are not here, such as added noise, need the channels: a training with them reads channels from the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from kernel.inputs import InputConfig, RawConfig
from kernel.montage import MIRROR
from kernel.scalogram import compress
from training.augmentation import draw_dropped, draw_gains

Inputs = Sequence[InputConfig]
Change = Callable[[np.random.Generator, list[np.ndarray], Inputs], list[np.ndarray]]
"""(generator, the window's inputs, their configurations) -> inputs."""


def augment_inputs(
    rng: np.random.Generator, arrays: list[np.ndarray], inputs: Inputs, names: list[str]
) -> list[np.ndarray]:
    """Apply augmentations to a window's inputs, with the draws that they would have made for its channels.

    Parameters
    ----------
    rng : numpy.random.Generator
        In the state in which `training.augmentation.augment` would get it.
    arrays : list of ndarray
        Each input, shape (18, ...), float32.
    inputs : sequence of ScalogramConfig or RawConfig
        What each of them is.
    names : list of str
        In the order in which they are applied; all in `ON_INPUTS`.

    Returns
    -------
    arrays : list of ndarray
        Of the same shapes. As `build_input` of the augmented channels, but that what was clipped stays clipped, and
        that a reversed scalogram's frames lie `stride - 1` samples off.
    """
    for name in names:
        arrays = ON_INPUTS[name](rng, arrays, inputs)
    return arrays


def _mirror(rng: np.random.Generator, arrays: list[np.ndarray], inputs: Inputs) -> list[np.ndarray]:
    return [array[MIRROR] for array in arrays]


def _time_reversal(rng: np.random.Generator, arrays: list[np.ndarray], inputs: Inputs) -> list[np.ndarray]:
    return [array[..., ::-1] for array in arrays]


def _sign(rng: np.random.Generator, arrays: list[np.ndarray], inputs: Inputs) -> list[np.ndarray]:
    return [-array if isinstance(one, RawConfig) else array for array, one in zip(arrays, inputs, strict=True)]


def _gain(rng: np.random.Generator, arrays: list[np.ndarray], inputs: Inputs) -> list[np.ndarray]:
    gains = draw_gains(rng, len(arrays[0]))
    return [
        _scale(array, one, gains.reshape(-1, *[1] * (array.ndim - 1)))
        for array, one in zip(arrays, inputs, strict=True)
    ]


def _scale(array: np.ndarray, config: InputConfig, gains: np.ndarray) -> np.ndarray:
    """Undo the input's compression, scale, and compress again."""
    if isinstance(config, RawConfig):
        return np.arcsinh(np.sinh(array) * gains) if config.compression == "asinh" else array * gains
    if config.compression == "power":
        return array * gains ** np.float32(config.exponent)
    if config.compression == "none":
        return array * gains
    return compress(np.expm1(array) * (gains * np.float32(config.unit)), config)


def _channel_dropout(rng: np.random.Generator, arrays: list[np.ndarray], inputs: Inputs) -> list[np.ndarray]:
    dropped = draw_dropped(rng, len(arrays[0]))
    for array in arrays:
        array[dropped] = 0
    return arrays


ON_INPUTS: dict[str, Change] = {
    "mirror": _mirror,
    "time_reversal": _time_reversal,
    "sign": _sign,
    "gain": _gain,
    "channel_dropout": _channel_dropout,
}
"""The augmentations of `training.augmentation` that can be applied to an input instead of to the channels."""
