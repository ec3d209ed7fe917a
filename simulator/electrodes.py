"""What electrodes, wires, reference and converter add: mains, pops, sweat, dead electrodes, shared noise, gaps.

Windows of every class have them alike; `simulator.other` adds more mains. Sources as in `simulator.artefacts`. Sizes
include those of real recordings whose shared reference noise is ten times the EEG.
"""

from __future__ import annotations

import numpy as np

from kernel.constants import SFREQ
from simulator.artefacts import INDEX, draw_hiss, draw_pink, draw_times
from simulator.background import draw_slow_noise


def add_electrodes(rng: np.random.Generator, x: np.ndarray) -> None:
    """Add mains, pops, sweat, bad and swapped electrodes and the reference's own noise to `x`, in place."""
    n_times = x.shape[1]
    if rng.random() < 0.75:
        add_mains(rng, x, rng.lognormal(np.log(1.5), 1.3))
    if rng.random() < 0.15:
        _pops(rng, x)
    if rng.random() < 0.2:
        some = rng.choice(19, rng.integers(1, 8), replace=False)
        x[some] += draw_slow_noise(rng, len(some), n_times, rng.uniform(0.1, 0.8)) * np.float32(
            rng.lognormal(np.log(20), 0.7)
        )
    if rng.random() < 0.09:
        _bad_electrodes(rng, x)
    if rng.random() < 0.01:
        a, b = rng.choice(19, 2, replace=False)
        x[[a, b]] = x[[b, a]]
    # The reference: potential of one place, and noise of its own, the same on every row.
    if rng.random() < 0.5:
        x -= x[rng.choice([INDEX["Cz"], INDEX["Pz"], INDEX["Fz"]])] * np.float32(rng.uniform(0.5, 1))
    noise = draw_pink(rng, 1, n_times) * np.float32(rng.lognormal(np.log(20), 1.2))
    x += noise
    if rng.random() < 0.3:
        x += rng.normal(0, 40, (19, 1)).astype(np.float32)


def add_gaps(rng: np.random.Generator, samples: np.ndarray) -> None:
    """Put NaN into `samples` (20, n_times) as the competition has it: lone samples, blocks at an end, short holes."""
    n_times = samples.shape[1]
    kind = rng.random()
    if kind < 0.03:
        samples[:, rng.integers(0, n_times, rng.integers(1, 4))] = np.nan
    elif kind < 0.045:
        size = int(n_times * rng.uniform(0.02, 0.35))
        first, last = [(True, False), (False, True), (True, True)][rng.integers(3)]
        if first:
            samples[:, :size] = np.nan
        if last:
            samples[:, n_times - size :] = np.nan
    elif kind < 0.055:
        at = int(rng.integers(0, n_times - 400))
        samples[:, at : at + int(rng.integers(10, 400))] = np.nan


def add_mains(rng: np.random.Generator, x: np.ndarray, microvolts: float) -> None:
    """Add 60 Hz to `x`, each electrode with its own size and phase, in place."""
    n_times = x.shape[1]
    turn = 2 * np.pi * 60 / SFREQ * np.arange(n_times)
    sway = 1 + rng.uniform(0, 0.2) * draw_slow_noise(rng, 1, n_times, 0.3)[0]
    sizes = microvolts * rng.lognormal(0, rng.uniform(0.4, 1.5), 19) * rng.choice([1, rng.choice([-1, 1])], 19)
    phases = rng.normal(0, rng.uniform(0, 0.8), 19)
    waves = np.stack([np.sin(turn), np.cos(turn)]) * sway
    columns = np.stack([np.cos(phases), np.sin(phases)], axis=1) * sizes[:, None]
    if rng.random() < 0.6:  # what a third harmonic leaves after sampling at 200 Hz: 180 Hz folds to 20 Hz
        waves = np.concatenate([waves, np.sin(turn / 3 + rng.uniform(0, 6))[None]])
        third = sizes * rng.lognormal(np.log(0.03), 0.8) * rng.lognormal(0, 0.4, 19)
        columns = np.concatenate([columns, third[:, None]], axis=1)
    x += columns.astype(np.float32) @ waves.astype(np.float32)


def _pops(rng: np.random.Generator, x: np.ndarray) -> None:
    row = int(rng.integers(19))
    for at in draw_times(rng, x.shape[1], rng.choice([0.03, 0.1, 0.5])):
        n = min(int(rng.uniform(0.3, 3) * SFREQ), x.shape[1] - int(at))
        decay = np.exp(-np.arange(n) / SFREQ / rng.uniform(0.05, 0.6))
        x[row, at : at + n] += (rng.normal(0, 1) * rng.lognormal(np.log(100), 0.6) * decay).astype(np.float32)


def _bad_electrodes(rng: np.random.Generator, x: np.ndarray) -> None:
    n_times = x.shape[1]
    for row in rng.choice(19, rng.choice([1, 1, 1, 2, 3]), replace=False):
        kind = rng.integers(5)
        if kind == 0:  # dead
            x[row] = rng.normal(0, 20) if rng.random() < 0.5 else 0
        elif kind == 1:  # loose: noise instead of brain
            x[row] = x[row] * np.float32(rng.uniform(0, 0.5)) + draw_pink(rng, 1, n_times)[0] * np.float32(
                rng.lognormal(np.log(40), 0.8)
            )
        elif kind == 2:  # swings wildly now and then
            gate = np.clip(draw_slow_noise(rng, 1, n_times, 0.15)[0] - rng.uniform(0, 1), 0, None)
            wild = draw_slow_noise(rng, 1, n_times, rng.uniform(1, 6))[0] + 0.3 * draw_hiss(rng, 1, n_times, 0.3)[0]
            x[row] += wild * gate * np.float32(rng.lognormal(np.log(300), 0.9))
        elif kind == 3:  # at the amplifier's rail, now and then at the other one
            rail = np.where(draw_slow_noise(rng, 1, n_times, 0.1)[0] > rng.uniform(0.5, 3), -1, 1)
            x[row] = (rail * rng.uniform(100, 1500)).astype(np.float32)
        else:  # mains in this one
            t = np.arange(n_times) / SFREQ
            x[row] += (rng.lognormal(np.log(60), 1.0) * np.sin(2 * np.pi * 60 * t)).astype(np.float32)
