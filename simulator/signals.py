"""What signals are made of: sizes, bells and noise, and how a wave is added to the electrodes."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernel.constants import SFREQ


def draw_size(rng: np.random.Generator, middle: float, spread: float, shape: Any = None) -> Any:
    """Draw sizes above 0 around their median `middle`; `spread` is the deviation of their logarithm."""
    return rng.lognormal(np.log(middle), spread, shape)


def draw_clipped(rng: np.random.Generator, middle: float, spread: float, low: float, high: float) -> float:
    """Draw one such size, not below `low` nor above `high`."""
    return float(np.clip(draw_size(rng, middle, spread), low, high))


def draw_times(rng: np.random.Generator, n_times: int, per_second: float) -> np.ndarray:
    """Return the samples at which something happens, at least once."""
    return rng.integers(0, n_times, max(1, rng.poisson(per_second * n_times / SFREQ)))


def draw_slow_noise(rng: np.random.Generator, n_rows: int, n_times: int, hertz: float) -> np.ndarray:
    """Return (n_rows, n_times) float32 of smooth noise with deviation 1 that changes `hertz` times a second."""
    n_knots = int(np.ceil(n_times / SFREQ * hertz)) + 3
    knots = rng.standard_normal((n_rows, n_knots)).astype(np.float32)
    at = (rng.random() + np.arange(n_times) * (hertz / SFREQ)).astype(np.float32)
    left = at.astype(np.int32)
    part = at - left
    part = part * part * (3 - 2 * part)
    return knots[:, left] * (1 - part) + knots[:, left + 1] * part


def draw_drift(rng: np.random.Generator, n_times: int, hertz: float) -> np.ndarray:
    """Return one row (n_times,) of slow noise."""
    return draw_slow_noise(rng, 1, n_times, hertz)[0]


def draw_pink(rng: np.random.Generator, n_rows: int, n_times: int) -> np.ndarray:
    """Return noise (n_rows, n_times) that is slow and fast at once, deviation about 1."""
    parts = [draw_slow_noise(rng, n_rows, n_times, hz) for hz in (0.2, 1, 4, 15)]
    out = sum(p * np.float32(w) for p, w in zip(parts, rng.uniform(0.1, 1, 4), strict=True))
    return out + rng.standard_normal((n_rows, n_times), dtype=np.float32) * np.float32(rng.uniform(0, 0.5))


def draw_hiss(rng: np.random.Generator, n_rows: int, n_times: int, smooth: float) -> np.ndarray:
    """Return muscle-like noise (n_rows, n_times): white, its low frequencies left as far as `smooth` says."""
    white = rng.standard_normal((n_rows, n_times + 1), dtype=np.float32)
    return white[:, 1:] - np.float32(1 - smooth) * white[:, :-1]


def bell(t: np.ndarray, centre: Any = 0.0, width: Any = 1.0) -> np.ndarray:
    """Return a Gaussian of `t` with its peak of 1 at `centre` and the standard deviation `width`."""
    return np.exp(-0.5 * ((t - centre) / width) ** 2)


def add_at(x: np.ndarray, wave: np.ndarray, at: int) -> None:
    """Add `wave` (..., n) to `x` (..., n_times) from the sample `at` on, in place; what sticks out is cut off."""
    start, stop = max(0, at), min(x.shape[-1], at + wave.shape[-1])
    if start < stop:
        x[..., start:stop] += wave[..., start - at : stop - at]


def add_wave(x: np.ndarray, field: np.ndarray, wave: np.ndarray, at: int = 0) -> None:
    """Add `wave` (n,) to `x` (n_rows, n_times) from the sample `at` on, in place, as large as each row's `field`."""
    add_at(x, np.outer(field, wave).astype(np.float32), at)
