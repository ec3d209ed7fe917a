"""The networks on pictures of scalograms: EfficientNetV2-B2 in its layouts, and MaxViT.

A picture shows the channels side by side in space. Giving them to the network as colours scored worse (third place of
the competition). Each function goes from its options and input tensors to logits, shape (batch, 6).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from keras import layers, ops

from kernel.constants import WINDOW_SECONDS
from kernel.efficientnet import efficientnet_v2_b2


@dataclass(frozen=True)
class PictureOptions:
    """Options of the networks that see one picture: `scalogram_b2`, and one a scalogram in `two_input_b2`."""

    columns: int = 2  # columns of channels in the picture: 2 sets the left hemisphere's channels beside the right's
    pool_freqs: int = 2  # neighbouring rows of a scalogram averaged into one
    pool_frames: int = 4  # neighbouring frames averaged into one
    dropout: float = 0.3  # share of pooled features dropped in training


@dataclass(frozen=True)
class ZoomOptions(PictureOptions):
    """Options of the networks that see two scalograms: the whole window, and a zoom on the labelled seconds."""

    zoom_pool_frames: int = 1  # neighbouring frames of the zoom averaged into one


@dataclass(frozen=True)
class PairsOptions:
    """Options of `scalogram_pairs_b2`."""

    pool_freqs: int = 2  # neighbouring rows of a scalogram averaged into one
    central_seconds: float = 11.0  # what is shown finely, about the window's centre
    pool_central: int = 2  # neighbouring frames averaged into one there
    pool_window: int = 24  # neighbouring frames averaged into one where the whole window is shown
    dropout: float = 0.3  # share of pooled features dropped in training


@dataclass(frozen=True)
class BaselineOptions:
    """Options of `baseline_b2`."""

    size: int = 512  # height and width that the picture is resized to, by the nearest neighbour
    dropout: float = 0.0  # share of pooled features dropped in training


@dataclass(frozen=True)
class MaxViTOptions(PictureOptions):
    """Options of `scalogram_maxvit`."""

    width: int = 48  # filters of the first stage; each further stage has twice as many
    stages: int = 3  # stages of one block each, every one at half the resolution of the one before
    window: int = 5  # side of the attention's blocks and of its grid
    head_size: int = 24  # channels per attention head


def build_picture(scalogram: Any, columns: int, pool_freqs: int, pool_frames: int) -> Any:
    """Lay the channels out in space: (batch, 18, freqs, frames) -> (batch, height, width, 1).

    Channel i stands in row i // columns and column i % columns, each scalogram averaged over `pool_freqs` rows and
    `pool_frames` frames first, so that no channel's picture bleeds into its neighbour's. Left-over frames are cut off.
    """
    _, n_channels, n_freqs, n_frames = scalogram.shape
    if n_channels % columns:
        raise ValueError(f"{n_channels} channels cannot be laid out in {columns} columns: choose a divisor")
    if n_freqs % pool_freqs:
        raise ValueError(f"{n_freqs} frequencies cannot be averaged by {pool_freqs}: choose a divisor")
    rows, freqs, frames = n_channels // columns, n_freqs // pool_freqs, n_frames // pool_frames
    tiles = layers.Reshape((n_channels * n_freqs, n_frames, 1))(scalogram)
    tiles = layers.AveragePooling2D((pool_freqs, pool_frames))(tiles)
    tiles = layers.Reshape((rows, columns, freqs, frames))(tiles)
    tiles = layers.Permute((1, 3, 2, 4))(tiles)
    return layers.Reshape((rows * freqs, columns * frames, 1))(tiles)


def scalogram_b2(options: PictureOptions, inputs: list[Any]) -> Any:
    """EfficientNetV2-B2 over one picture of the 18 scalograms."""
    (scalogram,) = inputs
    picture = build_picture(scalogram, options.columns, options.pool_freqs, options.pool_frames)
    return _classify([picture], options.dropout)


def scalogram_zoom_b2(options: ZoomOptions, inputs: list[Any]) -> Any:
    """EfficientNetV2-B2 over one picture: the whole window, and beside it the labelled seconds at a finer scale."""
    pictures = _build_both(options, inputs)
    if pictures[0].shape[1] != pictures[1].shape[1]:
        rows = [one.shape[2] for one in inputs]
        raise ValueError(f"scalogram_zoom_b2: both scalograms need as many rows, found {rows[0]}, {rows[1]}")
    return _classify([layers.Concatenate(axis=2)(pictures)], options.dropout)


def two_input_b2(options: ZoomOptions, inputs: list[Any]) -> Any:
    """One EfficientNetV2-B2 over two pictures in turn, their pooled features side by side."""
    return _classify(_build_both(options, inputs), options.dropout)


def _build_both(options: ZoomOptions, inputs: list[Any]) -> list[Any]:
    pools = (options.pool_frames, options.zoom_pool_frames)
    return [build_picture(one, options.columns, options.pool_freqs, n) for one, n in zip(inputs, pools, strict=True)]


def scalogram_pairs_b2(options: PairsOptions, inputs: list[Any]) -> Any:
    """EfficientNetV2-B2 over one picture in which left and right lie over each other as colours.

    A row for each pair of channels, the last one for the two of the midline; in it the central seconds finely, beside
    them the whole window. The colours are the mean of both sides, their difference, and its size: what is lateralised
    shows in one point, and the picture is half as large as with the sides beside each other.
    """
    (scalogram,) = inputs
    _, n_channels, n_freqs, n_frames = scalogram.shape
    margin = round(n_frames * (1 - options.central_seconds / WINDOW_SECONDS) / 2)
    sides = []
    for first in (0, 1):
        side = layers.Reshape((n_channels // 2 * n_freqs, n_frames, 1))(scalogram[:, first::2])
        centre = side[:, :, margin : n_frames - margin]
        centre = layers.AveragePooling2D((options.pool_freqs, options.pool_central))(centre)
        window = layers.AveragePooling2D((options.pool_freqs, options.pool_window))(side)
        sides.append(layers.Concatenate(axis=2)([centre, window]))
    difference = layers.Subtract()(sides)
    colours = [layers.Average()(sides), difference, ops.abs(difference)]
    return _answer([layers.Concatenate()(colours)], options.dropout)


def baseline_b2(options: BaselineOptions, inputs: list[Any]) -> Any:
    """All channels under each other, resized to a square by the nearest neighbour: the baseline's network.

    The baseline is the public notebook that scored 0.40. This differs in one point: the notebook scaled by the minimum
    and maximum of the batch, this scales by a constant.
    """
    (scalogram,) = inputs
    picture = build_picture(scalogram, 1, 1, 1)
    return _classify([layers.Resizing(options.size, options.size, interpolation="nearest")(picture)], options.dropout)


def _classify(pictures: list[Any], dropout: float) -> Any:
    """One backbone over grey pictures."""
    return _answer([layers.Concatenate()([picture] * 3) for picture in pictures], dropout)


def _answer(pictures: list[Any], dropout: float) -> Any:
    """One EfficientNetV2-B2 over pictures of three colours, their pooled features side by side."""
    backbone = efficientnet_v2_b2((None, None, 3))
    pooled = [layers.GlobalAveragePooling2D()(backbone(picture)) for picture in pictures]
    features = pooled[0] if len(pooled) == 1 else layers.Concatenate()(pooled)
    return layers.Dense(6, name="logits")(layers.Dropout(dropout)(features))


def scalogram_maxvit(options: MaxViTOptions, inputs: list[Any]) -> Any:
    """MaxViT (Tu et al. 2022, figure 2): convolution, attention inside blocks, attention over a grid, in every stage.

    The convolutions tell it where things are, instead of the paper's relative bias, which depends on the distance
    between two points alone and means little in a picture whose axes are channel, frequency and time.
    """
    (scalogram,) = inputs
    picture = build_picture(scalogram, options.columns, options.pool_freqs, options.pool_frames)
    multiple = 4 * options.window * 2 ** (options.stages - 1)
    height, width = (-(-side // multiple) * multiple for side in picture.shape[1:3])
    x = layers.ZeroPadding2D(((0, height - picture.shape[1]), (0, width - picture.shape[2])))(picture)
    x = _convolve(x, options.width, 3, stride=2)
    x = _convolve(x, options.width, 3)
    for stage in range(options.stages):
        x = _inverted_bottleneck(x, options.width * 2**stage, stride=2)
        x = _attend(x, options, in_blocks=True)
        x = _attend(x, options, in_blocks=False)
    pooled = layers.GlobalAveragePooling2D()(layers.LayerNormalization()(x))
    return layers.Dense(6, name="logits")(layers.Dropout(options.dropout)(pooled))


def _convolve(x: Any, filters: int, size: int, stride: int = 1) -> Any:
    x = layers.Conv2D(filters, size, strides=stride, padding="same", use_bias=False)(x)
    return layers.Activation("gelu")(layers.BatchNormalization(momentum=0.95, synchronized=True)(x))


def _inverted_bottleneck(x: Any, filters: int, stride: int) -> Any:
    """MBConv: widen fourfold, one depthwise convolution, squeeze and excite, narrow again."""
    y = _convolve(x, 4 * filters, 1)
    y = layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False)(y)
    y = layers.Activation("gelu")(layers.BatchNormalization(momentum=0.95, synchronized=True)(y))
    squeezed = layers.GlobalAveragePooling2D(keepdims=True)(y)
    excited = layers.Conv2D(4 * filters, 1, activation="sigmoid")(
        layers.Conv2D(filters, 1, activation="silu")(squeezed)
    )
    y = layers.Conv2D(filters, 1)(layers.Multiply()([y, excited]))
    short = layers.AveragePooling2D(stride, padding="same")(x)
    return layers.Add()([layers.Conv2D(filters, 1)(short), y])


def _attend(x: Any, options: MaxViTOptions, in_blocks: bool) -> Any:
    """Attention among the points of each `window` x `window` block, or of a grid that spans the whole picture."""
    _, height, width, filters = x.shape
    side = options.window
    rows, columns = height // side, width // side
    if in_blocks:
        split, order, back = (rows, side, columns, side, filters), (1, 3, 2, 4, 5), (1, 3, 2, 4, 5)
    else:
        split, order, back = (side, rows, side, columns, filters), (2, 4, 1, 3, 5), (3, 1, 4, 2, 5)
    groups = (rows, columns, side, side, filters)
    y = layers.Reshape(split)(layers.LayerNormalization()(x))
    y = layers.Reshape((rows * columns, side * side, filters))(layers.Permute(order)(y))
    heads = max(1, filters // options.head_size)
    y = layers.MultiHeadAttention(heads, filters // heads, attention_axes=2)(y, y)
    y = layers.Reshape((height, width, filters))(layers.Permute(back)(layers.Reshape(groups)(y)))
    x = layers.Add()([x, y])
    y = layers.Dense(4 * filters, activation="gelu")(layers.LayerNormalization()(x))
    return layers.Add()([x, layers.Dense(filters)(y)])
