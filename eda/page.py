"""One window as a neurologist reads it: the clinical page of 18 channels, and the scalogram of each beside it.

The one definition of a clinical page: its filter, its gain, its order of channels.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import LogLocator
from scipy.signal import butter, sosfiltfilt

from eda.style import INK, MARK, MICROVOLT_COLOURS, SOFT
from kernel.constants import LABEL_SECONDS, SFREQ, WINDOW_SECONDS
from kernel.montage import CHAINS, CHANNELS
from kernel.scalogram import ScalogramConfig

CHAIN_NAMES = {
    "LL": "left temporal",
    "LP": "left parasagittal",
    "midline": "midline",
    "RP": "right parasagittal",
    "RL": "right temporal",
}
"""The chains from the left ear to the right one, as pages are read."""

DISPLAY_HZ = (0.5, 40.0)
"""The band that is drawn: the scalogram's."""

GAINS = (20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1000, 2000)
"""Microvolts between two traces; the smallest that most of the signal fits into is taken."""

CHAIN_GAP = 0.55
"""Space between two chains, in traces."""

REACH = 1.3
"""How far a trace may leave its line, in traces; what goes further is cut off, so as not to cover its neighbours."""


def chain_rows(chain: str) -> list[int]:
    """Return the rows of `CHANNELS` that form a chain, front to back."""
    return [CHANNELS.index(f"{a}-{b}") for a, b in itertools.pairwise(CHAINS[chain])]


def choose_gain(channels: np.ndarray) -> int:
    """Choose the microvolts between two traces of (n_channels, n_times): so that most channels fit most of the time."""
    # Not the extremes: one movement would flatten the whole page.
    spread = 1.4 * np.ptp(np.quantile(channels, (0.05, 0.95), axis=1), axis=0)
    alive = spread[spread > 1]
    wanted = np.quantile(alive, 0.7) if len(alive) else 0
    return next((gain for gain in GAINS if gain >= wanted), GAINS[-1])


def filter_for_display(channels: np.ndarray) -> np.ndarray:
    """Band-pass (n_channels, n_times) to `DISPLAY_HZ` without phase shift, third-order Butterworth, microvolts."""
    sections = butter(3, DISPLAY_HZ, "bandpass", fs=SFREQ, output="sos")
    return sosfiltfilt(sections, channels, axis=1)


def draw_page(figure: Figure | SubFigure, channels: np.ndarray, seconds: tuple[float, float] = (0, 50)) -> None:
    """Draw `seconds` of a window's repaired channels (18, 10000) as a clinical page, the labelled 10 s marked."""
    first, last = (int(s * SFREQ) for s in seconds)
    axes = figure.subplots()
    axes.axvspan(*LABEL_SECONDS, color=MARK, linewidth=0)
    draw_traces(axes, filter_for_display(channels)[:, first:last], seconds[0])
    axes.set_xlabel("seconds of the window")
    axes.text(
        sum(LABEL_SECONDS) / 2, 1.005, "labelled by the experts", transform=axes.get_xaxis_transform(),
        ha="center", va="bottom", fontsize=7.5, color=SOFT,
    )  # fmt: skip


def draw_traces(axes: Axes, shown: np.ndarray, start: float = 0) -> None:
    """Draw filtered channels (18, n_times), microvolts, `start` seconds after the window's first sample.

    Chains from left to right, negative up, at the gain of `choose_gain`. Whatever is written lies outside the traces:
    channels left, chains right, the scale above.
    """
    times = start + np.arange(shown.shape[1]) / SFREQ
    end = start + shown.shape[1] / SFREQ
    gain = choose_gain(shown)
    level, places = 0.0, {}
    for chain, name in CHAIN_NAMES.items():
        rows = chain_rows(chain)
        axes.annotate(
            name, (1, level + (len(rows) - 1) / 2), (4, 0), xycoords=("axes fraction", "data"),
            textcoords="offset points", rotation=270, ha="left", va="center", fontsize=7, color=SOFT,
        )  # fmt: skip
        for row in rows:
            trace = np.clip(shown[row] / gain, -REACH, REACH)  # the axis points down: negative is up
            axes.plot(times, level + trace, color=INK, linewidth=0.5, solid_joinstyle="round")
            places[CHANNELS[row]] = level
            level += 1
        level += CHAIN_GAP
    axes.set_yticks(list(places.values()), list(places))
    axes.set(xlim=(start, end), ylim=(level - 1 - CHAIN_GAP + REACH, -REACH - 1.2))
    axes.tick_params(axis="y", length=0, labelsize=7.5)
    axes.spines["left"].set_visible(False)
    ticks = np.arange(np.ceil(start), end + 1e-9, 1 if end - start <= 20 else 5)
    axes.set_xticks(ticks, [f"{t:g}" if t % 5 == 0 else "" for t in ticks])
    axes.grid(axis="x")
    axes.plot([end, end], [-REACH - 0.1, -REACH - 1.1], color=INK, linewidth=2.2, solid_capstyle="butt", clip_on=False)
    axes.annotate(
        f"{gain} µV", (end, -REACH - 0.6), (-5, 0), textcoords="offset points", ha="right", va="center", fontsize=7.5
    )


def cone_of_influence(config: ScalogramConfig) -> np.ndarray:
    """Return how far, in seconds, an edge of the window reaches into each row of the scalogram: shape (n_freqs,).

    The e-folding time sqrt(2) s of the Morlet wavelet (Torrence & Compo 1998, table 1), s = w0 / (2 pi f).
    """
    return np.sqrt(2) * config.w0 / (2 * np.pi * config.freqs)


def microvolt_limits(magnitudes: list[np.ndarray]) -> tuple[float, float]:
    """Return the limits of the colour scale: what nearly all of the given magnitudes lie between, microvolts."""
    values = np.concatenate([m[:, ::4, ::8].ravel() for m in magnitudes])
    low, high = np.quantile(values, (0.1, 0.998))
    return max(0.5, float(low)), max(5.0, float(high))


def draw_scalograms(
    figure: Figure | SubFigure, magnitude: np.ndarray, config: ScalogramConfig, limits: tuple[float, float]
) -> None:
    """Draw the scalogram of every channel, homologous ones side by side, with the cone of influence and a colour bar.

    `figure` has no layout engine; `magnitude` (18, n_freqs, n_frames) is `kernel.scalogram.build_magnitude` of the
    window with `config`, in microvolts; `limits` are the ends of the colour scale, microvolts.
    """
    # Placed by hand, in inches: constrained layout takes seconds over 18 panels that all have the same labels.
    width, height = figure.bbox.width / figure.dpi, figure.bbox.height / figure.dpi
    place = {"left": 0.42 / width, "right": 1 - 0.1 / width, "bottom": 0.42 / height, "top": 1 - 0.62 / height}
    spacing = {**place, "hspace": 0.52, "wspace": 0.1}
    grid = figure.subplots(len(CHANNELS) // 2, 2, sharex=True, sharey=True, gridspec_kw=spacing)
    image: Any = None
    seconds = magnitude.shape[2] * config.stride / SFREQ
    # Rows are drawn at equal heights, which is the frequency axis whatever the spacing once its ticks are placed.
    rows = np.arange(config.n_freqs)
    reach = cone_of_influence(config)
    for axes, name, one in zip(grid.flat, CHANNELS, magnitude, strict=True):
        image = axes.imshow(
            np.maximum(one, 1e-3), norm=LogNorm(*limits), cmap=MICROVOLT_COLOURS, aspect="auto", origin="lower",
            extent=(0, seconds, -0.5, config.n_freqs - 0.5),
        )  # fmt: skip
        for edge, inwards in ((0.0, reach), (WINDOW_SECONDS, -reach)):
            axes.fill_betweenx(rows, edge, edge + inwards, color="white", alpha=0.55, linewidth=0)
            axes.plot(edge + inwards, rows, color="white", linewidth=0.8)
        for second in LABEL_SECONDS:
            axes.axvline(second, color="white", linewidth=0.8, linestyle=(0, (3, 2)))
        axes.set_title(name, fontsize=7.5, fontweight="normal", loc="left", pad=1.5)
        axes.set(xlim=(0, WINDOW_SECONDS), ylim=(-0.5, config.n_freqs - 0.5))
        axes.tick_params(labelsize=7, length=2, pad=1.5)
        axes.spines[:].set_visible(False)
    hertz = [f for f in (1, 4, 16) if config.f_min < f < config.f_max]
    grid.flat[0].set_yticks(np.interp(hertz, config.freqs, rows), hertz)
    grid.flat[0].set_xticks(range(0, WINDOW_SECONDS + 1, 10))
    figure.text((place["left"] + place["right"]) / 2, 0.05 / height, "seconds of the window", ha="center")
    middle = (place["bottom"] + place["top"]) / 2
    figure.text(0.03 / width, middle, "frequency, Hz", va="center", rotation=90)
    bar_axes = figure.add_axes((place["left"], 1 - 0.36 / height, place["right"] - place["left"], 0.09 / height))
    steps = LogLocator(subs=(1, 2, 5))
    bar = figure.colorbar(image, cax=bar_axes, location="top", ticks=steps, format="{x:g} µV")
    bar.ax.minorticks_off()
    bar.ax.tick_params(labelsize=7.5, length=2, pad=1)
