"""What the body and the ward add to the brain: eyes, muscle, heart, breath, movement, handling.

Windows of every class have them alike, so that no artefact tells a class; `simulator.other` adds more of some.
Sources: Tatum et al., J Clin Neurophysiol 2011;28:231 (artefacts of the intensive care unit); Niedermeyer, 7th ed.,
ch. 7.
"""

from __future__ import annotations

import numpy as np

from kernel.constants import EEG_ELECTRODES, SFREQ
from simulator.background import draw_slow_noise
from simulator.head import build_topography, electrode_positions, place

INDEX = {name: i for i, name in enumerate(EEG_ELECTRODES)}
TEMPORAL = [INDEX[n] for n in ("F7", "T3", "T5", "F8", "T4", "T6", "Fp1", "Fp2")]


def add_body(rng: np.random.Generator, x: np.ndarray, heart: np.ndarray) -> None:
    """Add eyes, muscle, heart, chewing, shivering, ventilation and handling to `x` (19, n_times), in place."""
    kinds = (
        (0.45, add_blinks), (0.30, add_eyes), (0.50, add_muscle), (0.04, _chewing), (0.04, _shivering),
        (0.05, _ventilation), (0.05, _handling), (0.10, _movement),
    )  # fmt: skip
    for chance, add in kinds:
        if rng.random() < chance:
            add(rng, x)
    if rng.random() < 0.25:
        add_heart(rng, x, heart, rng.lognormal(np.log(3), 0.8))


def add_stimulus(rng: np.random.Generator, x: np.ndarray, onsets: np.ndarray) -> None:
    """Add a nurse's touch, turn or suction to `x` (19, n_times) shortly before `onsets`, in place.

    What begins so is stimulus-induced (ACNS 2021, modifier SI-); where nothing begins, the patient is only stirred.
    """
    for onset in onsets[:3] if len(onsets) else draw_times(rng, x.shape[1], 0.02):
        n = int(rng.uniform(0.5, 4) * SFREQ)
        at = int(onset - rng.uniform(0.1, 2.5) * SFREQ) - n
        swell = np.hanning(n)
        shake = draw_slow_noise(rng, 1, n, rng.uniform(1, 6))[0] * swell
        _add_wave(x, rng.standard_normal(19) * rng.lognormal(np.log(30), 0.7), shake, at)
        field = np.zeros(19)
        some = rng.choice(TEMPORAL, rng.integers(2, 9), replace=False)
        field[some] = rng.lognormal(np.log(15), 0.7, len(some))
        _add_wave(x, field, draw_hiss(rng, 1, n, 0.3)[0] * swell, at)


def add_arousal(rng: np.random.Generator, x: np.ndarray, onsets: np.ndarray) -> None:
    """Add muscle and eye movement to `x` (19, n_times), in place, about `onsets`: a seizure may begin under them."""
    for onset in onsets[:2]:
        at = max(0, int(onset - rng.uniform(0, 2) * SFREQ))
        part = x[:, at : at + int(rng.uniform(2, 10) * SFREQ)]
        if part.shape[1] < SFREQ:
            continue
        swell = np.hanning(part.shape[1]) ** 0.3
        some = rng.choice(TEMPORAL, rng.integers(3, 9), replace=False)
        size = rng.lognormal(np.log(15), 0.6) * rng.lognormal(0, 0.4, (len(some), 1))
        part[some] += (draw_hiss(rng, len(some), part.shape[1], rng.uniform(0.1, 0.6)) * swell * size).astype(
            np.float32
        )
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
    wave = np.exp(-0.5 * (t / width) ** 2)
    wave -= rng.uniform(0, 0.4) * np.exp(-0.5 * ((t - 2.5 * width) / width) ** 2)
    wave += rng.uniform(0, 0.35) * np.exp(-0.5 * ((t - 0.25) / 0.05) ** 2)
    wave += rng.uniform(0, 0.15) * np.exp(-0.5 * ((t + 0.16) / 0.03) ** 2)
    out = np.zeros(n_times + 2 * len(t), dtype=np.float32)
    for b in (beats * SFREQ).astype(int):
        at = b + len(t)
        if 0 <= at < n_times + len(t):
            out[at : at + len(t)] += wave
    return out[len(t) : len(t) + n_times]


def add_heart(rng: np.random.Generator, x: np.ndarray, heart: np.ndarray, microvolts: float) -> None:
    """Add the heart to `x`, in place: its field runs straight across the head, the pulse lifts single electrodes."""
    direction = rng.normal(0, 1, 3) * (1, 0.6, 0.6)
    field = electrode_positions() @ direction + rng.normal(0, rng.uniform(0.1, 0.6), 19)
    x += np.outer(field * microvolts, heart).astype(np.float32)
    if rng.random() < 0.3:
        late = int(rng.uniform(0.15, 0.3) * SFREQ)
        length = int(rng.uniform(0.2, 0.5) * SFREQ)
        pulse = np.convolve(np.roll(heart, late), np.hanning(length) / length * 10)[: len(heart)]
        some = rng.choice(19, rng.integers(1, 5), replace=False)
        x[some] += np.outer(rng.normal(0, 1.5, len(some)) * microvolts, pulse).astype(np.float32)


def draw_times(rng: np.random.Generator, n_times: int, per_second: float) -> np.ndarray:
    """Return the samples at which something happens, at least once."""
    return rng.integers(0, n_times, max(1, rng.poisson(per_second * n_times / SFREQ)))


def _add_wave(x: np.ndarray, field: np.ndarray, wave: np.ndarray, at: int) -> None:
    start, stop = max(0, at), min(x.shape[1], at + len(wave))
    if start < stop:
        x[:, start:stop] += np.outer(field, wave[start - at : stop - at]).astype(np.float32)


def draw_pink(rng: np.random.Generator, n_rows: int, n_times: int) -> np.ndarray:
    """Return noise (n_rows, n_times) that is slow and fast at once, deviation about 1."""
    parts = [draw_slow_noise(rng, n_rows, n_times, hz) for hz in (0.2, 1, 4, 15)]
    out = sum(p * np.float32(w) for p, w in zip(parts, rng.uniform(0.1, 1, 4), strict=True))
    return out + rng.standard_normal((n_rows, n_times), dtype=np.float32) * np.float32(rng.uniform(0, 0.5))


def draw_hiss(rng: np.random.Generator, n_rows: int, n_times: int, smooth: float) -> np.ndarray:
    """Return muscle-like noise (n_rows, n_times): white, its low frequencies left as far as `smooth` says."""
    white = rng.standard_normal((n_rows, n_times + 1), dtype=np.float32)
    return white[:, 1:] - np.float32(1 - smooth) * white[:, :-1]


def add_blinks(rng: np.random.Generator, x: np.ndarray) -> None:
    """Add blinks to `x` (19, n_times), in place: largest at Fp1 and Fp2."""
    field = np.zeros(19)
    for name, size in (("Fp1", 1.0), ("Fp2", 1.0), ("F7", 0.35), ("F8", 0.35), ("F3", 0.3), ("F4", 0.3), ("Fz", 0.3)):
        field[INDEX[name]] = size * rng.uniform(0.7, 1.2)
    size = rng.lognormal(np.log(80), 0.5)
    for at in draw_times(rng, x.shape[1], rng.choice([0.05, 0.2, 0.5, 1.2])):
        t = np.arange(0, rng.uniform(0.25, 0.9), 1 / SFREQ)
        wave = np.sin(np.pi * t / t[-1]) ** 2 - 0.25 * np.sin(np.pi * (t / t[-1]) ** 3) ** 2
        _add_wave(x, field * size * rng.uniform(0.5, 1.3) * (-1 if rng.random() < 0.1 else 1), wave, int(at))


def add_eyes(rng: np.random.Generator, x: np.ndarray) -> None:
    """Add lateral movements to `x` (19, n_times), in place, quick or roving: F7 and F8 of opposite sign."""
    field = np.zeros(19)
    for name, size in (("F7", 1.0), ("F8", -1.0), ("Fp1", 0.4), ("Fp2", -0.4), ("T3", 0.3), ("T4", -0.3)):
        field[INDEX[name]] = size
    size = rng.lognormal(np.log(35), 0.5)
    if rng.random() < 0.4:
        wave = draw_slow_noise(rng, 1, x.shape[1], rng.uniform(0.3, 1.2))[0]
    else:
        knots = np.sort(rng.integers(0, x.shape[1], max(2, rng.poisson(x.shape[1] / SFREQ * 0.6))))
        levels = rng.standard_normal(len(knots) + 1)
        wave = levels[np.searchsorted(knots, np.arange(x.shape[1]))]
        wave = np.convolve(wave, np.ones(12) / 12, mode="same")
    x += np.outer(field * size, wave).astype(np.float32)


def add_muscle(rng: np.random.Generator, x: np.ndarray) -> None:
    """Add steady or waxing muscle to `x` (19, n_times), in place: mostly temporal and frontopolar."""
    n_times = x.shape[1]
    somewhere = TEMPORAL if rng.random() < 0.65 else np.arange(19)
    some = rng.choice(somewhere, rng.integers(1, len(somewhere) + 1), replace=False)
    hiss = draw_hiss(rng, len(some), n_times, rng.uniform(0.1, 0.7))
    steady = rng.random() < 0.35
    if steady:
        gate = np.exp(0.4 * draw_slow_noise(rng, len(some), n_times, 0.3))
    else:
        gate = np.clip(draw_slow_noise(rng, 1, n_times, rng.uniform(0.1, 0.8)) - rng.uniform(0, 1.2), 0, None)
    size = rng.lognormal(np.log(4 if steady else 14), 1.0)
    x[some] += hiss * gate * (size * rng.lognormal(0, 0.5, (len(some), 1))).astype(np.float32)


def _chewing(rng: np.random.Generator, x: np.ndarray) -> None:
    n_times = x.shape[1]
    t = np.arange(n_times) / SFREQ
    beat = (
        np.clip(np.sin(2 * np.pi * rng.uniform(0.8, 2.2) * t + draw_slow_noise(rng, 1, n_times, 0.5)[0]), 0, None) ** 3
    )
    run = np.clip(draw_slow_noise(rng, 1, n_times, 0.15)[0] + 0.5, 0, 1)
    size = rng.lognormal(np.log(40), 0.6)
    x[TEMPORAL] += draw_hiss(rng, len(TEMPORAL), n_times, 0.2) * (beat * run * size).astype(np.float32)
    slow = np.convolve(beat * run, np.ones(30) / 30, mode="same") * size * 0.6  # the tongue's glossokinetic wave
    x += np.outer(build_topography(place(0, 0.8), 0.6), slow).astype(np.float32)


def _shivering(rng: np.random.Generator, x: np.ndarray) -> None:
    n_times = x.shape[1]
    t = np.arange(n_times) / SFREQ
    wave = np.sin(2 * np.pi * rng.uniform(6, 14) * t + 1.5 * draw_slow_noise(rng, 1, n_times, 1)[0])
    run = np.clip(draw_slow_noise(rng, 1, n_times, 0.3)[0] + rng.uniform(-0.5, 1), 0, None)
    sizes = rng.lognormal(np.log(6), 0.8, (19, 1)) * rng.choice([-1, 1], (19, 1))
    x += (sizes * wave * run).astype(np.float32)


def _ventilation(rng: np.random.Generator, x: np.ndarray) -> None:
    """Add a breath every few seconds that moves some leads, sometimes with water bubbling in the tube."""
    n_times = x.shape[1]
    t = np.arange(n_times) / SFREQ
    cycle = np.sin(2 * np.pi * rng.uniform(0.16, 0.5) * t)
    wave = np.sign(cycle) * np.abs(cycle) ** rng.uniform(0.3, 2)
    if rng.random() < 0.5:
        wave = wave * 0.3 + np.clip(cycle, 0, None) ** 4 * np.sin(2 * np.pi * rng.uniform(4, 10) * t)
    field = rng.standard_normal(19) * (rng.random(19) < 0.5)
    x += np.outer(field * rng.lognormal(np.log(15), 0.6), wave).astype(np.float32)


def _handling(rng: np.random.Generator, x: np.ndarray) -> None:
    """Add chest percussion, patting or rocking: rhythmic, 1 to 6 Hz, in the electrodes that lie on the pillow."""
    n_times = x.shape[1]
    t = np.arange(n_times) / SFREQ
    phase = 2 * np.pi * rng.uniform(1, 6) * t + 0.7 * draw_slow_noise(rng, 1, n_times, 0.5)[0]
    wave = np.sin(phase) + 0.4 * np.sin(2 * phase + rng.uniform(0, 6)) + 0.2 * np.sin(3 * phase)
    run = np.clip(draw_slow_noise(rng, 1, n_times, 0.1)[0] + rng.uniform(-0.3, 0.7), 0, 1)
    lying = np.clip(-electrode_positions()[:, 1] + rng.uniform(-0.6, 0.5), 0, None)
    x += np.outer(lying * rng.normal(0, 1, 19) * rng.lognormal(np.log(25), 0.6), wave * run).astype(np.float32)


def _movement(rng: np.random.Generator, x: np.ndarray) -> None:
    for at in draw_times(rng, x.shape[1], rng.choice([0.02, 0.06, 0.15])):
        n = int(rng.uniform(0.4, 5) * SFREQ)
        wave = draw_slow_noise(rng, 1, n, rng.uniform(1, 5))[0] * np.hanning(n)
        _add_wave(x, rng.standard_normal(19) * rng.lognormal(np.log(50), 0.7), wave, int(at))
