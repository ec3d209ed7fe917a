"""What electrodes, wires, reference, amplifier and converter make of the potentials, and the gaps of the file.

Windows of every class have them alike; families of Other have more mains. Sources as in `simulator.artefacts`. Sizes
include those of real recordings whose shared reference noise is ten times the EEG.
"""

from __future__ import annotations

import numpy as np
from scipy import fft

from kernel.constants import SFREQ
from simulator.artefacts import INDEX
from simulator.signals import add_wave, bell, draw_drift, draw_hiss, draw_pink, draw_size, draw_slow_noise, draw_times


def add_electrodes(rng: np.random.Generator, x: np.ndarray) -> None:
    """Add mains, pops, sweat, bad and swapped electrodes and the reference's own noise to `x`, in place."""
    n_times = x.shape[1]
    if rng.random() < 0.75:
        add_mains(rng, x, draw_size(rng, 1.5, 1.3))
    if rng.random() < 0.15:
        _add_pops(rng, x)
    if rng.random() < 0.2:  # sweat
        some = rng.choice(19, rng.integers(1, 8), replace=False)
        sweat = draw_slow_noise(rng, len(some), n_times, rng.uniform(0.1, 0.8))
        x[some] += sweat * np.float32(draw_size(rng, 20, 0.7))
    if rng.random() < 0.09:
        for row in rng.choice(19, rng.choice([1, 1, 1, 2, 3]), replace=False):
            x[row] = _break_electrode(rng, x[row])
    if rng.random() < 0.01:
        a, b = rng.choice(19, 2, replace=False)
        x[[a, b]] = x[[b, a]]
    # The reference: potential of one place, and noise of its own, the same on every row.
    if rng.random() < 0.5:
        x -= x[rng.choice([INDEX["Cz"], INDEX["Pz"], INDEX["Fz"]])] * np.float32(rng.uniform(0.5, 1))
    x += draw_pink(rng, 1, n_times) * np.float32(draw_size(rng, 20, 1.2))
    if rng.random() < 0.3:
        x += rng.normal(0, 40, (19, 1)).astype(np.float32)


def add_mains(rng: np.random.Generator, x: np.ndarray, microvolts: float) -> None:
    """Add 60 Hz to `x`, each electrode with its own size and phase, in place."""
    n_times = x.shape[1]
    turn = 2 * np.pi * 60 / SFREQ * np.arange(n_times)
    sway = 1 + rng.uniform(0, 0.2) * draw_drift(rng, n_times, 0.3)
    sizes = microvolts * rng.lognormal(0, rng.uniform(0.4, 1.5), 19) * rng.choice([1, rng.choice([-1, 1])], 19)
    phases = rng.normal(0, rng.uniform(0, 0.8), 19)
    waves = np.stack([np.sin(turn), np.cos(turn)]) * sway
    columns = np.stack([np.cos(phases), np.sin(phases)], axis=1) * sizes[:, None]
    if rng.random() < 0.6:  # what a third harmonic leaves after sampling at 200 Hz: 180 Hz folds to 20 Hz
        waves = np.concatenate([waves, np.sin(turn / 3 + rng.uniform(0, 6))[None]])
        third = sizes * draw_size(rng, 0.03, 0.8) * rng.lognormal(0, 0.4, 19)
        columns = np.concatenate([columns, third[:, None]], axis=1)
    x += columns.astype(np.float32) @ waves.astype(np.float32)


def _add_pops(rng: np.random.Generator, x: np.ndarray) -> None:
    row = int(rng.integers(19))
    for at in draw_times(rng, x.shape[1], rng.choice([0.03, 0.1, 0.5])):
        t = np.arange(int(rng.uniform(0.3, 3) * SFREQ)) / SFREQ
        decay = np.exp(-t / rng.uniform(0.05, 0.6))
        add_wave(x[row : row + 1], rng.normal(0, 1) * draw_size(rng, 100, 0.6), decay, at)


def _break_electrode(rng: np.random.Generator, row: np.ndarray) -> np.ndarray:
    """Return what a bad electrode gives instead of `row` (n_times,)."""
    n_times = len(row)
    kind = rng.integers(5)
    if kind == 0:  # dead
        return np.full_like(row, rng.normal(0, 20) if rng.random() < 0.5 else 0)
    if kind == 1:  # loose: noise instead of brain
        left = row * np.float32(rng.uniform(0, 0.5))
        return left + draw_pink(rng, 1, n_times)[0] * np.float32(draw_size(rng, 40, 0.8))
    if kind == 2:  # swings wildly now and then
        gate = np.clip(draw_drift(rng, n_times, 0.15) - rng.uniform(0, 1), 0, None)
        wild = draw_drift(rng, n_times, rng.uniform(1, 6)) + 0.3 * draw_hiss(rng, 1, n_times, 0.3)[0]
        return row + wild * gate * np.float32(draw_size(rng, 300, 0.9))
    if kind == 3:  # at the amplifier's rail, now and then at the other one
        rail = np.where(draw_drift(rng, n_times, 0.1) > rng.uniform(0.5, 3), -1, 1)
        return rail * rng.uniform(100, 1500)
    mains = np.sin(2 * np.pi * 60 * (np.arange(n_times) / SFREQ))
    return row + (draw_size(rng, 60, 1.0) * mains).astype(np.float32)


def amplify(rng: np.random.Generator, samples: np.ndarray) -> np.ndarray:
    """Return `samples` (20, n_times) as an amplifier and an export would give them, float32 microvolts."""
    n_times = samples.shape[1]
    if rng.random() < 0.55:
        padded = fft.next_fast_len(n_times, real=True)
        freqs = fft.rfftfreq(padded, 1 / SFREQ)
        keep = np.ones(len(freqs))
        if rng.random() < 0.7:  # time constants of 0.1 to 1 s are customary
            keep *= (freqs / rng.choice([0.16, 0.3, 0.5, 0.5, 1.0])) ** 2
            keep /= 1 + keep
        if rng.random() < 0.6:
            keep /= 1 + (freqs / rng.choice([30, 40, 50, 70])) ** 8
        if rng.random() < 0.4:
            keep *= 1 - bell(freqs, 60, 0.7)
        spectrum = fft.rfft(samples.astype(np.float32), padded, axis=1)
        samples = fft.irfft(spectrum * keep.astype(np.float32), padded, axis=1)[:, :n_times]
    samples = samples.astype(np.float32)
    if rng.random() < 0.02:
        limit = np.float32(rng.choice([150, 400, 1000, 3000]))
        samples = np.clip(samples, -limit, limit)
    if rng.random() < 0.3:  # the step of the converter
        step = np.float32(rng.choice([0.1, 0.3, 0.5]))
        samples = np.round(samples / step) * step
    return samples


def add_gaps(rng: np.random.Generator, samples: np.ndarray) -> None:
    """Put NaN into `samples` (20, n_times) as the competition has it: lone samples, blocks at an end, short holes."""
    n_times = samples.shape[1]
    kind = rng.random()
    if kind < 0.03:
        samples[:, rng.integers(0, n_times, rng.integers(1, 4))] = np.nan
    elif kind < 0.045:
        size = int(n_times * rng.uniform(0.02, 0.35))
        ends = rng.integers(3)  # the first, the last, both
        if ends != 1:
            samples[:, :size] = np.nan
        if ends != 0:
            samples[:, n_times - size :] = np.nan
    elif kind < 0.055:
        at = int(rng.integers(0, n_times - 400))
        samples[:, at : at + int(rng.integers(10, 400))] = np.nan
