"""What the page of the report is filled with: pictures and tables by name, and facts for its text."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

PNG_DPI = 200


@dataclass(frozen=True)
class Picture:
    """A rendered figure: its `data:` address, the PNG beside the page, CSS pixels; `label` begins its alt text."""

    label: str
    source: str
    png: bytes
    width: int
    height: int


@dataclass
class Content:
    """What `report.html.j2` is rendered with; pictures and tables are also written as files of their names."""

    pictures: dict[str, Picture] = field(default_factory=dict)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    findings: list[dict[str, Any]] = field(default_factory=list)

    def add_finding(self, title: str, advice: str = "", act: bool = False, *, caller: Callable[[], Markup]) -> str:
        """Take a finding from the template: `act` where there is something to do, which `advice` says."""
        found, advice = (" ".join(Markup(text).unescape().split()) for text in (caller(), advice))
        self.findings.append({"act": act, "title": title, "found": found, "advice": advice})
        return ""

    def draw(self, name: str, figure: Figure, table: pd.DataFrame | None = None, *, pixels: bool = False) -> None:
        """Render a figure as SVG or, if it is EEG with too many points for that, in pixels, and as PNG."""
        png, page = io.BytesIO(), io.BytesIO()
        figure.savefig(png, format="png", dpi=PNG_DPI, metadata={"Title": name})
        if pixels:
            Image.open(png).convert("RGB").save(page, "webp", quality=82, method=4)
        else:
            figure.savefig(page, format="svg", metadata={"Title": name, "Date": None})
        kind = "webp" if pixels else "svg+xml"
        source = f"data:image/{kind};base64,{base64.b64encode(page.getvalue()).decode()}"
        width, height = (round(96 * inches) for inches in figure.get_size_inches())
        self.pictures[name] = Picture(str(figure.get_label()), source, png.getvalue(), width, height)
        if table is not None:
            self.tables[name] = table
