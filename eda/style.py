"""How every picture and the page look: one colour for a class everywhere, one type size, one format for numbers."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Literal

import matplotlib as mpl
from matplotlib.figure import Figure

from kernel.constants import CLASS_NAMES

CLASS_COLOURS = dict(
    zip(CLASS_NAMES, ("#DC4004", "#2F2C66", "#4D96E9", "#195B35", "#EDD33F", "#AAACAD"), strict=True),
)
"""Found by a search: any two are as far apart as possible to normal eyes, to eyes without red, green or blue cones, and
in lightness, which a grey printer keeps. A test measures all of it."""

RAMP = ("#12355B", "#3572A5", "#86B5DB", "#E3E6EB")
"""Parts of a whole, from dark to light."""

PAIR = ("#332288", "#C9A227")
"""Two series side by side."""

INK, SOFT, GRID, MARK = "#1F2430", "#5A6372", "#DDE1E7", "#FFF1C9"
"""Text and traces; secondary text; lines to read along; the 10 s that the experts labelled."""

MATRIX_COLOURS = "Blues"
DIVERGING_COLOURS = "PuOr"
MICROVOLT_COLOURS = "viridis"
"""Colour maps whose lightness carries the value."""

CARD_WIDTH = 4.15
"""Inches of a chart: 400 CSS pixels, what a phone shows, so its type is read there at the size it was drawn."""

_TYPE = {
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
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
    "legend.borderaxespad": 0.2,
    "legend.handlelength": 1.4,
    "legend.handletextpad": 0.4,
    "legend.columnspacing": 0.9,
    "svg.hashsalt": "eda",  # the same data, the same bytes
}


def drawing() -> AbstractContextManager[None]:
    """Draw in the project's style inside the block."""
    return mpl.rc_context(_TYPE)


def new_figure(height: float, label: str = "", layout: Literal["constrained"] | None = "constrained") -> Figure:
    """Return an empty figure of a card's width; with constrained layout no label is cut off."""
    return Figure(figsize=(CARD_WIDTH, height), layout=layout, label=label)


def ink_on(colour: object) -> str:
    """Return the colour of text that is read on a background of `colour`."""
    red, green, blue = mpl.colors.to_rgb(colour)  # type: ignore[arg-type]
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else INK


def number(value: float, digits: int = 0) -> str:
    """Write a number with groups of thousands, as `106,800` or `0.42`."""
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
