"""What the body and the ward add to the brain: eyes, muscle, heart, breath, movement, handling.

Windows of every class have them alike, so that no artefact tells a class; families of Other have more of some.
Sources: Tatum et al., J Clin Neurophysiol 2011;28:231 (artefacts of the intensive care unit); Niedermeyer, 7th ed.,
ch. 7. All `add_` functions change `x` (19, n_times) in place.
"""

from __future__ import annotations

import numpy as np

from kernel.constants import EEG_ELECTRODES, SFREQ
from simulator.head import build_topography, electrode_positions, place
from simulator.signals import add_at, add_wave, bell, draw_drift, draw_hiss, draw_size, draw_slow_noise, draw_times

INDEX = {name: i for i, name in enumerate(EEG_ELECTRODES)}
TEMPORAL = [INDEX[n] for n in ("F7", "T3", "T5", "F8", "T4", "T6", "Fp1", "Fp2")]


def add_body(rng: np.random.Generator, x: np.ndarray, heart: np.ndarray) -> None:
    """Add eyes, muscle, heart, chewing, shivering, ventilation and handling, each by its own chance."""
    kinds = (
        (0.45, add_blinks), (0.30, add_eyes), (0.50, add_muscle), (0.04, _chewing), (0.04, _shivering),
        (0.05, _ventilation), (0.05, _handling), (0.10, _movement),
    )  # fmt: skip
    for chance, add in kinds:
        if rng.random() < chance:
            add(rng, x)
    if rng.random() < 0.25:
        add_heart(rng, x, heart, draw_size(rng, 3, 0.8))


def add_stimulus(rng: np.random.Generator, x: np.ndarray, onsets: np.ndarray) -> None:
    """Add a nurse's touch, turn or suction shortly before `onsets`.

    What begins so is stimulus-induced (ACNS 2021, modifier SI-); where nothing begins, the patient is only stirred.
    """
    for onset in onsets[:3] if len(onsets) else draw_times(rng, x.shape[1], 0.02):
        n = int(rng.uniform(0.5, 4) * SFREQ)
        at = int(onset - rng.uniform(0.1, 2.5) * SFREQ) - n
        swell = np.hanning(n)
        shake = draw_drift(rng, n, rng.uniform(1, 6)) * swell
        add_wave(x, rng.standard_normal(19) * draw_size(rng, 30, 0.7), shake, at)
        field = np.zeros(19)
        some = rng.choice(TEMPORAL, rng.integers(2, 9), replace=False)
        field[some] = draw_size(rng, 15, 0.7, len(some))
        add_wave(x, field, draw_hiss(rng, 1, n, 0.3)[0] * swell, at)


def add_arousal(rng: np.random.Generator, x: np.ndarray, onsets: np.ndarray) -> None:
    """Add muscle and eye movement about `onsets`: a seizure may begin under them."""
    for onset in onsets[:2]:
        at = max(0, int(onset - rng.uniform(0, 2) * SFREQ))
        part = x[:, at : at + int(rng.uniform(2, 10) * SFREQ)]
        n = part.shape[1]
        if n < SFREQ:
            continue
        some = rng.choice(TEMPORAL, rng.integers(3, 9), replace=False)
        size = draw_size(rng, 15, 0.6) * rng.lognormal(0, 0.4, (len(some), 1))
        swollen = draw_hiss(rng, len(some), n, rng.uniform(0.1, 0.6)) * np.hanning(n) ** 0.3
        part[some] += (swollen * size).astype(np.float32)
        for add in (add_eyes, add_blinks):
            if rng.random() < 0.6:
                add(rng, part)


def draw_heart(rng: np.random.Generator, n_times: int) -> np.ndarray:
    """Return an electrocardiogram (n_times,) of amplitude 1: QRS, T wave, and some variation of the rate."""
    beat = 60 / rng.uniform(48, 135)
    irregular = 0.25 if rng.random() < 0.1 else 0.03
    steps = beat * np.exp(irregular * rng.standard_normal(int(n_times / SFREQ / beat * 1.6) + 8))
    beats = np.cumsum(steps) - rng.uniform(0, 2)
    t = np.arange(-0.3, 0.5, 1 / SFREQ)
    width = rng.uniform(0.008, 0.02)
    wave = bell(t, 0, width) - rng.uniform(0, 0.4) * bell(t, 2.5 * width, width)
    wave += rng.uniform(0, 0.35) * bell(t, 0.25, 0.05)
    wave += rng.uniform(0, 0.15) * bell(t, -0.16, 0.03)
    heart = np.zeros(n_times, dtype=np.float32)
    for at in (beats * SFREQ).astype(int):
        add_at(heart, wave, at)
    return heart


def add_heart(rng: np.random.Generator, x: np.ndarray, heart: np.ndarray, microvolts: float) -> None:
    """Add the heart: its field runs straight across the head, the pulse lifts single electrodes."""
    direction = rng.normal(0, 1, 3) * (1, 0.6, 0.6)
    field = electrode_positions() @ direction + rng.normal(0, rng.uniform(0.1, 0.6), 19)
    add_wave(x, field * microvolts, heart)
    if rng.random() < 0.3:
        late = int(rng.uniform(0.15, 0.3) * SFREQ)
        length = int(rng.uniform(0.2, 0.5) * SFREQ)
        pulse = np.convolve(np.roll(heart, late), np.hanning(length) / length * 10)[: len(heart)]
        some = rng.choice(19, rng.integers(1, 5), replace=False)
        x[some] += np.outer(rng.normal(0, 1.5, len(some)) * microvolts, pulse).astype(np.float32)


def add_blinks(rng: np.random.Generator, x: np.ndarray) -> None:
    """Add blinks: largest at Fp1 and Fp2."""
    field = np.zeros(19)
    for name, size in (("Fp1", 1.0), ("Fp2", 1.0), ("F7", 0.35), ("F8", 0.35), ("F3", 0.3), ("F4", 0.3), ("Fz", 0.3)):
        field[INDEX[name]] = size * rng.uniform(0.7, 1.2)
    size = draw_size(rng, 80, 0.5)
    for at in draw_times(rng, x.shape[1], rng.choice([0.05, 0.2, 0.5, 1.2])):
        t = np.arange(0, rng.uniform(0.25, 0.9), 1 / SFREQ)
        wave = np.sin(np.pi * t / t[-1]) ** 2 - 0.25 * np.sin(np.pi * (t / t[-1]) ** 3) ** 2
        add_wave(x, field * size * rng.uniform(0.5, 1.3) * (-1 if rng.random() < 0.1 else 1), wave, at)


def add_eyes(rng: np.random.Generator, x: np.ndarray) -> None:
    """Add lateral movements, quick or roving: F7 and F8 of opposite sign."""
    field = np.zeros(19)
    for name, size in (("F7", 1.0), ("F8", -1.0), ("Fp1", 0.4), ("Fp2", -0.4), ("T3", 0.3), ("T4", -0.3)):
        field[INDEX[name]] = size
    n_times, size = x.shape[1], draw_size(rng, 35, 0.5)
    if rng.random() < 0.4:
        wave = draw_drift(rng, n_times, rng.uniform(0.3, 1.2))
    else:
        knots = np.sort(rng.integers(0, n_times, max(2, rng.poisson(n_times / SFREQ * 0.6))))
        levels = rng.standard_normal(len(knots) + 1)
        wave = np.convolve(levels[np.searchsorted(knots, np.arange(n_times))], np.ones(12) / 12, mode="same")
    add_wave(x, field * size, wave)


def add_muscle(rng: np.random.Generator, x: np.ndarray) -> None:
    """Add steady or waxing muscle: mostly temporal and frontopolar."""
    n_times = x.shape[1]
    somewhere = TEMPORAL if rng.random() < 0.65 else np.arange(19)
    some = rng.choice(somewhere, rng.integers(1, len(somewhere) + 1), replace=False)
    hiss = draw_hiss(rng, len(some), n_times, rng.uniform(0.1, 0.7))
    steady = rng.random() < 0.35
    if steady:
        gate = np.exp(0.4 * draw_slow_noise(rng, len(some), n_times, 0.3))
    else:
        gate = np.clip(draw_slow_noise(rng, 1, n_times, rng.uniform(0.1, 0.8)) - rng.uniform(0, 1.2), 0, None)
    size = draw_size(rng, 4 if steady else 14, 1.0)
    x[some] += hiss * gate * (size * rng.lognormal(0, 0.5, (len(some), 1))).astype(np.float32)


def _chewing(rng: np.random.Generator, x: np.ndarray) -> None:
    n_times = x.shape[1]
    phase = 2 * np.pi * rng.uniform(0.8, 2.2) * _seconds(x) + draw_drift(rng, n_times, 0.5)
    beat = np.clip(np.sin(phase), 0, None) ** 3
    run = np.clip(draw_drift(rng, n_times, 0.15) + 0.5, 0, 1)
    size = draw_size(rng, 40, 0.6)
    x[TEMPORAL] += draw_hiss(rng, len(TEMPORAL), n_times, 0.2) * (beat * run * size).astype(np.float32)
    slow = np.convolve(beat * run, np.ones(30) / 30, mode="same") * size * 0.6  # the tongue's glossokinetic wave
    add_wave(x, build_topography(place(0, 0.8), 0.6), slow)


def _shivering(rng: np.random.Generator, x: np.ndarray) -> None:
    n_times = x.shape[1]
    wave = np.sin(2 * np.pi * rng.uniform(6, 14) * _seconds(x) + 1.5 * draw_drift(rng, n_times, 1))
    run = np.clip(draw_drift(rng, n_times, 0.3) + rng.uniform(-0.5, 1), 0, None)
    sizes = draw_size(rng, 6, 0.8, (19, 1)) * rng.choice([-1, 1], (19, 1))
    x += (sizes * wave * run).astype(np.float32)


def _ventilation(rng: np.random.Generator, x: np.ndarray) -> None:
    """Add a breath every few seconds that moves some leads, sometimes with water bubbling in the tube."""
    t = _seconds(x)
    cycle = np.sin(2 * np.pi * rng.uniform(0.16, 0.5) * t)
    wave = np.sign(cycle) * np.abs(cycle) ** rng.uniform(0.3, 2)
    if rng.random() < 0.5:
        wave = wave * 0.3 + np.clip(cycle, 0, None) ** 4 * np.sin(2 * np.pi * rng.uniform(4, 10) * t)
    field = rng.standard_normal(19) * (rng.random(19) < 0.5)
    add_wave(x, field * draw_size(rng, 15, 0.6), wave)


def _handling(rng: np.random.Generator, x: np.ndarray) -> None:
    """Add chest percussion, patting or rocking: rhythmic, 1 to 6 Hz, in the electrodes that lie on the pillow."""
    n_times = x.shape[1]
    phase = 2 * np.pi * rng.uniform(1, 6) * _seconds(x) + 0.7 * draw_drift(rng, n_times, 0.5)
    wave = np.sin(phase) + 0.4 * np.sin(2 * phase + rng.uniform(0, 6)) + 0.2 * np.sin(3 * phase)
    run = np.clip(draw_drift(rng, n_times, 0.1) + rng.uniform(-0.3, 0.7), 0, 1)
    lying = np.clip(-electrode_positions()[:, 1] + rng.uniform(-0.6, 0.5), 0, None)
    add_wave(x, lying * rng.normal(0, 1, 19) * draw_size(rng, 25, 0.6), wave * run)


def _movement(rng: np.random.Generator, x: np.ndarray) -> None:
    for at in draw_times(rng, x.shape[1], rng.choice([0.02, 0.06, 0.15])):
        n = int(rng.uniform(0.4, 5) * SFREQ)
        wave = draw_drift(rng, n, rng.uniform(1, 5)) * np.hanning(n)
        add_wave(x, rng.standard_normal(19) * draw_size(rng, 50, 0.7), wave, at)


def _seconds(x: np.ndarray) -> np.ndarray:
    return np.arange(x.shape[1]) / SFREQ
