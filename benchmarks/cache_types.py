"""How few bits a stored input needs: bytes per window by type, and how far each moves a network's probabilities.

`python -m benchmarks.cache_types [MODEL ...]` (part of `make bench`). The networks are those of `weights/`; where there
are none, one is fitted to 240 simulated windows for a few minutes, and the table says so. The windows are simulated
ones, and the real ones of ../shared/iiic where they are. "Row" means that each row of an input, one frequency of one
channel, has its own least and greatest value; "fixed" means one range for all rows, which is logarithmic companding
where the input is a logarithm, as the scalogram is.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cache.shard import LEVELS
from kernel.inputs import InputConfig, build_input
from kernel.model import ModelConfig, build_model, fold_files, load_model, read_config
from kernel.recording import build_channels, read_channels
from simulator.generate import simulate_window
from training.recipe import read_recipe

ROOT = Path(__file__).resolve().parents[1]
REAL = ROOT.parent / "shared" / "iiic" / "test_eegs"
BOUND = 1e-3
FITTED, TESTED = 240, 96
Store = Callable[[np.ndarray], np.ndarray]
"""Inputs, float32 -> what comes back from this type, float32."""


def widen(dtype: str) -> Store:
    """Store as a floating-point type."""
    import ml_dtypes

    type_ = np.dtype(getattr(ml_dtypes, dtype)) if hasattr(ml_dtypes, dtype) else np.dtype(dtype)
    return lambda values: values.astype(type_).astype(np.float32)


def fixed(bits: int) -> Store:
    """Store steps between the least and the greatest value of all inputs."""
    return lambda values: _step(values, bits, values.min(), values.max())


def by_row(bits: int) -> Store:
    """Store steps between the least and the greatest value of each row."""
    return lambda values: _step(values, bits, values.min(axis=-1, keepdims=True), values.max(axis=-1, keepdims=True))


def _step(values: np.ndarray, bits: int, low: Any, high: Any) -> np.ndarray:
    step = np.maximum(high - low, np.float32(1e-6)) / np.float32(2**bits - 1)
    return np.rint((values - low) / step) * step + low


TYPES: dict[str, tuple[float, Store]] = {
    "float16": (2, widen("float16")),
    "bfloat16": (2, widen("bfloat16")),
    "float8_e4m3fn": (1, widen("float8_e4m3fn")),
    **{f"{bits} bits, fixed": (bits / 8, fixed(bits)) for bits in (16, 12, 10, 8, 6)},
    **{f"{bits} bits, row": (bits / 8, by_row(bits)) for bits in (12, 10, 8, 7, 6, 4)},
}
KEPT = "8 bits, row"


def fit(config: ModelConfig, inputs: list[np.ndarray], votes: np.ndarray, epochs: int) -> Any:
    """Fit a network to some windows, so that its weights have the size of trained ones."""
    import keras

    keras.utils.set_random_seed(0)
    model = build_model(config)
    model.compile(keras.optimizers.Adam(1e-3), keras.losses.KLDivergence())
    # A short training needs short memories: the averages of batch normalisation are those of its last batches.
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.8
    model.fit(inputs, votes, batch_size=16, epochs=epochs, verbose=0)
    return model


def measure_types(name: str, epochs: int) -> bool:
    """Print one network's table; return whether the type in use stays within the bound."""
    files = fold_files(ROOT / "weights" / name)
    config = read_config(ROOT / "weights" / name / "config.json") if files else read_recipe(name)[0]
    drawn = [simulate_window(0, index) for index in range(TESTED if files else FITTED)]
    channels = [build_channels(window.samples) for window in drawn]
    inputs = [_build(channels, one) for one in config.inputs]
    if files:
        model, origin = load_model(config, files[0]), str(files[0].relative_to(ROOT))
    else:
        shares = np.array([window.votes / window.votes.sum() for window in drawn])
        model, origin = fit(config, inputs, shares, epochs), f"fitted to {FITTED} simulated windows: no weights/{name}"
    real = [read_channels(path) for path in sorted(REAL.glob("*.parquet"))]
    tested = [given[:TESTED] for given in inputs]
    if real:
        both = zip(tested, config.inputs, strict=True)
        tested = [np.concatenate([given, _build(real, one)]) for given, one in both]
    exact = model.predict(tested, verbose=0, batch_size=16)
    windows = f"{TESTED} simulated and {len(real)} real windows"
    print(f"\n{name} ({origin}), {windows}; probabilities' standard deviation {exact.std():.2f}")
    print(f"{'':16} {'kB/window':>10} {'input, rms':>11} {'largest change of a probability':>32} {'mean':>9}")
    within = True
    for label, (size, store) in TYPES.items():
        stored = [store(values) for values in tested]
        change = np.abs(model.predict(stored, verbose=0, batch_size=16) - exact)
        error = np.sqrt(np.mean([np.mean((a - b) ** 2) for a, b in zip(stored, tested, strict=True)]))
        ranges = sum(8 * values[0, ..., 0].size for values in tested) if "row" in label else 0
        total = sum(size * values[0].size for values in tested) + ranges
        mark = " <- in use" if label == KEPT else ""
        print(f"{label:16} {total / 1e3:10.0f} {error:11.5f} {change.max():32.1e} {change.mean():9.1e}{mark}")
        within &= label != KEPT or bool(change.max() <= BOUND)
    print(f"bound {BOUND:g}: {'held' if within else 'missed'} by the type in use")
    return within


def _build(channels: list[np.ndarray], config: InputConfig) -> np.ndarray:
    return np.stack([build_input(one, config) for one in channels])


def main() -> int:
    """Print the tables, and return 1 where the type in use misses the bound."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["scalogram_b2", "raw_1d"], help="names [%(default)s]")
    parser.add_argument("--epochs", type=int, default=5, help="of a network that must be fitted first [%(default)s]")
    args = parser.parse_args()
    assert LEVELS == 255, "the type in use is not the one that is marked"
    held = [measure_types(name, args.epochs) for name in args.models]
    return int(not all(held))


if __name__ == "__main__":
    raise SystemExit(main())
