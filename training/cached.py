"""Reads the inputs of training windows from a cache (`cache.cache`) where they can be, instead of computing them.

`build.py train` opens it, `training.batches` asks for each window. A window is computed as ever where it is not
stored, or where an augmentation was drawn for it that does not commute with the input's transform. Those that do are
applied to the cached inputs, and change them as they would have changed the channels. The random shift is a choice
among the starts that the experts labelled, which the cache holds, without the jitter around them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cache.cache import Cache, find_cache
from kernel.constants import VOTES
from kernel.inputs import InputConfig, RawConfig
from kernel.montage import MIRROR
from kernel.scalogram import compress
from training.augmentation import draw_dropped, draw_gains
from training.recipe import Stage
from training.windows import FolderWindows

Change = Callable[[np.random.Generator, list[np.ndarray], tuple[InputConfig, ...]], list[np.ndarray]]
"""(generator, the window's inputs, their configurations) -> inputs."""


def find_caches(root: Path, inputs: tuple[InputConfig, ...], say: Callable[[str], None] = print) -> tuple[Cache, ...]:
    """Open the caches of all of a model's inputs under `root`; say why there are none, and return none, otherwise."""
    try:
        caches = tuple(find_cache(root, config) for config in inputs)
    except (FileNotFoundError, ValueError) as error:
        say(f"inputs are computed on the fly: {error}")
        return ()
    for cache in dict.fromkeys(caches):
        say(f"inputs are read from {cache.folder} ({len(cache)} windows)")
    return caches


@dataclass(frozen=True)
class CachedWindows:
    """The windows of a folder whose inputs are cached: a `WindowSource` that can also be read as inputs."""

    windows: FolderWindows
    """Its starts must be those of the table, `shift_seconds` 0 or None, to be found in a cache."""
    caches: tuple[Cache, ...]

    def __len__(self) -> int:
        return len(self.windows)

    def read(self, index: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return channels and votes as ever."""
        return self.windows.read(index, epoch)

    def choose(self, stage: Stage) -> CachedWindows:
        """Return the part that a stage is trained on."""
        return replace(self, windows=self.windows.choose(stage))

    def read_inputs(self, index: int, epoch: int, names: list[str]) -> tuple[list[np.ndarray], np.ndarray] | None:
        """Return each input of a window and its votes, or None where it must be computed to be augmented or at all."""
        if not COMMUTING.keys() >= set(names):
            return None
        row = self.windows.rows.iloc[index]
        key = (int(row["eeg_id"]), self.windows.choose_start(index, epoch))
        if not all(key in cache for cache in self.caches):
            return None
        return [cache.read([key])[0] for cache in self.caches], row[list(VOTES)].to_numpy(np.float64)


def augment_inputs(
    rng: np.random.Generator, arrays: list[np.ndarray], inputs: tuple[InputConfig, ...], names: list[str]
) -> list[np.ndarray]:
    """Apply augmentations to a window's inputs, with the draws that they would have made for its channels.

    Parameters
    ----------
    rng : numpy.random.Generator
        In the state in which `training.augmentation.augment` would get it.
    arrays : list of ndarray
        Each input, shape (18, ...), float32.
    inputs : tuple of ScalogramConfig or RawConfig
        What each of them is.
    names : list of str
        In the order in which they are applied; all in `COMMUTING`.

    Returns
    -------
    arrays : list of ndarray
        Of the same shapes. As `build_input` of the augmented channels, but that what was clipped stays clipped, and
        that a reversed scalogram's frames lie `stride - 1` samples off.
    """
    for name in names:
        arrays = COMMUTING[name](rng, arrays, inputs)
    return arrays


def _mirror(rng: np.random.Generator, arrays: list[np.ndarray], inputs: tuple[InputConfig, ...]) -> list[np.ndarray]:
    return [array[MIRROR] for array in arrays]


def _time_reversal(
    rng: np.random.Generator, arrays: list[np.ndarray], inputs: tuple[InputConfig, ...]
) -> list[np.ndarray]:
    return [array[..., ::-1] for array in arrays]


def _sign(rng: np.random.Generator, arrays: list[np.ndarray], inputs: tuple[InputConfig, ...]) -> list[np.ndarray]:
    return [-array if isinstance(one, RawConfig) else array for array, one in zip(arrays, inputs, strict=True)]


def _gain(rng: np.random.Generator, arrays: list[np.ndarray], inputs: tuple[InputConfig, ...]) -> list[np.ndarray]:
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


def _channel_dropout(
    rng: np.random.Generator, arrays: list[np.ndarray], inputs: tuple[InputConfig, ...]
) -> list[np.ndarray]:
    dropped = draw_dropped(rng, len(arrays[0]))
    for array in arrays:
        array[dropped] = 0
    return arrays


COMMUTING: dict[str, Change] = {
    "mirror": _mirror,
    "time_reversal": _time_reversal,
    "sign": _sign,
    "gain": _gain,
    "channel_dropout": _channel_dropout,
}
"""The augmentations of `training.augmentation` that can be applied to an input instead of to the channels."""
