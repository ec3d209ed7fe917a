"""Changes to a training window that leave its label true, or change it knowingly; each has a name a recipe can give.

They work on the 18 channels in microvolts, before any network's input is built, so every network learns from the same
ones. Nothing is overwritten.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.fft

from kernel.constants import LABEL_SECONDS, SFREQ
from kernel.montage import CHANNELS, MIRROR, N_PAIRS
from kernel.recording import pad_window

Labelled = tuple[np.ndarray, np.ndarray]
"""Channels, shape (18, n_times), float32, microvolts; and vote shares, shape (6,)."""
Augment = Callable[[np.random.Generator, Labelled, Callable[[], Labelled]], Labelled]
"""(generator, window, a function that draws another window) -> window."""

SIDE = np.where(np.arange(len(CHANNELS)) < 2 * N_PAIRS, np.arange(len(CHANNELS)) % 2, 2)
"""Of each channel: 0 left, 1 right, 2 the midline."""


def choose(rng: np.random.Generator, chances: dict[str, float]) -> list[str]:
    """Draw which augmentations a window gets, each with its probability; in the order of `AUGMENTATIONS`."""
    return [name for name in AUGMENTATIONS if name in chances and rng.random() < chances[name]]


def augment(rng: np.random.Generator, window: Labelled, another: Callable[[], Labelled], names: list[str]) -> Labelled:
    """Apply augmentations to a window's channels and shares, one after the other; `rng` decides everything."""
    for name in names:
        window = AUGMENTATIONS[name](rng, window, another)
    return window


def _filter(channels: np.ndarray, gains: np.ndarray) -> np.ndarray:
    """Return channels (18, n_times) with the frequencies of `np.fft.rfftfreq` times `gains`, for all or for each."""
    spectrum = scipy.fft.rfft(channels) * gains.astype(np.float32)
    return scipy.fft.irfft(spectrum, channels.shape[1]).astype(np.float32)


def _mirror(rng: np.random.Generator, window: Labelled, another: Callable[[], Labelled]) -> Labelled:
    """Swap left and right."""
    return window[0][MIRROR], window[1]


def _time_reversal(rng: np.random.Generator, window: Labelled, another: Callable[[], Labelled]) -> Labelled:
    """Run backwards: the labelled seconds stay in the centre."""
    return window[0][:, ::-1], window[1]


def _sign(rng: np.random.Generator, window: Labelled, another: Callable[[], Labelled]) -> Labelled:
    """Swap up and down, as a montage with anode and cathode exchanged would."""
    return -window[0], window[1]


def _speed(rng: np.random.Generator, window: Labelled, another: Callable[[], Labelled]) -> Labelled:
    """Play it up to a sixth slower or faster about its centre; what is then missing at the ends is silent."""
    n_times = window[0].shape[1]
    middle = n_times / 2
    at = middle + (np.arange(n_times) - middle) * np.exp(rng.uniform(-0.15, 0.15))
    before = np.clip(at.astype(int), 0, n_times - 2)
    part = (at - before).astype(np.float32)
    played = window[0][:, before] * (1 - part) + window[0][:, before + 1] * part
    return np.where((at >= 0) & (at <= n_times - 1), played, np.float32(0)), window[1]


def _gain(rng: np.random.Generator, window: Labelled, another: Callable[[], Labelled]) -> Labelled:
    """Scale the whole head by up to about 2, and each channel by a few per cent of its own."""
    gains = np.exp(rng.normal(0, 0.3) + rng.normal(0, 0.1, len(window[0]))).astype(np.float32)
    return window[0] * gains[:, None], window[1]


def _channel_dropout(rng: np.random.Generator, window: Labelled, another: Callable[[], Labelled]) -> Labelled:
    """Silence one to four channels."""
    channels = window[0].copy()
    channels[rng.choice(len(channels), int(rng.integers(1, 5)), replace=False)] = 0
    return channels, window[1]


def _band_stop(rng: np.random.Generator, window: Labelled, another: Callable[[], Labelled]) -> Labelled:
    """Take away a band of a third of an octave somewhere between 0.5 and 40 Hz."""
    centre = np.exp(rng.uniform(np.log(0.5), np.log(40)))
    freqs = np.fft.rfftfreq(window[0].shape[1], 1 / SFREQ)
    return _filter(window[0], np.abs(np.log2(np.maximum(freqs, 1e-9) / centre)) >= 1 / 6), window[1]


def _tilt(rng: np.random.Generator, window: Labelled, another: Callable[[], Labelled]) -> Labelled:
    """Make fast activity stronger and slow weaker, or the reverse, about 3 Hz: channels alike, and each a little."""
    n_channels, n_times = window[0].shape
    slopes = rng.normal(0, 0.35) + rng.normal(0, 0.1, (n_channels, 1))
    freqs = np.clip(np.fft.rfftfreq(n_times, 1 / SFREQ), 0.5, 30)
    return _filter(window[0], (freqs / 3) ** slopes), window[1]


def _field(rng: np.random.Generator, window: Labelled, another: Callable[[], Labelled]) -> Labelled:
    """Spread the sources otherwise over the head: each channel takes up some of its side's and of the midline's."""
    reaches = (SIDE[:, None] == SIDE) | (SIDE == 2)
    mixing = np.eye(len(SIDE)) + reaches * rng.normal(0, 0.12, reaches.shape)
    return mixing.astype(np.float32) @ window[0], window[1]


def _waveform(rng: np.random.Generator, window: Labelled, another: Callable[[], Labelled]) -> Labelled:
    """Make peaks higher and the rest lower, or the reverse, and one half of every wave larger than the other."""
    channels = window[0] - np.median(window[0], axis=1, keepdims=True)
    size = 1.5 * np.median(np.abs(channels), axis=1, keepdims=True) + 1e-3
    z = channels / size
    power = rng.normal(0, 0.25) + rng.normal(0, 0.06, (len(z), 1))
    lopsided = rng.normal(0, 0.25) + rng.normal(0, 0.1, (len(z), 1))
    bent = z * (0.1 + np.abs(z)) ** power * (1 + np.clip(lopsided, -0.9, 0.9) * np.tanh(z))
    return (bent * size).astype(np.float32), window[1]


def _lag(rng: np.random.Generator, window: Labelled, another: Callable[[], Labelled]) -> Labelled:
    """Let each side, and each of its channels, run some hundredths of a second ahead or behind."""
    seconds = rng.normal(0, 0.015, 3)[SIDE] + rng.normal(0, 0.01, len(SIDE))
    shifts = np.round(seconds * SFREQ).astype(int)
    return np.stack([np.roll(channel, shift) for channel, shift in zip(window[0], shifts, strict=True)]), window[1]


def _colour(rng: np.random.Generator, window: Labelled, another: Callable[[], Labelled]) -> Labelled:
    """Make some bands, of about an octave each, stronger and others weaker, in all channels alike."""
    octaves = np.linspace(np.log(0.5), np.log(40), 7)
    freqs = np.clip(np.fft.rfftfreq(window[0].shape[1], 1 / SFREQ), 0.5, 40)
    gains = np.interp(np.log(freqs), octaves, rng.normal(0, 0.3, len(octaves)))
    return _filter(window[0], np.exp(gains)), window[1]


def _swell(rng: np.random.Generator, window: Labelled, another: Callable[[], Labelled]) -> Labelled:
    """Let the amplitude wax and wane over seconds, of the whole head and of each channel."""
    n_channels, n_times = window[0].shape
    knots = int(rng.integers(8, 26))
    sizes = rng.normal(0, 0.2, knots) + rng.normal(0, 0.12, (n_channels, knots))
    at = np.linspace(0, knots - 1, n_times)
    gains = np.stack([np.interp(at, np.arange(knots), one) for one in sizes])
    return window[0] * np.exp(gains).astype(np.float32), window[1]


def _noise(rng: np.random.Generator, window: Labelled, another: Callable[[], Labelled]) -> Labelled:
    """Add what electrodes add: hum of the mains everywhere or muscle in places, and sometimes one that is loose."""
    channels, shares = window
    n_channels, n_times = channels.shape
    if rng.random() < 0.5:
        size = rng.lognormal(np.log(20), 1.8)  # mains reach millivolts
        times = np.arange(n_times) / SFREQ
        hum = np.sin(2 * np.pi * rng.choice([50.0, 60.0]) * times + rng.uniform(0, 2 * np.pi))
        added = np.outer(rng.exponential(size, n_channels), hum)
    else:
        size = rng.lognormal(np.log(8), 1.0)
        spectrum = scipy.fft.rfft(rng.standard_normal((n_channels, n_times)))
        freqs = np.fft.rfftfreq(n_times, 1 / SFREQ)
        muscle = scipy.fft.irfft(spectrum * np.clip((freqs - 10) / 20, 0, 1), n_times)
        added = muscle * rng.exponential(size, (n_channels, 1)) * (rng.random((n_channels, 1)) < 0.4)
    if rng.random() < 0.3:
        loose = rng.choice(n_channels, 2, replace=False)
        wander = np.cumsum(rng.standard_normal(n_times)) + 20 * rng.standard_normal(n_times)
        added[loose] += wander * rng.lognormal(0, 1)
    return channels + added.astype(np.float32), shares


def _crop_and_concatenate(rng: np.random.Generator, window: Labelled, another: Callable[[], Labelled]) -> Labelled:
    """Keep the labelled seconds and some around them, between the surroundings of another window."""
    channels, shares = window
    surroundings, _ = another()
    times = np.arange(channels.shape[1]) / SFREQ
    start, stop = LABEL_SECONDS[0] - rng.uniform(1, 15), LABEL_SECONDS[1] + rng.uniform(1, 15)
    # A cross-fade of half a second, so that the seams are no discharges.
    kept = np.clip((times - start) / 0.5, 0, 1) * np.clip((stop - times) / 0.5, 0, 1)
    kept = kept.astype(np.float32)
    return channels * kept + surroundings * (1 - kept), shares


def _short(rng: np.random.Generator, window: Labelled, another: Callable[[], Labelled]) -> Labelled:
    """Keep the central 10 to 20 s alone, continued as `kernel.recording.pad_window` continues a short recording."""
    middle, half = window[0].shape[1] // 2, int(rng.uniform(5, 10) * SFREQ)
    kept = window[0][:, middle - half : middle + half]
    return pad_window(kept - np.median(kept, axis=1, keepdims=True), window[0].shape[1]), window[1]


def _mixup(rng: np.random.Generator, window: Labelled, another: Callable[[], Labelled]) -> Labelled:
    """Superpose two windows, and mix their shares alike (Zhang et al. 2018, with a Beta(0.4, 0.4))."""
    other, shares = another()
    share = rng.beta(0.4, 0.4)
    return window[0] * np.float32(share) + other * np.float32(1 - share), window[1] * share + shares * (1 - share)


AUGMENTATIONS: dict[str, Augment] = {
    "crop_and_concatenate": _crop_and_concatenate,
    "mixup": _mixup,
    "mirror": _mirror,
    "time_reversal": _time_reversal,
    "sign": _sign,
    "speed": _speed,
    "gain": _gain,
    "band_stop": _band_stop,
    "tilt": _tilt,
    "field": _field,
    "waveform": _waveform,
    "lag": _lag,
    "colour": _colour,
    "swell": _swell,
    "noise": _noise,
    "channel_dropout": _channel_dropout,
    "short": _short,
}
"""Every augmentation by name, in the order in which they are applied."""
