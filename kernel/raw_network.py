"""The networks on the raw montage: one encoder for every channel, one for both hemispheres, with attention or without.

After the third- and fourth-place designs of the competition: convolutions along time only, with the same weights for
every channel and for both hemispheres. The hemispheres are joined as their mean and the size of their difference, so a
mirrored head gets the same answer (up to rounding), and the network need not learn that a pattern may lie on either
side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import layers, ops

from kernel.constants import LABEL_SECONDS, WINDOW_SECONDS
from kernel.montage import N_PAIRS


@dataclass(frozen=True)
class RawOptions:
    """Options of `raw_1d`."""

    central_samples: int = 2000
    """Samples of the input, at its own rate, that are seen finely: 20 s around the labelled 10 s at 100 Hz."""
    stem_stride: int = 4  # samples per step of the first convolution, which learns a bank of short filters
    filters: tuple[int, ...] = (32, 64)
    """Filters of the first convolution and of the channel encoder's stages; each stage halves the samples."""
    width: int = 96  # filters where channels and hemispheres are fused
    depth: int = 2  # residual blocks per hemisphere, and again after the fusion
    context_pool: int = 4
    """Samples of the whole input averaged into one for an encoder of its own, half as wide: 50 s at 25 Hz."""
    kernel: int = 7  # length of the convolutions in samples
    dropout: float = 0.3  # share of pooled features dropped in training


@dataclass(frozen=True)
class RawAttentionOptions(RawOptions):
    """Options of `raw_attention`."""

    head_size: int = 24  # features per attention head


Mix = Callable[[Any], Any]
"""What follows the blocks of the hemispheres, and those of the head: (batch, 2 or 1, time, features) -> the same."""


def raw_1d(options: RawOptions, inputs: list[Any]) -> Any:
    """Encode the central seconds finely and all coarsely; pool over both, and over the labelled seconds."""
    return _answer(options, inputs, lambda x: x)


def raw_attention(options: RawAttentionOptions, inputs: list[Any]) -> Any:
    """`raw_1d` whose hemispheres look for what they hear elsewhere: attention over time and over both of them.

    A pattern is periodic or rhythmic because it comes again, and lateralised because the other side lacks it.
    Convolutions compare neighbours; attention compares a discharge with the one of ten seconds ago.
    """
    return _answer(options, inputs, lambda x: _attend(x, options.head_size))


def _answer(options: RawOptions, inputs: list[Any], mix: Mix) -> Any:
    (raw,) = inputs
    n_channels, n_samples = raw.shape[1:]
    whole = layers.Reshape((n_channels, n_samples, 1))(raw)
    centre = _cut_centre(whole, options.central_samples)
    centre = _encode(centre, options, options.filters, options.width, options.stem_stride, mix)
    seconds = WINDOW_SECONDS * (min(n_samples, options.central_samples) / n_samples)
    labelled = _cut_centre(centre, round(centre.shape[2] * (LABEL_SECONDS[1] - LABEL_SECONDS[0]) / seconds))
    coarse = layers.AveragePooling2D((1, options.context_pool))(whole)
    coarse = _encode(coarse, options, tuple(f // 2 for f in options.filters), options.width // 2, 2, mix)
    pooled = [layers.GlobalAveragePooling2D()(x) for x in (centre, labelled)]
    pooled += [layers.GlobalMaxPooling2D()(labelled), layers.GlobalAveragePooling2D()(coarse)]
    pooled += [layers.GlobalMaxPooling2D()(coarse)]
    return layers.Dense(6, name="logits")(layers.Dropout(options.dropout)(layers.Concatenate()(pooled)))


def _encode(x: Any, options: RawOptions, filters: tuple[int, ...], width: int, stem_stride: int, mix: Mix) -> Any:
    """Encode each channel, then each hemisphere, then the head: (batch, 18, time, 1) -> (batch, 1, steps, width)."""
    x = layers.ReLU()(_convolve(x, filters[0], 15, stem_stride))
    for n_filters in filters:
        x = _residual(x, n_filters, options.kernel, stride=2)
    x = _group_by_hemisphere(x)
    x = layers.ReLU()(_convolve(x, width, 1))
    for _ in range(options.depth):
        x = _residual(x, width, options.kernel)
    x = mix(x)
    left, right = x[:, :1], x[:, 1:]
    x = layers.Concatenate()([layers.Average()([left, right]), ops.abs(layers.Subtract()([left, right]))])
    x = layers.ReLU()(_convolve(x, width, 1))
    for i in range(options.depth):
        x = _residual(x, width, options.kernel, stride=2 if i == 0 else 1)
    return mix(x)


def _group_by_hemisphere(x: Any) -> Any:
    """Concatenate the features of each hemisphere's channels: (batch, 18, time, f) -> (batch, 2, time, 10 f).

    A hemisphere has its eight channels, every second one of the montage, and the two midline channels.
    """
    n_channels, n_times, n_filters = x.shape[1:]
    pairs = layers.Reshape((N_PAIRS, 2, n_times, n_filters))(x[:, : 2 * N_PAIRS])
    pairs = layers.Permute((2, 3, 1, 4))(pairs)
    pairs = layers.Reshape((2, n_times, N_PAIRS * n_filters))(pairs)
    midline = layers.Permute((2, 1, 3))(x[:, 2 * N_PAIRS :])
    midline = layers.Reshape((1, n_times, (n_channels - 2 * N_PAIRS) * n_filters))(midline)
    return layers.Concatenate()([pairs, layers.UpSampling2D((2, 1))(midline)])


def _cut_centre(x: Any, n_kept: int) -> Any:
    """Keep so many time steps in the middle, or all where there are fewer."""
    first = max(0, x.shape[2] - n_kept) // 2
    return x[:, :, first : first + n_kept]


def _convolve(x: Any, filters: int, size: int, stride: int = 1, initializer: str = "he_normal") -> Any:
    """Convolve along time."""
    return layers.Conv2D(filters, (1, size), (1, stride), padding="same", kernel_initializer=initializer)(x)


def _residual(x: Any, filters: int, size: int, stride: int = 1) -> Any:
    """Two convolutions beside a short cut, halving the samples where `stride` is 2.

    The second convolution starts with zeros, so that each block begins as its short cut and needs no normalisation
    (Zhang et al. 2019, Fixup). Without normalisation nothing depends on the batch, and training on several devices
    gives the same result as on one.
    """
    y = layers.ReLU()(_convolve(x, filters, size, stride))
    y = _convolve(y, filters, size, initializer="zeros")
    if stride > 1:
        x = layers.AveragePooling2D((1, stride), padding="same")(x)
    if x.shape[-1] != filters:
        x = layers.Conv2D(filters, (1, 1), use_bias=False)(x)
    return layers.ReLU()(layers.Add()([x, y]))


def _attend(x: Any, head_size: int) -> Any:
    """Attention of each hemisphere to all moments of its own and of the other, then two dense layers (Vaswani 2017).

    Both hemispheres share the weights, and what comes from the other side is marked by a layer of its own: a mirrored
    head still gets the same answer. Where the hemispheres are joined there is no other side.
    """
    # Convolutions of length one, not dense layers nor Keras' MultiHeadAttention, which is made of them: on some
    # processors these crash where a dimension is one, as the joined hemispheres are (TensorFlow 2.20, issue 117700).
    _, n_sides, n_times, width = x.shape
    y = layers.LayerNormalization()(x)
    y = y + _encode_positions(n_times, width)
    seen = y
    if n_sides == 2:
        other = _convolve(ops.flip(y, axis=1), width, 1, initializer="glorot_uniform")
        seen = layers.Concatenate(axis=2)([y, other])
    queries = _split_heads(_convolve(y, width, 1, initializer="glorot_uniform"), head_size) * head_size**-0.5
    keys, values = (_split_heads(_convolve(seen, width, 1, initializer="glorot_uniform"), head_size) for _ in range(2))
    shares = layers.Softmax()(ops.matmul(queries, ops.transpose(keys, (0, 1, 2, 4, 3))))
    y = ops.transpose(ops.matmul(shares, values), (0, 1, 3, 2, 4))
    x = layers.Add()([x, _convolve(layers.Reshape((n_sides, n_times, width))(y), width, 1, initializer="zeros")])
    y = layers.ReLU()(_convolve(layers.LayerNormalization()(x), 2 * width, 1))
    return layers.Add()([x, _convolve(y, width, 1, initializer="zeros")])


def _split_heads(x: Any, head_size: int) -> Any:
    """(batch, sides, time, width) -> (batch, sides, heads, time, head size)."""
    _, n_sides, n_times, width = x.shape
    x = layers.Reshape((n_sides, n_times, width // head_size, head_size))(x)
    return ops.transpose(x, (0, 1, 3, 2, 4))


def _encode_positions(n_times: int, width: int) -> np.ndarray:
    """Sines and cosines of every time step, shape (n_times, width), float32, small beside normalised features."""
    angles = np.arange(n_times)[:, None] / 10.0 ** np.linspace(0, 3, width // 2)
    return 0.3 * np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)
