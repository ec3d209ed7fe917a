"""The scalogram of one recording against the alternatives: time, memory, error; one thread, one run, as ratios.

`python -m benchmarks.scalogram` (part of `make bench`). Methods are timed in turn, round after round, so that the
machine's drift hits all alike. The error is the worst difference from the float64 closed form, in units of each row's
maximum, after the best gain of the row (libraries differ in what they call amplitude): over all frames, and away from
the edges.
"""

from __future__ import annotations

import os

os.environ |= {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "SSQ_PARALLEL": "0"}

import importlib
import re
import timeit
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pywt
import scipy.fft

from benchmarks import in_own_process
from kernel.constants import SFREQ, WINDOW_SAMPLES
from kernel.scalogram import ScalogramConfig, build_magnitude

CONFIG = ScalogramConfig()
STRIDE, ROUNDS = CONFIG.stride, 5
Method = Callable[[np.ndarray], np.ndarray]
"""Channels (18, 10000) float32 -> magnitude (18, 40, 625)."""


def make_channels() -> np.ndarray:
    """Return a 1/f signal of EEG's size, shape (18, 10000), float32."""
    spectrum = scipy.fft.rfft(np.random.default_rng(0).standard_normal((18, WINDOW_SAMPLES)))
    spectrum /= np.maximum(1, np.arange(spectrum.shape[1]) / 50)
    channels = scipy.fft.irfft(spectrum)
    return (30 * channels / channels.std()).astype(np.float32)


def closed_form(channels: np.ndarray) -> np.ndarray:
    """Compute the definition in float64: full-length transforms, every bin, so much padding that nothing wraps."""
    n_long = 4 * WINDOW_SAMPLES
    bins = scipy.fft.fftfreq(n_long, 1 / SFREQ)
    spectrum = scipy.fft.fft(channels.astype(np.float64), n_long)
    rows = []
    for freq in CONFIG.freqs:
        response = 2 * np.exp(-0.5 * ((bins - freq) * CONFIG.w0 / freq) ** 2) * (bins > 0)
        rows.append(np.abs(scipy.fft.ifft(spectrum * response)[:, :WINDOW_SAMPLES:STRIDE]))
    return np.stack(rows, axis=1)


def use_ours() -> Method:
    """Return the transform of this project."""
    return lambda channels: build_magnitude(channels, CONFIG)


def use_pywavelets(method: str) -> Method:
    """Return PyWavelets' transform with the same wavelet, by convolution or by FFT."""
    wavelet = f"cmor{2 * (CONFIG.w0 / (2 * np.pi)) ** 2}-1"
    scales = pywt.frequency2scale(wavelet, CONFIG.freqs / SFREQ)

    def run(channels: np.ndarray) -> np.ndarray:
        coefficients, _ = pywt.cwt(channels, scales, wavelet, method=method, axis=-1)
        return np.abs(coefficients[:, :, ::STRIDE]).transpose(1, 0, 2)

    return run


def use_fcwt() -> Method:
    """Return fCWT's transform, a channel at a time, as its interface takes them."""
    fcwt = importlib.import_module("fcwt")
    morlet = fcwt.Morlet(CONFIG.w0 / (2 * np.pi))
    transform = fcwt.FCWT(morlet, 1, False, True)
    scales = fcwt.Scales(morlet, fcwt.FCWT_LOGSCALES, SFREQ, CONFIG.f_min, CONFIG.f_max, CONFIG.n_freqs)

    # The default argument keeps the wavelet alive: the library holds a bare pointer to it.
    def run(channels: np.ndarray, _keep: object = morlet) -> np.ndarray:
        rows = np.empty((len(channels), CONFIG.n_freqs, WINDOW_SAMPLES // STRIDE), np.float32)
        output = np.zeros((CONFIG.n_freqs, WINDOW_SAMPLES), np.complex64)
        for row, channel in zip(rows, channels, strict=True):
            transform.cwt(channel, scales, output)
            # Highest frequency first there.
            row[...] = np.abs(output[::-1, ::STRIDE])
        return rows

    return run


def use_ssqueezepy() -> Method:
    """Return ssqueezepy's transform, zero-padded, all channels at once."""
    ssqueezepy = importlib.import_module("ssqueezepy")
    # Scales must rise there, so the highest frequency comes first.
    scales = (CONFIG.w0 * SFREQ / (2 * np.pi * CONFIG.freqs[::-1])).astype(np.float32)
    wavelet = ssqueezepy.Wavelet(("morlet", {"mu": CONFIG.w0, "dtype": "float32"}))

    def run(channels: np.ndarray) -> np.ndarray:
        coefficients = ssqueezepy.cwt(channels, wavelet, scales=scales, fs=SFREQ, padtype="zero")[0]
        return np.abs(coefficients[:, ::-1, ::STRIDE])

    return run


METHODS: dict[str, tuple[Callable[[], Method], int]] = {
    "this project": (use_ours, 15),
    "fCWT": (use_fcwt, 5),
    "ssqueezepy": (use_ssqueezepy, 5),
    "pywt.cwt, fft": (partial(use_pywavelets, "fft"), 5),
    "pywt.cwt, conv": (partial(use_pywavelets, "conv"), 1),
}
"""Name -> (how to make it, runs a round)."""


def measure_errors(found: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Return the worst error over all frames, and over those 10 s from the edges, in units of a row's maximum."""
    gain = (found * truth).sum(axis=(0, 2), keepdims=True) / (found * found).sum(axis=(0, 2), keepdims=True)
    errors = np.abs(found * gain - truth) / truth.max(axis=2, keepdims=True)
    return {"error": float(errors.max()), "inside": float(errors[:, :, 125:-125].max())}


def measure_memory(name: str) -> float:
    """Return how many MB another run of a method lifts this process's peak above what it holds (Linux only)."""
    channels = make_channels()
    run = METHODS[name][0]()
    run(channels)
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    before = psutil.Process().memory_info().rss
    run(channels)
    (peak,) = re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(peak) / 1e3 - before / 1024e3


def main() -> None:
    """Measure and print the table."""
    channels = make_channels()
    truth = closed_form(channels)
    methods: dict[str, Method] = {}
    found: dict[str, dict[str, float]] = {}
    for name, (make, _) in METHODS.items():
        try:
            methods[name] = make()
            found[name] = measure_errors(methods[name](channels).astype(np.float64), truth)
            found[name]["MB"] = in_own_process(measure_memory, name)
        except Exception as error:  # An alternative that is not installed, or broken here.
            methods.pop(name, None)
            print(f"left out: {name}: {type(error).__name__}: {error}".splitlines()[0])
    times: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(ROUNDS):
        for name, run in methods.items():
            times[name] += timeit.repeat(partial(run, channels), number=1, repeat=METHODS[name][1])
    table = pd.DataFrame({name: found[name] for name in methods}).T
    table.insert(0, "ms", pd.Series(times).map(np.median) * 1e3)
    table.insert(1, "ratio", table["ms"] / table["ms"].loc["this project"])
    print(f"\none recording, 18 x 10,000 -> 18 x 40 x 625, one thread, median of {ROUNDS} rounds")
    formats = {"ms": "{:.2f}", "ratio": "{:.1f}", "MB": "{:.0f}", "error": "{:.1e}", "inside": "{:.1e}"}
    print(table.sort_values("ms").to_string(formatters={name: text.format for name, text in formats.items()}))


if __name__ == "__main__":
    main()
