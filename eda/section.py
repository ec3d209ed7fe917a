"""What the report is made of: sections of text, pictures with their alt text, tables, examples, and remarks."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field

import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

PNG_DPI = 200
MIME = {"svg": "image/svg+xml", "webp": "image/webp"}


@dataclass(frozen=True)
class Picture:
    """One picture: `page` is what the HTML embeds (SVG, or WebP where it is pixels), `png` the file beside it."""

    name: str
    title: str
    alt: str
    caption: str
    page: bytes
    png: bytes
    kind: str
    width: int
    height: int

    @property
    def source(self) -> str:
        """The picture as a `data:` address, so that the page needs no other file."""
        return f"data:{MIME[self.kind]};base64,{base64.b64encode(self.page).decode()}"


@dataclass(frozen=True)
class Table:
    """One table, written as `name`.csv; `shown` has its cells as text for the page, None for the file alone."""

    name: str
    title: str
    frame: pd.DataFrame
    shown: pd.DataFrame | None = None
    caption: str = ""


@dataclass(frozen=True)
class Example:
    """One labelled window: its class, what it is, its votes as (class, count), and its two pictures."""

    name: str
    class_name: str
    title: str
    note: str
    votes: list[tuple[str, int]]
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

    def add(
        self, name: str, title: str, figure: Figure, caption: str, frame: pd.DataFrame | None = None, details: str = ""
    ) -> None:
        """Add a chart and the table of its numbers; the alt text is the figure's label, the caption and `details`."""
        alt = f"{figure.get_label()}: {title[:1].lower()}{title[1:]}. {details} {caption}".replace("  ", " ")
        self.pictures.append(render(figure, name, title, alt, caption))
        if frame is not None:
            self.tables.append(Table(name, title, frame))


def render(figure: Figure, name: str, title: str, alt: str, caption: str = "", kind: str = "svg") -> Picture:
    """Render a figure once for the page and once as PNG; lines of text stay vectors, EEG becomes pixels."""
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=PNG_DPI, metadata={"Title": title, "Description": alt})
    page = io.BytesIO()
    if kind == "svg":
        figure.savefig(page, format="svg", metadata={"Title": title, "Date": None})
    else:
        Image.open(io.BytesIO(png.getvalue())).convert("RGB").save(page, "webp", quality=82, method=4)
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    return Picture(name, title, alt, caption, page.getvalue(), png.getvalue(), kind, width, height)
