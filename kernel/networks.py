"""The networks by name. Called by `model.py`, which hands over the configured inputs' shapes.

Each network is a function from its options and inputs to logits; `model.py` makes them probabilities. Nothing in any of
them fetches anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kernel import picture_networks as picture
from kernel.raw_network import RawOptions, raw_1d


@dataclass(frozen=True)
class Network:
    """One entry of the registry: how to get from inputs and options to logits, and the type of the options."""

    build: Callable[[Any, list[Any]], Any]
    """(options, input tensors) -> logits, shape (batch, 6)."""
    options: type
    """A frozen dataclass; its fields travel in `config.json`."""


NETWORKS: dict[str, Network] = {
    "scalogram_b2": Network(picture.scalogram_b2, picture.PictureOptions),
    "scalogram_zoom_b2": Network(picture.scalogram_zoom_b2, picture.ZoomOptions),
    "scalogram_pairs_b2": Network(picture.scalogram_pairs_b2, picture.PairsOptions),
    "two_input_b2": Network(picture.two_input_b2, picture.ZoomOptions),
    "seed_b2": Network(picture.seed_b2, picture.SeedOptions),
    "scalogram_maxvit": Network(picture.scalogram_maxvit, picture.MaxViTOptions),
    "raw_1d": Network(raw_1d, RawOptions),
}
