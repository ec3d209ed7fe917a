"""What the page of the report is filled with: pictures and tables by name, and facts for its text."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

from kernel.files import replacing

PNG_DPI = 200


@dataclass
class Content:
    """What `report.html.j2` is rendered with; pictures and tables are also written as files of their names."""

    pictures: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Of each the `source`, a `data:` address, its `width` and `height` in CSS pixels; `label` begins its alt text."""
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    findings: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    """What is written beside the page."""

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
        self.pictures[name] = {"label": figure.get_label(), "source": source, "width": width, "height": height}
        self.files[f"figures/{name}.png"] = png.getvalue()
        if table is not None:
            self.tables[name] = table

    def write(self, folder: Path) -> None:
        """Write the files and the tables, each whole or not at all; then remove what an earlier report left."""
        tables = {f"tables/{name}.csv": table.to_csv().encode() for name, table in self.tables.items()}
        files = {folder / name: content for name, content in (self.files | tables).items()}
        for path, content in files.items():
            write_whole(path, content)
        for old in {*folder.glob("figures/*.png"), *folder.glob("tables/*.csv")} - files.keys():
            old.unlink()


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        part.write_bytes(content)
