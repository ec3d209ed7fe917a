"""The networks by name.

Each network is a function from its options and input tensors to logits; `model.py` adds the softmax. No network
downloads anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kernel import picture_networks as picture
from kernel.raw_network import RawAttentionOptions, RawOptions, raw_1d, raw_attention


@dataclass(frozen=True)
class Network:
    """One network: the function that builds it, and the type of its options."""

    build: Callable[[Any, list[Any]], Any]  # (options, input tensors) -> logits, shape (batch, 6)
    options: type  # a frozen dataclass; its fields travel in `config.json`
    has_efficientnet: bool = False  # whether an EfficientNetV2-B2 inside can start from ImageNet's weights


NETWORKS: dict[str, Network] = {
    "scalogram_b2": Network(picture.scalogram_b2, picture.PictureOptions, has_efficientnet=True),
    "scalogram_zoom_b2": Network(picture.scalogram_zoom_b2, picture.ZoomOptions, has_efficientnet=True),
    "scalogram_pairs_b2": Network(picture.scalogram_pairs_b2, picture.PairsOptions, has_efficientnet=True),
    "two_input_b2": Network(picture.two_input_b2, picture.ZoomOptions, has_efficientnet=True),
    "baseline_b2": Network(picture.baseline_b2, picture.BaselineOptions, has_efficientnet=True),
    "scalogram_maxvit": Network(picture.scalogram_maxvit, picture.MaxViTOptions),
    "raw_1d": Network(raw_1d, RawOptions),
    "raw_attention": Network(raw_attention, RawAttentionOptions),
}
