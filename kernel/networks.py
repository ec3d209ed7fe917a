"""The networks by name. Called by `model.py`, which hands over the configured inputs' shapes.

Each network is a function from its options and inputs to logits; `model.py` makes them probabilities. Nothing
here fetches anything: keras-cv's presets and alias classes ask the network even for a bare architecture, so the
backbone is built from its numbers, and where keras-cv is missing Keras' own EfficientNetV2B2 stands in. The two have
the same 460 arrays in the same order, and the same output.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

EFFICIENTNET_V2_B2: dict[str, Any] = {
    "width_coefficient": 1.1,
    "depth_coefficient": 1.2,
    "stackwise_kernel_sizes": [3, 3, 3, 3, 3, 3],
    "stackwise_num_repeats": [1, 2, 2, 3, 5, 8],
    "stackwise_input_filters": [32, 16, 32, 48, 96, 112],
    "stackwise_output_filters": [16, 32, 48, 96, 112, 192],
    "stackwise_expansion_ratios": [1, 4, 4, 4, 6, 6],
    "stackwise_squeeze_and_excite_ratios": [0, 0, 0, 0.25, 0.25, 0.25],
    "stackwise_strides": [1, 2, 2, 2, 1, 2],
    "stackwise_conv_types": ["fused", "fused", "fused", "unfused", "unfused", "unfused"],
}
"""EfficientNetV2-B2 (Tan & Le 2021), as keras-cv's constructor takes it."""


@dataclass(frozen=True)
class Network:
    """One entry of the registry: how to get from inputs and options to logits, and the type of the options."""

    build: Callable[[Any, list[Any]], Any]
    """(options, input tensors) -> logits, shape (batch, 6)."""
    options: type
    """A frozen dataclass; its fields travel in `config.json`."""


NETWORKS: dict[str, Network] = {}


def register(name: str, options: type) -> Callable[[Callable[[Any, list[Any]], Any]], Callable[[Any, list[Any]], Any]]:
    """Enter a network into the registry under `name`."""

    def enter(build: Callable[[Any, list[Any]], Any]) -> Callable[[Any, list[Any]], Any]:
        NETWORKS[name] = Network(build, options)
        return build

    return enter


def efficientnet_v2_b2(shape: tuple[int | None, int | None, int], *, use_keras_cv: bool | None = None) -> Any:
    """Build the EfficientNetV2-B2 backbone with random weights: (height, width, 3) -> features of 1408 channels.

    `use_keras_cv` forces one of the two implementations; None takes keras-cv where it can be imported.
    """
    if use_keras_cv is not False:
        try:
            import keras_cv

            return keras_cv.models.EfficientNetV2Backbone(
                **EFFICIENTNET_V2_B2, include_rescaling=False, input_shape=shape
            )
        except ImportError:
            if use_keras_cv:
                raise
    return keras.applications.EfficientNetV2B2(
        include_top=False, weights=None, include_preprocessing=False, input_shape=shape
    )


@dataclass(frozen=True)
class ScalogramB2Options:
    """Options of `scalogram_b2`."""

    columns: int = 2
    """Columns of channels in the picture: 2 sets the left hemisphere's channels beside the right's."""
    pool_freqs: int = 2
    """Neighbouring rows of a scalogram averaged into one."""
    pool_frames: int = 4
    """Neighbouring frames averaged into one."""
    dropout: float = 0.3
    """Share of pooled features dropped in training."""


def build_picture(scalogram: Any, columns: int, pool_freqs: int, pool_frames: int) -> Any:
    """Lay the channels out in space: (batch, 18, freqs, frames) -> (batch, height, width, 1).

    Channel i stands in row i // columns and column i % columns, each scalogram averaged over `pool_freqs` rows and
    `pool_frames` frames first, so that no channel's picture bleeds into its neighbour's. A remainder is cut off.
    """
    _, n_channels, n_freqs, n_frames = scalogram.shape
    if n_channels % columns:
        raise ValueError(f"{n_channels} channels cannot be laid out in {columns} columns: choose a divisor")
    freqs, frames = n_freqs // pool_freqs, n_frames // pool_frames
    tiles = keras.layers.Reshape((n_channels * n_freqs, n_frames, 1))(scalogram)
    tiles = keras.layers.Cropping2D(((0, 0), (0, n_frames - frames * pool_frames)))(tiles)
    if n_freqs % pool_freqs:
        raise ValueError(f"{n_freqs} frequencies cannot be averaged by {pool_freqs}: choose a divisor")
    tiles = keras.layers.AveragePooling2D((pool_freqs, pool_frames))(tiles)
    rows = n_channels // columns
    tiles = keras.layers.Reshape((rows, columns, freqs, frames))(tiles)
    tiles = keras.layers.Permute((1, 3, 2, 4))(tiles)
    return keras.layers.Reshape((rows * freqs, columns * frames, 1))(tiles)


@register("scalogram_b2", ScalogramB2Options)
def scalogram_b2(options: ScalogramB2Options, inputs: list[Any]) -> Any:
    """EfficientNetV2-B2 over one picture of the 18 scalograms."""
    (scalogram,) = inputs
    picture = build_picture(scalogram, options.columns, options.pool_freqs, options.pool_frames)
    picture = keras.layers.Concatenate()([picture] * 3)
    features = efficientnet_v2_b2(picture.shape[1:])(picture)
    pooled = keras.layers.GlobalAveragePooling2D()(features)
    return keras.layers.Dense(6, name="logits")(keras.layers.Dropout(options.dropout)(pooled))
