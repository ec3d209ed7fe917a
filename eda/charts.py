"""The few forms of chart that the report uses, each drawn from a table or from panels of one.

A figure's label says in words what kind of chart it is and, where they are few, its numbers: the start of its alt text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator

from eda.rows import CLASSES
from eda.style import CLASS_COLOURS, INK, MATRIX_COLOURS, SOFT, ink_on, new_figure, number, percent

QUANTILES = {"q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95}
"""What a box shows."""

DASHES = ("-", (0, (5, 1)), "-", (0, (3, 1, 1, 1)), (0, (2, 1)), (0, (1, 1)))
"""Lines of the classes in a spectrum, so that colour is not the only difference."""


def draw_columns(
    frame: pd.DataFrame, colours: Sequence[str], xlabel: str, ylabel: str, *, stacked: bool = False
) -> Figure:
    """Draw a table of counts or shares as columns, a colour a series."""
    figure = new_figure(2.6, "Column chart.")
    axes = figure.subplots()
    frame.plot.bar(ax=axes, color=list(colours), width=0.84, stacked=stacked, legend=False)
    labels = [str(label) for label in frame.index]
    rotation = 40 if max(map(len, labels)) > 4 else 0
    every = 2 if not rotation and sum(map(len, labels)) > 40 else 1
    axes.set_xticks(range(0, len(labels), every), labels[::every], rotation=rotation)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y")
    if pd.api.types.is_integer_dtype(frame.iloc[:, 0]):
        axes.yaxis.set_major_formatter("{x:,.0f}")
    else:
        _show_percent(axes.yaxis)
    _add_legend(axes, frame.shape[1])
    return figure


def draw_stacks(
    frame: pd.DataFrame, colours: Iterable[str], xlabel: str, columns: int = 2, whole: bool = True
) -> Figure:
    """Draw a table's rows as horizontal stacks; if `whole`, they add up to one and their numbers are said."""
    n_rows, n_parts = frame.shape
    said = (f"{row}: {', '.join(f'{n} {percent(v)}' for n, v in parts.items())}" for row, parts in frame.iterrows())
    height = 0.95 + 0.2 * -(-n_parts // columns) + 0.33 * n_rows
    figure = new_figure(height, f"Stacked bars. {'; '.join(said) if whole else ''}")
    axes = figure.subplots()
    stack_bars(axes, frame, colours, "{share}" if whole else "")
    axes.set(xlabel=xlabel, xlim=(0, 1.0 if whole else max(1.05 * frame.sum(axis=1).max(), 0.001)))
    _show_percent(axes.xaxis)
    _add_legend(axes, n_parts, columns)
    return figure


def stack_bars(axes: Axes, frame: pd.DataFrame, colours: Iterable[str], label: str) -> None:
    """Draw a table's rows as horizontal stacks; in large parts `label` is written, with their `name` and `share`."""
    parts: list[Any] = list(colours)
    frame.plot.barh(ax=axes, color=parts, width=0.76, stacked=True, legend=False)
    for bars, name, colour in zip(axes.containers, frame.columns, parts, strict=False):
        assert isinstance(bars, BarContainer)
        texts = [label.format(name=name, share=percent(share)) if share >= 0.09 else "" for share in frame[name]]
        axes.bar_label(bars, texts, label_type="center", color=ink_on(colour), fontsize=7.5)
    axes.set(ylabel="", ylim=(len(frame) - 0.4, -0.6))
    _hide_y_axis(axes)


def draw_matrices(
    panels: Mapping[str, pd.DataFrame],
    xlabel: str,
    ylabel: str,
    colours: str = MATRIX_COLOURS,
    limits: tuple[float, float] = (0, 1),
    digits: int = 2,
) -> Figure:
    """Draw square tables one under another, their numbers written in them; NaN stays empty."""
    figure = new_figure(3.05 * len(panels) + 0.25, "Matrix.")
    for axes, frame in _list_panels(figure, panels, xlabel):
        values = frame.to_numpy()
        image = axes.imshow(values, cmap=colours, vmin=limits[0], vmax=limits[1], aspect="auto")
        for row, column in np.argwhere(~np.isnan(values)):
            value = values[row, column]
            ink = ink_on(image.cmap(image.norm(value)))
            axes.text(column, row, number(value, digits), ha="center", va="center", color=ink, fontsize=8)
        axes.set_xticks(range(frame.shape[1]), frame.columns)
        axes.set_yticks(range(len(frame)), frame.index)
        axes.set_ylabel(ylabel)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    return figure


def measure_boxes(values: pd.Series, classes: pd.Series) -> pd.DataFrame:
    """Return the `QUANTILES` (columns) of each class's values and their number `n`; NaN where a class has none."""
    groups = values.groupby(classes.astype(str))
    table = groups.quantile(np.array(list(QUANTILES.values()))).unstack().set_axis(list(QUANTILES), axis=1)
    return table.reindex(CLASSES).assign(n=groups.count().reindex(CLASSES, fill_value=0))


def draw_boxes(panels: Mapping[str, pd.DataFrame], xlabel: str, log: bool = False, share: bool = False) -> Figure:
    """Draw tables of `measure_boxes` as horizontal boxes, one under another."""
    said = []
    for title, table in panels.items():
        medians = ", ".join(f"{name} {value:.3g}" for name, value in table["median"].dropna().items())
        said.append(f"{title.capitalize()} medians: {medians}")
    height = 0.55 + sum(0.3 * len(CLASSES) + 0.25 * bool(title) for title in panels)
    figure = new_figure(height, f"Box chart. {'; '.join(said)}.")
    for axes, table in _list_panels(figure, panels, xlabel):
        stats: Any = table[list(QUANTILES)].set_axis(["whislo", "q1", "med", "q3", "whishi"], axis=1)
        boxes = axes.bxp(
            stats.to_dict("records"), orientation="horizontal", showfliers=False, patch_artist=True, widths=0.66,
            capwidths=0, medianprops={"color": INK, "linewidth": 1.6}, whiskerprops={"color": SOFT},
            positions=range(len(table)),
        )  # fmt: skip
        for box, name in zip(boxes["boxes"], table.index, strict=True):
            # An edge of its own colour keeps a box visible whose quartiles coincide.
            box.set(facecolor=CLASS_COLOURS[name], edgecolor=CLASS_COLOURS[name])
        axes.set_yticks(range(len(table)), [f"{name}  n = {n:,}" for name, n in table["n"].items()])
        axes.invert_yaxis()
        _hide_y_axis(axes)
        axes.grid(axis="x")
    if share:
        _show_percent(axes.xaxis)
    if log:
        axes.set_xscale("log")
        low, high = axes.get_xlim()
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 300 else (1,)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
    return figure


def draw_spectra(frame: pd.DataFrame) -> Figure:
    """Draw power (uV^2 / Hz) against the frequencies of the index, one line a class, the mains' frequencies dotted."""
    figure = new_figure(2.9, "Line chart.")
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
    _add_legend(axes, frame.shape[1], 3)
    return figure


def _list_panels(
    figure: Figure, panels: Mapping[str, pd.DataFrame], xlabel: str
) -> Iterator[tuple[Axes, pd.DataFrame]]:
    """Yield axes one under another, each with the table to draw there and its title above."""
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    grid[-1].set_xlabel(xlabel)
    for axes, (title, table) in zip(grid, panels.items(), strict=True):
        axes.set_title(title.capitalize())
        yield axes, table


def _show_percent(axis: Axis) -> None:
    axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(lambda value, _: f"{100 * value:g}%")


def _hide_y_axis(axes: Axes) -> None:
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _add_legend(axes: Axes, n_series: int, columns: int = 2) -> None:
    if n_series > 1:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns)
