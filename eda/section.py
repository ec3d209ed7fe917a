"""What the report is made of: sections of text, pictures with their alt text, tables, examples, and remarks."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field

import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

PNG_DPI = 200


@dataclass(frozen=True)
class Picture:
    """One picture: `source` is the `data:` address in the HTML, `png` the file beside it, sizes are CSS pixels."""

    name: str
    title: str
    alt: str
    caption: str
    source: str
    png: bytes
    width: int
    height: int


@dataclass(frozen=True)
class Table:
    """One table: `frame` is written as `name`.csv, `shown` is on the page, if anything is."""

    name: str
    title: str
    frame: pd.DataFrame
    shown: pd.DataFrame | None = None
    caption: str = ""


@dataclass(frozen=True)
class Example:
    """One labelled window: its class, what it is, the votes of each class, and its two pictures."""

    name: str
    class_name: str
    title: str
    note: str
    votes: dict[str, int]
    pictures: list[Picture]


@dataclass(frozen=True)
class Remark:
    """What a reader should know before training; `act` where there is something to do, which `advice` says."""

    act: bool
    title: str
    found: str
    advice: str = ""


@dataclass
class Section:
    """One part of the page, in the order in which it is read."""

    name: str
    title: str
    text: list[str] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)

    def add(self, name: str, title: str, figure: Figure, caption: str, frame: pd.DataFrame | None = None) -> None:
        """Add a chart and the table of its numbers; the alt text is the title, the figure's label and the caption."""
        self.pictures.append(render(figure, name, title, f"{title}. {figure.get_label()} {caption}", caption))
        if frame is not None:
            self.tables.append(Table(name, title, frame))


def render(figure: Figure, name: str, title: str, alt: str, caption: str = "", pixels: bool = False) -> Picture:
    """Render a figure for the page, as SVG or, if it is EEG with too many points for that, in pixels, and as PNG."""
    png, page = io.BytesIO(), io.BytesIO()
    figure.savefig(png, format="png", dpi=PNG_DPI, metadata={"Title": title, "Description": alt})
    if pixels:
        Image.open(png).convert("RGB").save(page, "webp", quality=82, method=4)
    else:
        figure.savefig(page, format="svg", metadata={"Title": title, "Date": None})
    kind = "webp" if pixels else "svg+xml"
    source = f"data:image/{kind};base64,{base64.b64encode(page.getvalue()).decode()}"
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    return Picture(name, title, alt, caption, source, png.getvalue(), width, height)
