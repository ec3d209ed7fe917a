"""The few forms of chart that the report uses, each drawn from a table or from panels of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from eda.style import CLASS_COLOURS, INK, MATRIX_COLOURS, SOFT, ink_on, new_figure, number, percent

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""What a box shows."""

ROW_HEIGHT = 0.27
"""Inches of a horizontal bar with its label."""

DASHES = ("-", (0, (5, 1)), "-", (0, (3, 1, 1, 1)), (0, (2, 1)), (0, (1, 1)))
"""Lines of the classes in a spectrum, so that colour is not the only difference."""

Groups = Mapping[str, np.ndarray]


def draw_class_panels(frame: pd.DataFrame, xlabel: str) -> Figure:
    """Draw the shares of the classes (rows), a panel a column, one under another on one axis."""
    figure = new_figure(0.55 + frame.shape[1] * (0.32 + 0.21 * len(frame)))
    figure.set_label("Bar chart")
    grid = figure.subplots(frame.shape[1], 1, sharex=True, squeeze=False)[:, 0]
    for axes, (title, values) in zip(grid, frame.items(), strict=True):
        bars = axes.barh(list(frame.index), values, color=[CLASS_COLOURS[name] for name in frame.index], height=0.76)
        axes.bar_label(bars, [percent(value) for value in values], padding=3, color=INK)
        axes.set_title(title)
        axes.set_xlim(0, max(frame.to_numpy().max(), 1e-9) * 1.18)
        axes.invert_yaxis()
        _lie_down(axes)
    _percent_axis(grid[-1].xaxis)
    grid[-1].set_xlabel(xlabel)
    return figure


def draw_columns(
    frame: pd.DataFrame,
    colours: Sequence[str],
    xlabel: str,
    ylabel: str,
    *,
    shares: bool = True,
    every: int = 1,
    stacked: bool = False,
) -> Figure:
    """Draw a table as columns, a colour a series; every `every`-th label of the index is written."""
    figure = new_figure(2.6)
    figure.set_label("Column chart")
    axes = figure.subplots()
    frame.plot.bar(ax=axes, color=list(colours), width=0.84, stacked=stacked, legend=False)
    labels = [str(label) for label in frame.index]
    rotation = 40 if max(map(len, labels)) > 4 else 0
    axes.set_xticks(range(0, len(labels), every), labels[::every], rotation=rotation)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y")
    if shares:
        _percent_axis(axes.yaxis)
    else:
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    _legend(axes, frame.shape[1])
    return figure


def draw_stacks(
    frame: pd.DataFrame, colours: Sequence[str], xlabel: str, columns: int = 2, whole: bool = True
) -> Figure:
    """Draw a table's rows as horizontal stacks, which add up to one if `whole`; large parts are labelled."""
    n_rows, n_parts = frame.shape
    figure = new_figure(0.95 + 0.2 * -(-n_parts // columns) + (ROW_HEIGHT + 0.06) * n_rows)
    figure.set_label("Stacked bars")
    axes = figure.subplots()
    frame.plot.barh(ax=axes, color=list(colours), width=0.76, stacked=True, legend=False)
    for bars, colour in zip(axes.containers, colours, strict=False):
        assert isinstance(bars, BarContainer)
        texts = [percent(bar.get_width()) if whole and bar.get_width() >= 0.07 else "" for bar in bars]
        axes.bar_label(bars, texts, label_type="center", color=ink_on(colour), fontsize=7.5)
    axes.set(xlabel=xlabel, ylabel="", ylim=(n_rows - 0.4, -0.6))
    axes.set_xlim(0, 1.0 if whole else max(1.05 * frame.sum(axis=1).max(), 0.001))
    _lie_down(axes, grid=False)
    _percent_axis(axes.xaxis)
    _legend(axes, n_parts, columns)
    return figure


def draw_matrices(
    panels: Mapping[str, pd.DataFrame],
    xlabel: str,
    ylabel: str,
    colours: str = MATRIX_COLOURS,
    limits: tuple[float, float] = (0, 1),
    digits: int = 2,
) -> Figure:
    """Draw square tables one under another, their numbers written in them; NaN stays empty."""
    figure = new_figure(3.05 * len(panels) + 0.25)
    figure.set_label("Matrix")
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (title, frame) in zip(grid, panels.items(), strict=True):
        values = frame.to_numpy()
        image = axes.imshow(values, cmap=colours, vmin=limits[0], vmax=limits[1], aspect="auto")
        for row, column in np.argwhere(~np.isnan(values)):
            value = values[row, column]
            ink = ink_on(image.cmap(image.norm(value)))
            axes.text(column, row, number(value, digits), ha="center", va="center", color=ink, fontsize=8)
        axes.set_xticks(range(frame.shape[1]), frame.columns)
        axes.set_yticks(range(len(frame)), frame.index)
        axes.set(ylabel=ylabel, title=title)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    grid[-1].set_xlabel(xlabel)
    return figure


def draw_boxes(panels: Mapping[str, Groups], xlabel: str, log: bool = False, share: bool = False) -> Figure:
    """Draw the `QUANTILES` of each class's values as horizontal boxes, their sizes beside the names."""
    heights = [0.3 * len(groups) + 0.25 * bool(title) for title, groups in panels.items()]
    figure = new_figure(0.55 + sum(heights))
    figure.set_label("Box chart")
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axes, (title, groups) in zip(grid, panels.items(), strict=True):
        _draw_box_panel(axes, groups)
        axes.set_title(title)
    axes = grid[-1]
    axes.set_xlabel(xlabel)
    if share:
        _percent_axis(axes.xaxis)
    if log:
        axes.set_xscale("log")
        low, high = axes.get_xlim()
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 300 else (1,)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
    return figure


def quantiles(values: np.ndarray) -> np.ndarray:
    """Return the `QUANTILES` of values, NaN where there are none."""
    return np.quantile(values, QUANTILES) if len(values) else np.full(len(QUANTILES), np.nan)


def _draw_box_panel(axes: Axes, groups: Groups) -> None:
    names = ("whislo", "q1", "med", "q3", "whishi")
    stats = [{**dict(zip(names, quantiles(values), strict=True)), "fliers": []} for values in groups.values()]
    boxes = axes.bxp(
        stats, orientation="horizontal", showfliers=False, patch_artist=True, widths=0.66, capwidths=0,
        medianprops={"color": INK, "linewidth": 1.6}, whiskerprops={"color": SOFT}, positions=range(len(groups)),
    )  # fmt: skip
    for box, name in zip(boxes["boxes"], groups, strict=True):
        # An edge of its own colour keeps a box visible whose quartiles coincide.
        box.set(facecolor=CLASS_COLOURS[name], edgecolor=CLASS_COLOURS[name])
    axes.set_yticks(range(len(groups)), [f"{name}  n = {len(values):,}" for name, values in groups.items()])
    axes.invert_yaxis()
    _lie_down(axes)


def draw_spectra(frame: pd.DataFrame) -> Figure:
    """Draw power (uV^2 / Hz) against the frequencies of the index, one line a class, the mains' frequencies dotted."""
    figure = new_figure(2.9)
    figure.set_label("Line chart")
    axes = figure.subplots()
    for hertz in (50, 60):
        axes.axvline(hertz, color=SOFT, linewidth=0.7, linestyle=":")
    for (name, colour), dashes in zip(CLASS_COLOURS.items(), DASHES, strict=True):
        if name in frame:
            axes.plot(frame.index, frame[name], color=colour, linestyle=dashes, label=name, linewidth=1.6)
    axes.set(xscale="log", yscale="log", xlim=(0.5, 70), xlabel="frequency, Hz", ylabel="power, µV²/Hz")
    axes.set_ylim(bottom=frame.loc[0.5:45].to_numpy().min() / 3)
    axes.set_xticks([0.5, 1, 2, 5, 10, 20, 50], ["0.5", "1", "2", "5", "10", "20", "50"])
    axes.minorticks_off()
    axes.grid()
    _legend(axes, frame.shape[1], 3)
    return figure


def _percent_axis(axis: Axis) -> None:
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}%"))
    axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))


def _lie_down(axes: Axes, grid: bool = True) -> None:
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(visible=grid, axis="x")


def _legend(axes: Axes, n_series: int, columns: int = 2) -> None:
    if n_series > 1:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns)
