"""The families of Other: what there is where the raters find no pattern at all.

Windows of real patients that nobody calls rhythmic or periodic are of a few kinds, each common: ongoing EEG that is
slow and irregular, that of somebody awake (posterior rhythm, blinks, muscle) or asleep, next to none at all with heart
and mains standing out of it (ACNS 2021: suppressed, below 10 microvolts; electrocerebral inactivity, Stecker et al.,
J Clin Neurophysiol 2016;33:324), and recordings that artefact buries whole (Tatum et al., ibid. 2011;28:231). The
artefacts here are those that windows of every class have; there are only more of them.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from kernel.constants import SFREQ
from simulator.artefacts import add_blinks, add_heart, add_muscle
from simulator.background import Brain
from simulator.electrodes import add_mains
from simulator.signals import add_wave, draw_clipped, draw_hiss, draw_pink, draw_size, draw_slow_noise

NOTHING_SEEN = -1.5
"""Below this score of "is there a pattern" hardly any rater finds one, and a window may be of a family of Other."""

Family = Literal["usual", "unreadable", "suppressed", "slow", "awake", "asleep"]
SHARES: dict[Family, float] = {
    "usual": 0.27, "unreadable": 0.14, "suppressed": 0.13, "slow": 0.19, "awake": 0.20, "asleep": 0.07,
}  # fmt: skip


def draw_family(rng: np.random.Generator, scores: list[np.ndarray]) -> Family:
    """Return which kind of Other it is where no pattern is seen by any of `scores`; usual: the patient's own EEG."""
    if max(float(one[0]) for one in scores) >= NOTHING_SEEN:
        return "usual"
    return list(SHARES)[int(rng.choice(len(SHARES), p=list(SHARES.values())))]


def change_brain(rng: np.random.Generator, brain: Brain, family: Family) -> None:
    """Make the patient's EEG, in place, what it is like in a window of the family."""
    if family == "suppressed" or (family == "unreadable" and rng.random() < 0.5):
        brain.burst_share = 1.0
        brain.alpha = brain.spindles = brain.transients = brain.lesion_slow = 0.0
        brain.microvolts = draw_clipped(rng, 2.2, 0.6, 0.4, 8)
        brain.exponent = rng.uniform(1.0, 2.6)
        brain.slow = rng.choice([0.0, rng.uniform(0, 1.0)])
        brain.beta = rng.choice([0.0, rng.uniform(0, 0.5)])
        brain.sensor = float(rng.lognormal(-1.0, 0.6))
    elif family == "slow":  # polymorphic delta or theta, now and then under a sedative's beta
        brain.burst_share = 1.0
        brain.microvolts = draw_clipped(rng, 15, 0.6, 4, 90)
        brain.slow_hz = rng.uniform(0.4, 1.6) if rng.random() < 0.75 else rng.uniform(2, 7)
        brain.slow_width = rng.uniform(0.4, 2.5)
        brain.slow = rng.uniform(0.8, 3)
        brain.fast_share = rng.lognormal(-0.9, 0.7)
        brain.beta = rng.uniform(0.2, 1.2) if rng.random() < 0.4 else 0.0
        brain.unrest = rng.uniform(0.3, 1.0)
        brain.transients = rng.uniform(0, 1.5)
    elif family == "awake":
        brain.burst_share = 1.0
        brain.spindles = 0.0
        brain.microvolts = draw_clipped(rng, 9, 0.4, 4, 30)
        brain.slow = rng.choice([0.0, rng.uniform(0, 0.5)])
        brain.fast_share = rng.lognormal(-0.5, 0.6)
        brain.alpha_hz = rng.uniform(7, 12)
        brain.alpha = rng.uniform(0.3, 2.0)
        brain.beta = rng.uniform(0, 0.8)
        brain.unrest = rng.uniform(0.2, 0.6)
    elif family == "asleep":
        brain.burst_share = 1.0
        brain.alpha = 0.0
        brain.slow = rng.uniform(0.3, 2.0)
        brain.slow_hz = rng.uniform(0.6, 2)
        brain.spindles = rng.uniform(3, 15)
        brain.transients = rng.uniform(0, 1.0)


def add_family(rng: np.random.Generator, x: np.ndarray, family: Family, heart: np.ndarray) -> None:
    """Add to `x` (19, n_times) what else goes with the family, in place; `heart` (n_times,) has amplitude 1."""
    if family == "awake":
        for chance, add in ((0.7, add_blinks), (0.8, add_muscle)):
            if rng.random() < chance:
                add(rng, x)
    elif family == "suppressed":
        if rng.random() < 0.8:
            add_heart(rng, x, heart, draw_size(rng, 11, 0.8))
        if rng.random() < 0.7:
            add_mains(rng, x, draw_size(rng, 15, 1.3))
    elif family == "unreadable":
        _bury(rng, x, heart)


def _bury(rng: np.random.Generator, x: np.ndarray, heart: np.ndarray) -> None:
    """Bury `x` in mains, amplifier noise, muscle or movement, so that nobody can read it."""
    n_times = x.shape[1]
    kind = rng.choice([0, 0, 0, 1, 2, 3])  # mains most often
    if kind == 0:
        x *= np.float32(rng.uniform(0.1, 1))
        if rng.random() < 0.6:
            add_heart(rng, x, heart, draw_size(rng, 11, 0.8))
        add_mains(rng, x, draw_size(rng, 400, 1.3))
        if rng.random() < 0.2:  # a machine of another frequency
            line = np.sin(2 * np.pi * rng.uniform(10, 45) * np.arange(n_times) / SFREQ)
            add_wave(x, draw_size(rng, 10, 1.0, 19), line)
    elif kind == 1:
        x *= np.float32(rng.uniform(0, 0.3))
        x += draw_pink(rng, 19, n_times) * np.float32(rng.uniform(0.5, 4))
    elif kind == 2:
        bursts = np.clip(draw_slow_noise(rng, 19, n_times, 1.0), 0, None) ** 2
        x += bursts * draw_hiss(rng, 19, n_times, 0.3) * np.float32(draw_size(rng, 150, 0.7))
    else:
        x += draw_slow_noise(rng, 19, n_times, rng.uniform(0.5, 4)) * np.float32(draw_size(rng, 200, 0.8))
