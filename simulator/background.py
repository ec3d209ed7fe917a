"""The ongoing EEG of a patient: 1/f activity, rhythms, slowing, attenuation, bursts, sleep, asymmetry, sensor noise.

`Brain` draws what a patient's EEG is like, `render_background` plays some minutes of it. Ranges follow
Niedermeyer's Electroencephalography (7th ed., ch. 8, 9, 35) and the ACNS 2021 terminology (background section);
spectra are power laws with a knee plus bumps (Donoghue et al., Nat Neurosci 2020;23:1655).
"""

from __future__ import annotations

import numpy as np
from scipy import fft

from kernel.constants import EEG_ELECTRODES, SFREQ
from kernel.montage import build_montage
from simulator.head import build_topography, cortex, find_side, place
from simulator.signals import add_wave, bell, draw_clipped, draw_size, draw_slow_noise

N_SLOW, N_FAST = 12, 10


class Brain:
    """A patient's ongoing EEG, drawn wider than what is met in intensive care, so that what is met lies inside.

    Amplitudes are relative to the power-law activity unless said otherwise.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        def chance(p: float, low: float, high: float) -> float:
            value = rng.uniform(low, high)
            return value if rng.random() < p else 0.0

        bursting = rng.random() < 0.09
        self.side = 1 if rng.random() < 0.5 else -1  # -1 the left is injured, 1 the right
        self.microvolts = float(
            np.clip(draw_size(rng, 9.5, 0.6), 1.5, 60)
        )  # median of the bipolar channels' deviations
        self.exponent = rng.uniform(1.6, 3.4)  # of power over frequency
        self.knee = draw_clipped(rng, 1.1, 0.7, 0.2, 4)  # hertz
        self.slow_hz = draw_size(rng, 1.0, 0.45) if rng.random() < 0.8 else rng.uniform(2, 7)
        self.slow_width = rng.uniform(0.4, 2.5)
        self.slow = chance(0.6, 0.2, 2.0)  # diffuse delta and theta
        self.fast_share = rng.lognormal(-1.1, 0.85)
        self.alpha_hz = rng.uniform(6.5, 11)
        self.alpha = chance(0.16, 0.2, 1.3)
        self.beta_hz = rng.uniform(14, 26)
        self.beta = chance(0.3, 0.05, 0.7)
        self.spindles = chance(0.12, 2, 10)  # per minute, with vertex waves
        self.burst_share = rng.uniform(0.15, 0.75) if bursting else 1.0  # of time that is not suppressed
        self.suppression = rng.uniform(0.05, 0.35)  # what is left of the amplitude while suppressed
        self.unrest = rng.uniform(0.15, 0.7)  # how much amplitudes wander
        self.transients = chance(0.35, 0.05, 1.2)  # per second, benign sharp transients
        self.weak_side = rng.uniform(0.3, 0.95) if rng.random() < 0.35 else rng.uniform(0.9, 1.0)  # its amplitude
        self.lesion = (self.side * rng.uniform(0.25, 0.95), rng.uniform(-0.8, 0.9))  # place of slowing or breach
        self.lesion_slow = chance(0.3, 0.5, 2.5)
        self.breach = chance(0.06, 0.5, 2.0)
        self.sensor = float(rng.lognormal(-0.4, 0.8))  # microvolts of each electrode's own noise


def render_background(rng: np.random.Generator, brain: Brain, n_times: int) -> np.ndarray:
    """Return microvolts (19, n_times) float32 of the patient's ongoing EEG."""
    sources = _draw_sources(rng, brain, n_times)
    x = (_draw_fields(rng, brain) @ sources).astype(np.float32)
    if brain.burst_share < 1:
        x *= _burst_envelope(rng, brain, n_times)
    weak = -brain.side if rng.random() < 0.2 else brain.side
    x[[find_side(name) == weak for name in EEG_ELECTRODES]] *= np.float32(brain.weak_side)
    _add_transients(rng, brain, x)
    _add_spindles(rng, brain, x)
    x *= np.float32(brain.microvolts / max(1e-6, float(np.median(build_montage(x).std(axis=1)))))
    own = rng.standard_normal(x.shape, dtype=np.float32)
    own[:, 1:] = own[:, 1:] * np.float32(0.6) + own[:, :-1] * np.float32(0.6)
    x += own * (brain.sensor * rng.lognormal(0, 0.4, (len(x), 1))).astype(np.float32)
    # Neighbours in a chain share an electrode, whose own slow noise turns their correlation down, even negative.
    slow = draw_slow_noise(rng, len(x), n_times, rng.uniform(1, 5))
    x += slow * (draw_size(rng, 1.8, 0.8) * rng.lognormal(0, 0.5, (len(x), 1))).astype(np.float32)
    return x


def _draw_sources(rng: np.random.Generator, brain: Brain, n_times: int) -> np.ndarray:
    """Return what the patches of `_draw_fields` play, (n, n_times): N_SLOW slow rows, N_FAST fast ones, the rest."""
    n_fft = fft.next_fast_len(n_times + 400, real=True)
    freqs = fft.rfftfreq(n_fft, 1 / SFREQ).astype(np.float32)
    power = (freqs**2 + np.float32(brain.knee**2)) ** np.float32(-brain.exponent / 2)
    power *= _highpass(freqs, rng.uniform(0.1, 0.7))
    power /= power[freqs < 13].sum()
    slowing = _bump(freqs, brain.slow_hz, brain.slow_width)
    later = _bump(freqs, brain.slow_hz * rng.uniform(0.6, 1.6), brain.slow_width)
    # The faster activity: a flatter power law above the theta range, which the slow one does not reach.
    fast = (freqs**2 + 36) ** np.float32(-min(brain.exponent, 2.0) / 2) * _highpass(freqs, 3.0)
    fast = 0.15 * fast / fast.sum() * brain.fast_share**2
    extra = [
        (3, _bump(freqs, brain.alpha_hz, 0.6), brain.alpha),
        (2, _bump(freqs, brain.beta_hz, 3.0), brain.beta),
        (1, _bump(freqs, rng.uniform(0.7, 2.2), 0.6), brain.lesion_slow * 3),
        (1, _bump(freqs, rng.uniform(12, 22), 5.0), brain.breach * 3),
    ]
    rows = [np.sqrt(power + bump * brain.slow**2) for bump in (slowing, later) for _ in range(N_SLOW // 2)]
    rows += [np.sqrt(fast)] * N_FAST
    rows += [np.sqrt(bump) * size for count, bump, size in extra if size for _ in range(count)]
    sources = _shape_noise(rng, np.stack(rows).astype(np.float32), n_fft)[:, :n_times]
    sources *= _wander(rng, len(sources), n_times, brain.unrest)
    # Over minutes the slowing changes its frequency, the fast activity its share.
    drift = draw_slow_noise(rng, 2, n_times, rng.uniform(0.005, 0.03)) * np.float32(brain.unrest)
    sources[: N_SLOW // 2] *= np.exp(drift[0])
    sources[N_SLOW // 2 : N_SLOW] *= np.exp(-drift[0])
    sources[N_SLOW : N_SLOW + N_FAST] *= np.exp(0.7 * drift[1])
    if brain.alpha:
        sources[N_SLOW + N_FAST : N_SLOW + N_FAST + 3] *= _wander(rng, 3, n_times, 0.9, hertz=0.15)
    return sources


def _wander(rng: np.random.Generator, n_rows: int, n_times: int, spread: float, hertz: float = 0.3) -> np.ndarray:
    """Return positive gains (n_rows, n_times) that wander, partly together; 40 steps a second are smooth enough."""
    n_steps = -(-n_times // 5)
    common = draw_slow_noise(rng, 1, n_steps, 0.05 * 5) * np.float32(spread * 0.5)
    gains = np.exp(draw_slow_noise(rng, n_rows, n_steps, hertz * 5) * np.float32(spread) + common)
    return np.repeat(gains, 5, axis=1)[:, :n_times]


def _shape_noise(rng: np.random.Generator, amplitude: np.ndarray, n_fft: int) -> np.ndarray:
    """Return noise (n, n_fft) whose spectrum has the shape `amplitude` (n, n_fft // 2 + 1), bins beyond 60 Hz left."""
    used = min(amplitude.shape[1], int(60 / SFREQ * n_fft))
    spectrum = np.zeros(amplitude.shape, dtype=np.complex64)
    parts = rng.standard_normal((len(amplitude), used, 2), dtype=np.float32)
    spectrum[:, :used] = parts.view(np.complex64)[..., 0] * amplitude[:, :used]
    return fft.irfft(spectrum, n_fft, axis=1) * np.float32(n_fft / 2)


def _highpass(freqs: np.ndarray, corner: float) -> np.ndarray:
    return (freqs / corner) ** 4 / (1 + (freqs / corner) ** 4)


def _bump(freqs: np.ndarray, centre: float, width: float) -> np.ndarray:
    bump = bell(freqs, centre, width) * _highpass(freqs, 0.4)
    return bump / bump.sum()


def _draw_fields(rng: np.random.Generator, brain: Brain) -> np.ndarray:
    directions, _ = cortex()
    # More of it comes from the front and the rim of the head than from the vertex, of delta most.
    low, front = rng.uniform(0.3, 2.0), np.where(np.arange(N_SLOW + N_FAST) < N_SLOW, rng.uniform(0, 1.5), 0)
    chances = np.exp(np.outer(front, directions[:, 1]) - low * directions[:, 2])
    chosen: list[np.ndarray] = []
    sizes = rng.lognormal(0, 0.4, len(chances))
    for k, chance in enumerate(chances):  # each second one is the mirror of the one before
        mirror = chosen[-1] * (-1, 1, 1) if k % 2 else directions[rng.choice(len(directions), p=chance / chance.sum())]
        chosen.append(mirror)
        sizes[k] = sizes[k - k % 2] * rng.lognormal(0, 0.15)
    columns = []
    for k, (direction, size) in enumerate(zip(chosen, sizes, strict=True)):
        spread = rng.uniform(0.1, 0.5 if k < N_SLOW else 0.35)
        columns.append(build_topography(direction, spread, rng, rng.uniform(0, 1.0)) * size)
    if brain.alpha:
        columns += [build_topography(place(x, -0.75), 0.4, rng, 0.3) for x in (-0.35, 0.0, 0.35)]
    if brain.beta:
        columns += [build_topography(place(x, rng.uniform(0, 0.7)), 0.6, rng, 0.3) for x in (-0.35, 0.35)]
    lesion = place(*brain.lesion)
    if brain.lesion_slow:
        columns.append(build_topography(lesion, rng.uniform(0.3, 0.6)))
    if brain.breach:
        columns.append(build_topography(lesion, 0.2))
    return np.stack(columns, axis=1).astype(np.float32)


def _burst_envelope(rng: np.random.Generator, brain: Brain, n_times: int) -> np.ndarray:
    cycle = rng.uniform(2, 12)
    n = int(n_times / SFREQ / cycle * 3) + 6
    bursts = cycle * brain.burst_share * rng.lognormal(0, 0.3, n)
    gaps = cycle * (1 - brain.burst_share) * rng.lognormal(0, 0.4, n)
    edges = np.cumsum(np.stack([bursts, gaps], axis=1).ravel()) - rng.uniform(0, cycle * 2)
    t = np.arange(n_times) / SFREQ
    on = np.searchsorted(edges, t) % 2 == 0
    smooth = np.convolve(on, np.ones(60) / 60, mode="same")
    return (brain.suppression + (1 - brain.suppression) * smooth).astype(np.float32)


def _add_transients(rng: np.random.Generator, brain: Brain, x: np.ndarray) -> None:
    n_times = x.shape[1]
    count = rng.poisson(brain.transients * n_times / SFREQ)
    if not count:
        return
    directions, _ = cortex()
    level = float(build_montage(x).std())
    fields = [build_topography(directions[i], rng.uniform(0.2, 0.7)) for i in rng.integers(len(directions), size=4)]
    for at in rng.integers(0, n_times, count):
        width = rng.uniform(0.02, 0.25) * SFREQ
        k = np.arange(int(at - 4 * width), int(at + 4 * width))
        u = (k - at) / width
        wave = bell(u) * np.cos(u * rng.uniform(0.5, 2.5) + rng.uniform(0, 6.3))
        add_wave(x, fields[rng.integers(4)] * (level * rng.uniform(1, 4)), wave, k[0])


def _add_spindles(rng: np.random.Generator, brain: Brain, x: np.ndarray) -> None:
    level = float(build_montage(x).std())
    hertz = rng.uniform(11.5, 14.5)
    spindle, vertex = build_topography(place(0, 0.3), 0.6), build_topography(place(0, 0.05), 0.35)
    t = np.arange(-200, 200) / SFREQ
    sharp = bell(t, -0.6, 0.07) - 0.6 * bell(t, -0.35, 0.16)
    for at in rng.integers(0, x.shape[1], rng.poisson(brain.spindles * x.shape[1] / SFREQ / 60)):
        wave = bell(t, 0, rng.uniform(0.2, 0.5)) * np.sin(2 * np.pi * hertz * t)
        add_wave(x, spindle * level * rng.uniform(0.5, 1.5), wave, at - 200)
        add_wave(x, -vertex * level * rng.uniform(0, 4), sharp, at - 200)
