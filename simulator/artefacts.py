"""What is not brain: eyes, muscle, heart, mains, electrodes, reference, movement, amplifier, gaps.

Called by `simulator.generate` on windows of every class alike, so that no artefact tells a class. `add_body` adds what
the body and the ward do to the potentials (19, n_times), `add_electrodes` what electrodes, reference and amplifier do.
Sources: Tatum et al., J Clin Neurophysiol 2011;28:231 (artefacts of the intensive care unit); Niedermeyer, 7th ed.,
ch. 7. Sizes include those of real recordings whose shared reference noise is ten times the EEG.
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
        (0.30, add_blinks), (0.12, _eyes), (0.40, add_muscle), (0.04, _chewing), (0.04, _shivering),
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
    for onset in onsets[:3] if len(onsets) else _pulses(rng, x.shape[1], 0.02):
        n = int(rng.uniform(0.5, 4) * SFREQ)
        at = int(onset - rng.uniform(0.1, 2.5) * SFREQ) - n
        swell = np.hanning(n)
        shake = draw_slow_noise(rng, 1, n, rng.uniform(1, 6))[0] * swell
        _add_wave(x, rng.standard_normal(19) * rng.lognormal(np.log(30), 0.7), shake, at)
        field = np.zeros(19)
        some = rng.choice(TEMPORAL, rng.integers(2, 9), replace=False)
        field[some] = rng.lognormal(np.log(15), 0.7, len(some))
        _add_wave(x, field, draw_hiss(rng, 1, n, 0.3)[0] * swell, at)


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


def _pulses(rng: np.random.Generator, n_times: int, per_second: float) -> np.ndarray:
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
    for at in _pulses(rng, x.shape[1], rng.choice([0.05, 0.2, 0.5, 1.2])):
        t = np.arange(0, rng.uniform(0.25, 0.9), 1 / SFREQ)
        wave = np.sin(np.pi * t / t[-1]) ** 2 - 0.25 * np.sin(np.pi * (t / t[-1]) ** 3) ** 2
        _add_wave(x, field * size * rng.uniform(0.5, 1.3) * (-1 if rng.random() < 0.1 else 1), wave, int(at))


def _eyes(rng: np.random.Generator, x: np.ndarray) -> None:
    """Add lateral movements, quick or roving: F7 and F8 of opposite sign."""
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
    some = rng.choice(TEMPORAL if rng.random() < 0.75 else np.arange(19), rng.integers(1, 8), replace=False)
    hiss = draw_hiss(rng, len(some), n_times, rng.uniform(0.1, 0.7))
    steady = rng.random() < 0.35
    if steady:
        gate = np.exp(0.4 * draw_slow_noise(rng, len(some), n_times, 0.3))
    else:
        gate = np.clip(draw_slow_noise(rng, 1, n_times, rng.uniform(0.1, 0.8)) - rng.uniform(0, 1.2), 0, None)
    size = rng.lognormal(np.log(4 if steady else 14), 0.7)
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
    for at in _pulses(rng, x.shape[1], rng.choice([0.02, 0.06, 0.15])):
        n = int(rng.uniform(0.4, 5) * SFREQ)
        wave = draw_slow_noise(rng, 1, n, rng.uniform(1, 5))[0] * np.hanning(n)
        _add_wave(x, rng.standard_normal(19) * rng.lognormal(np.log(50), 0.7), wave, int(at))


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
    for at in _pulses(rng, x.shape[1], rng.choice([0.03, 0.1, 0.5])):
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
