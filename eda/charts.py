"""The few forms of chart that the report uses, each drawn from plain sequences. Called by the sections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from eda.style import CLASS_COLOURS, INK, MATRIX_COLOURS, SOFT, new_figure, number, percent
from kernel.constants import CLASS_NAMES

Values = Sequence[float] | np.ndarray

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""What a box shows."""

ROW_HEIGHT = 0.27
"""Inches of a horizontal bar with its label."""


def _percent_axis(axis: Any) -> None:
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}%"))
    axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))


def draw_class_panels(panels: Sequence[tuple[str, Values]], xlabel: str) -> Figure:
    """Draw one value per class in panels one under another, on one axis: the same classes, seen several ways."""
    figure = new_figure(0.55 + len(panels) * (0.32 + 0.21 * len(CLASS_NAMES)))
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    largest = max(max(values) for _, values in panels)
    for axes, (title, values) in zip(grid, panels, strict=True):
        bars = axes.barh(range(6), values, color=list(CLASS_COLOURS.values()), height=0.76)
        axes.bar_label(bars, [percent(value) for value in values], padding=3, color=INK)
        axes.set_yticks(range(6), CLASS_NAMES)
        _title(axes, title)
        axes.set_xlim(0, max(largest, 1e-9) * 1.18)
        axes.invert_yaxis()
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
    _percent_axis(grid[-1].xaxis)
    grid[-1].set_xlabel(xlabel)
    return figure


def draw_columns(
    labels: Sequence[str],
    series: Sequence[tuple[str, Values, str]],
    xlabel: str,
    ylabel: str,
    shares: bool = True,
    every: int = 1,
    stacked: bool = False,
) -> Figure:
    """Draw vertical columns, a colour a series, side by side unless `stacked`; every `every`-th is labelled."""
    figure = new_figure(2.6)
    axes = figure.subplots()
    width = 0.84 / (1 if stacked else len(series))
    for index, (name, values, colour) in enumerate(series):
        # Stacked series never share a column here: one of them is zero.
        where = np.arange(len(labels)) + (0 if stacked else (index - (len(series) - 1) / 2) * width)
        axes.bar(where, values, width * 0.96, color=colour, label=name)
    axes.set_xticks(range(0, len(labels), every), labels[::every])
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.tick_params(axis="x", length=0, labelrotation=40 if max(map(len, labels)) > 4 else 0)
    axes.grid(axis="y")
    if shares:
        _percent_axis(axes.yaxis)
    else:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    _legend(axes, len(series))
    return figure


def _legend(axes: Axes, n_series: int, columns: int = 2) -> None:
    if n_series > 1:
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(0, 1),
            ncols=columns,
            borderaxespad=0.2,
            handlelength=1.0,
            handletextpad=0.4,
            columnspacing=0.9,
        )


def draw_stacks(
    labels: Sequence[str], parts: Sequence[tuple[str, Values, str]], xlabel: str, columns: int = 2, whole: bool = True
) -> Figure:
    """Draw horizontal stacks, which add up to one where they are `whole`; large parts carry their share."""
    figure = new_figure(0.95 + 0.2 * -(-len(parts) // columns) + (ROW_HEIGHT + 0.06) * len(labels))
    axes = figure.subplots()
    begin = np.zeros(len(labels))
    for name, values, colour in parts:
        bars = axes.barh(range(len(labels)), values, left=begin, color=colour, height=0.76, label=name)
        bars_ink = "white" if _is_dark(colour) else INK
        if whole:
            texts = [percent(v) if v >= 0.07 else "" for v in values]
            axes.bar_label(bars, texts, label_type="center", color=bars_ink, fontsize=7.5)
        begin = begin + np.asarray(values)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set(xlabel=xlabel, xlim=(0, 1.0 if whole else max(1.05 * begin.max(), 0.001)))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    _percent_axis(axes.xaxis)
    _legend(axes, len(parts), columns)
    return figure


def _is_dark(colour: str) -> bool:
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue < 0.52


def draw_matrices(
    panels: Sequence[tuple[str, np.ndarray]],
    labels: Sequence[str],
    xlabel: str,
    ylabel: str,
    colours: str = MATRIX_COLOURS,
    limits: tuple[float, float] = (0, 1),
    digits: int = 2,
) -> Figure:
    """Draw square matrices one under another, their numbers written in them; NaN stays empty."""
    figure = new_figure(3.05 * len(panels) + 0.25)
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (title, values) in zip(grid, panels, strict=True):
        image = axes.imshow(values, cmap=colours, vmin=limits[0], vmax=limits[1], aspect="auto")
        for row, column in np.ndindex(values.shape):
            if np.isnan(values[row, column]):
                continue
            red, green, blue, _ = image.cmap(image.norm(values[row, column]))
            ink = "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else INK
            text = number(values[row, column], digits)
            axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=8)
        axes.set_xticks(range(len(labels)), labels)
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylabel(ylabel)
        _title(axes, title)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    grid[-1].set_xlabel(xlabel)
    return figure


def draw_boxes(
    panels: Sequence[tuple[str, Sequence[tuple[str, np.ndarray, str]]]],
    xlabel: str,
    log: bool = False,
    share: bool = False,
) -> Figure:
    """Draw the `QUANTILES` of groups (name, values, colour) as horizontal boxes, their sizes beside the names."""
    heights = [0.3 * len(groups) + 0.25 * bool(title) for title, groups in panels]
    figure = new_figure(0.55 + sum(heights))
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (title, groups) in zip(grid, panels, strict=True):
        _draw_box_panel(axes, groups)
        _title(axes, title)
    axes = grid[-1]
    axes.set_xlabel(xlabel)
    if share:
        _percent_axis(axes.xaxis)
    if log:
        axes.set_xscale("log")
        low, high = axes.get_xlim()
        steps = (1, 2, 5) if high / low < 300 else (1,)
        axes.xaxis.set_major_locator(LogLocator(subs=steps))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
    return figure


def _draw_box_panel(axes: Axes, groups: Sequence[tuple[str, np.ndarray, str]]) -> None:
    stats: list[dict[str, Any]] = []
    for _, values, _ in groups:
        low, first, median, third, high = np.quantile(values, QUANTILES) if len(values) else [np.nan] * 5
        stats.append({"med": median, "q1": first, "q3": third, "whislo": low, "whishi": high, "fliers": []})
    boxes = axes.bxp(
        stats, orientation="horizontal", showfliers=False, patch_artist=True, widths=0.66, capwidths=0,
        medianprops={"color": INK, "linewidth": 1.6}, whiskerprops={"color": SOFT}, positions=range(len(groups)),
    )  # fmt: skip
    for box, (_, _, colour) in zip(boxes["boxes"], groups, strict=True):
        # An edge of its own colour keeps a box visible whose quartiles coincide.
        box.set(facecolor=colour, edgecolor=colour)
    axes.set_yticks(range(len(groups)), [f"{name}  n = {len(values):,}" for name, values, _ in groups])
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")


def _title(axes: Axes, title: str) -> None:
    if title:
        axes.set_title(title, loc="left", fontsize=9, fontweight="bold")


def draw_spectra(freqs: np.ndarray, log_powers: dict[str, np.ndarray], colours: dict[str, str]) -> Figure:
    """Draw log10 power against frequency, one line a name, the mains' frequencies dotted."""
    figure = new_figure(2.9)
    axes = figure.subplots()
    for hertz in (50, 60):
        axes.axvline(hertz, color=SOFT, linewidth=0.7, linestyle=":")
    for name, power in log_powers.items():
        axes.plot(freqs, 10**power, color=colours[name], label=name, linewidth=1.5)
    axes.set(xscale="log", yscale="log", xlim=(0.5, 70), xlabel="frequency, Hz", ylabel="power, µV²/Hz")
    seen = (freqs >= 0.5) & (freqs <= 45)
    axes.set_ylim(bottom=10 ** min(power[seen].min() for power in log_powers.values()) / 3)
    axes.set_xticks([0.5, 1, 2, 5, 10, 20, 50], ["0.5", "1", "2", "5", "10", "20", "50"])
    axes.minorticks_off()
    axes.grid()
    _legend(axes, len(log_powers), 6)
    return figure
