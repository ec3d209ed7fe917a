"""How every picture and the page look: one colour for a class everywhere, one type size, one format for numbers.

Called by the charts, the clinical page, the report and `build.py show`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import matplotlib as mpl
from matplotlib.figure import Figure

from kernel.constants import CLASS_NAMES

CLASS_COLOURS = dict(
    zip(CLASS_NAMES, ("#D55E00", "#0072B2", "#56B4E9", "#00795A", "#E6B000", "#8C8C8C"), strict=True),
)
"""After Okabe and Ito's palette, which people with any form of colour blindness can tell apart: the periodic patterns
are blue, the lateralised ones the darker of a pair, and "other" is grey. A test measures the distances."""

POPULATION_COLOURS = ("#B8860B", "#332288")
"""Rows with few votes, rows with many."""

INK, SOFT, GRID, MARK = "#1F2430", "#5A6372", "#DDE1E7", "#FFF1C9"
"""Text and traces; secondary text; lines to read along; the 10 s that the experts labelled."""

MATRIX_COLOURS = "Blues"
DIVERGING_COLOURS = "PuOr"
MICROVOLT_COLOURS = "viridis"
"""Colour maps whose lightness carries the value, so that they survive colour blindness and a grey printer."""

CARD_WIDTH = 4.15
"""Inches of a chart: 400 CSS pixels, what a phone shows, so its type is read there at the size it was drawn."""

_TYPE = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.labelsize": 8.5,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": SOFT,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "eda",  # the same data, the same bytes
}


@contextmanager
def drawing() -> Iterator[None]:
    """Draw in the project's style inside the block."""
    with mpl.rc_context(_TYPE):
        yield


def new_figure(height: float, layout: Literal["constrained"] | None = "constrained") -> Figure:
    """Return an empty figure of a card's width, its parts laid out so that no label is cut off, or by their drawer."""
    return Figure(figsize=(CARD_WIDTH, height), layout=layout)


def number(value: float, digits: int = 0) -> str:
    """Write a number with thin groups of thousands, as `106,800` or `0.42`."""
    return f"{value:,.{digits}f}"


def percent(share: float) -> str:
    """Write a share so that small is not mistaken for none and most not for all."""
    if 0 < share < 0.001:
        return "<0.1%"
    if 0.999 < share < 1:
        return ">99.9%"
    return f"{100 * share:.{1 if 0 < share < 0.1 or 0.99 < share < 1 else 0}f}%"


def count(value: int, noun: str, plural: str | None = None) -> str:
    """Write `1 row`, `2 rows`, `3 recordings have`."""
    return f"{value:,} {noun if value == 1 else plural or noun + 's'}"
