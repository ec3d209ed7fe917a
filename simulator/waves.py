"""The shapes of single waves: discharges (sharp, multiphasic, triphasic, spike and wave) and cycles of a rhythm.

Durations follow ACNS 2021: spikes last 20-70 ms, sharp waves 70-200 ms, blunt ones more; a discharge has up to three
phases or lasts up to half a second. Triphasic: each phase longer than the one before.
"""

from __future__ import annotations

import numpy as np

from kernel.constants import SFREQ
from simulator.signals import bell, draw_size

CYCLE_POINTS = 128


def draw_discharge(rng: np.random.Generator, kind: str, half_width: float, longest: float, unrest: float) -> np.ndarray:
    """Return variants (6, n_times) of one discharge, peak 1, which differ by `unrest`.

    Its main wave is `half_width` seconds wide at half height, all of it lasts `longest` seconds at most. Kinds: sharp,
    slow_complex (sharp and slow wave), triphasic, polyphasic (several peaks), blunt, polyspikes (spikes at 10 to 20 Hz
    and a slow wave).
    """
    if kind == "triphasic":
        size = np.array([-0.5, 1.0, -0.6]) * rng.uniform(0.7, 1.3, 3)
        width = np.array([0.08, 0.14, 0.28]) * rng.uniform(0.8, 1.2, 3)
        at = np.array([0.15, 0.36, 0.7])
    elif kind == "slow_complex":
        size = np.array([rng.uniform(0.0, 0.4), -1.0, rng.uniform(0.2, 0.9), rng.uniform(-0.2, 0.2)])
        width = np.array([0.04, rng.uniform(0.03, 0.1), rng.uniform(0.14, 0.24), 0.2])
        at = np.array([0.06, 0.18, rng.uniform(0.45, 0.6), 0.85])
    elif kind == "polyphasic":
        n = int(rng.integers(3, 8))
        size = rng.uniform(0.3, 1, n) * np.where(np.arange(n) % 2, 1, -1)
        width = rng.uniform(0.03, 0.1, n)
        at = np.sort(rng.uniform(0.05, 0.9, n))
    elif kind == "polyspikes":
        n = int(rng.integers(3, 9))
        size = np.append(rng.uniform(0.5, 1, n) * rng.choice([-1, -1, 1]), rng.uniform(-0.9, 0.9))
        width = np.append(np.full(n, 0.05 / n), rng.uniform(0.12, 0.2))
        at = np.append(np.linspace(0.05, 0.5, n), 0.75)
    elif kind == "blunt":
        size = np.array([-1.0, rng.uniform(0.1, 0.8)])
        width = np.array([rng.uniform(0.14, 0.25), 0.22])
        at = np.array([0.35, 0.75])
    else:
        size = np.array([rng.uniform(0, 0.5), -1.0, rng.uniform(0, 0.7)])
        width = np.array([rng.uniform(0.05, 0.15), rng.uniform(0.06, 0.16), rng.uniform(0.1, 0.3)])
        at = np.array([0.2, 0.4, 0.65])
    main = np.abs(size).argmax()
    seconds = float(np.clip(half_width / (2.35 * width[main]), 0.1, longest))
    if kind == "polyspikes":
        seconds = float(np.clip(rng.uniform(0.09, 0.17) * len(size), 0.3, longest))
    t = np.arange(-0.15, max(1.3, min(2.0, 0.5 / seconds)), 1 / SFREQ / seconds)
    waves = []
    for _ in range(6):
        s = size * rng.lognormal(0, 0.1 + 0.6 * unrest, len(size))
        w = width * rng.lognormal(0, 0.05 + 0.3 * unrest, len(size))
        a = at + rng.normal(0, 0.01 + 0.05 * unrest, len(size))
        rise = np.where(t[:, None] < a, 0.85, 1.2)  # waves rise faster than they fall
        waves.append((s * bell(t[:, None], a, w * rise)).sum(axis=1))
    made = np.stack(waves) + _draw_detail(rng, t * seconds, at[main] * seconds, unrest)
    made -= made[:, :1]
    fade = np.minimum(1, np.arange(made.shape[1])[::-1] / (0.15 / seconds * SFREQ * seconds))
    return made * fade / np.abs(made).max()


def _draw_detail(rng: np.random.Generator, t: np.ndarray, peak: float, unrest: float) -> np.ndarray:
    """Return what rides on discharges with a peak of 1, (6, len(t)): spikes or notches, and a slow wave after.

    `t` and `peak` are in seconds. Spikes last 20 to 70 ms (ACNS 2021); each repetition varies them.
    """
    detail = np.zeros((6, len(t)))
    if rng.random() < 0.3:
        count = int(rng.choice([1, 1, 2, 3, 5]))
        width = rng.uniform(0.007, 0.02)
        at = peak + rng.uniform(-0.12, 0.05) + np.arange(count) * width * rng.uniform(2.5, 5)
        size = rng.uniform(0.15, 0.9) * rng.choice([-1, 1]) * rng.uniform(0.4, 1, count)
        size *= np.where(np.arange(count) % 2, -rng.uniform(0, 1), 1)
        for variant in detail:
            a = at + rng.normal(0, 0.004 + 0.03 * unrest, count)
            s = size * rng.lognormal(0, 0.2 + 0.6 * unrest, count)
            variant += (s * bell(t[:, None], a, width)).sum(axis=1)
    if rng.random() < 0.4:
        width = rng.uniform(0.06, 0.16)
        a = peak + rng.uniform(1.2, 2.2) * width + rng.normal(0, 0.01 + 0.05 * unrest, (6, 1))
        s = rng.uniform(0.2, 0.8) * rng.choice([-1, 1]) * rng.lognormal(0, 0.1 + 0.5 * unrest, (6, 1))
        detail += s * bell(t, a, width)
    return detail


def draw_cycles(rng: np.random.Generator, sharpness: float, unrest: float) -> np.ndarray:
    """Return variants (4, 128) of one cycle of a rhythm, peak 1, which differ by `unrest`.

    Delta of real patients is no sinusoid: it rises faster than it falls or the other way round, carries harmonics of a
    few to a third of its amplitude, more where it is sharp, and often a notch.
    """
    part = np.arange(CYCLE_POINTS) / CYCLE_POINTS
    order = np.arange(1, 6)
    size = draw_size(rng, 0.14 + 0.3 * sharpness, 0.6) * rng.lognormal(0, 0.4, 5) * 0.6 ** (order - 2.0)
    size = np.minimum(size, 0.7)
    size[0] = 1
    angle = rng.uniform(0, 2 * np.pi, 5)
    lean = rng.uniform(-0.6, 0.6) / (2 * np.pi)
    notch, deep, narrow = rng.uniform(0, 1), rng.uniform(0.1, 0.7) * (rng.random() < 0.4), rng.uniform(0.03, 0.1)
    made = []
    for _ in range(4):
        s = size * rng.lognormal(0, 0.1 + 0.5 * unrest, 5)
        turn = angle + rng.normal(0, 0.1 + 0.4 * unrest, 5) * (order > 1)
        turned = 2 * np.pi * (part + lean * np.sin(2 * np.pi * part))
        from_notch = (part - notch - rng.normal(0, 0.02 + 0.1 * unrest) + 0.5) % 1 - 0.5
        wave = (s * np.cos(order * turned[:, None] + turn)).sum(axis=1)
        made.append(wave - deep * rng.uniform(0.3, 1.2) * bell(from_notch, 0, narrow))
    cycles = np.stack(made)
    cycles -= cycles.mean(axis=1, keepdims=True)
    return cycles / np.abs(cycles).max()
