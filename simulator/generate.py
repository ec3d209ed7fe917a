"""Draws labelled EEG: one 50 s window for training on the fly, or one recording of a data set with its windows.

Called by `simulator.dataset` (files) and by `training` (windows drawn while a network fits). Everything is
deterministic from the seed, the stream and the index, so any worker may draw any of them in any order.

This is a first version: 1/f background mixed over the scalp and one plain form of each of the six patterns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from kernel.constants import CLASS_NAMES, ELECTRODES, SFREQ, WINDOW_SAMPLES

Population = Literal["many", "few"]
LEFT, RIGHT = (0, 1, 2, 3, 4, 5, 6, 7), (11, 12, 13, 14, 15, 16, 17, 18)
STREAMS = {"window": 0, "recording": 1, "test": 2}


@dataclass(frozen=True)
class Window:
    """One labelled window: samples (20, 10000) float32 in microvolts, votes (6,) int, and what is true of it."""

    samples: np.ndarray
    votes: np.ndarray
    truth: dict[str, Any]


@dataclass(frozen=True)
class Recording:
    """One recording (20, n_times) float32 in microvolts, and its labelled windows as (offset, votes, truth)."""

    samples: np.ndarray
    patient: int
    labels: list[tuple[int, np.ndarray, dict[str, Any]]] = field(default_factory=list)


def simulate_window(seed: int, index: int, population: Population | None = None, stream: str = "window") -> Window:
    """Draw one fresh labelled 50 s window, the same for the same arguments wherever it is drawn."""
    rng = np.random.default_rng([seed, STREAMS[stream], index])
    samples, votes, truth = _draw(rng, WINDOW_SAMPLES, population)
    return Window(samples, votes, truth)


def simulate_recording(seed: int, index: int) -> Recording:
    """Draw one recording of a training set with its overlapping labelled windows."""
    rng = np.random.default_rng([seed, STREAMS["recording"], index])
    extra = int(rng.choice([0, 8, 20, 60, 200]))
    samples, votes, truth = _draw(rng, WINDOW_SAMPLES + extra * SFREQ, None)
    offsets = sorted({int(o) for o in rng.integers(0, extra // 2 + 1, 1 + extra // 6) * 2})
    return Recording(samples, index // 3, [(o, votes, truth) for o in offsets])


def _draw(
    rng: np.random.Generator, n_times: int, population: Population | None
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    many = population == "many" or (population is None and rng.random() < 0.374)
    c = int(rng.integers(6))
    freqs = np.fft.rfftfreq(n_times, 1 / SFREQ)
    spectrum = rng.standard_normal((20, len(freqs))) + 1j * rng.standard_normal((20, len(freqs)))
    background = np.fft.irfft(spectrum / np.maximum(freqs, 0.5) ** rng.uniform(0.6, 1.1), n_times, axis=1)
    mixing = 0.6 + 0.4 * np.eye(20)
    x = mixing @ (background / background.std()) * rng.lognormal(2.7, 0.5)
    t = np.arange(n_times) / SFREQ
    rate = rng.uniform(2.5, 4.5) if c == 0 else rng.uniform(0.7, 2.2)
    phase = 2 * np.pi * rate * t + np.cumsum(rng.standard_normal(n_times)) * 0.01
    wave = np.exp(8 * (np.cos(phase) - 1)) - 0.4 * np.exp(3 * (np.cos(phase - 0.9) - 1))
    if c in (3, 4):
        wave = np.sin(phase) + 0.3 * np.sin(2 * phase + 1)
    gain = np.zeros(20) if c == 5 else rng.normal(1, 0.6, 20)
    if c in (1, 3):
        gain[list(LEFT if rng.random() < 0.5 else RIGHT)] *= 0.1
    x += np.outer(gain, wave) * rng.uniform(25, 120)
    x[ELECTRODES.index("EKG")] = 300 * np.exp(200 * (np.cos(np.pi * rng.uniform(1, 1.8) * t) - 1))
    expected = np.full(6, 0.04 if many else 0.01)
    expected[c] += 1 - expected.sum()
    votes = rng.multinomial(int(rng.integers(10, 18)) if many else 3, expected)
    truth = {"pattern": CLASS_NAMES[c], "population": "many" if many else "few", "expected": expected, "rate": rate}
    return x.astype(np.float32), votes, truth
