"""Pages of EEG as a reader sees it: 18 channels of the double banana, 10 s, 0.5 to 40 Hz, gain in microvolts.

`build.py simulate --gallery FILE.png` draws simulated pages; with `--compare DIR` one file a class, FILE_seizure.png
and so on, where simulated windows of the same class stand beside each real recording.
"""

from __future__ import annotations

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eda.page import draw_traces
from eda.style import drawing
from kernel.constants import CLASS_NAMES, LABEL_SECONDS
from kernel.files import replacing
from simulator.compare import LABELLED, Voted, compare_recordings, draw_like, read_voted
from simulator.features import read_channels
from simulator.generate import peek_class, simulate_window


def show_gallery(picture: Path | None, real_folders: list[Path] | None, seed: int) -> None:
    """Draw simulated pages, or real ones beside simulated ones with their figures printed."""
    if real_folders:
        real = read_voted(real_folders)
        if picture is not None:
            draw_comparison(picture, real, seed)
        compare_recordings(real)
    elif picture is not None:
        draw_gallery(picture, seed)


def draw_gallery(path: Path, seed: int = 0, each: int = 3) -> None:
    """Draw `each` simulated pages of every class, a row a class, to the PNG file `path`."""
    rows: list[list[tuple[str, Voted]]] = [[] for _ in CLASS_NAMES]
    index = 0
    while any(len(row) < each for row in rows):
        row = rows[peek_class(seed, index)]
        if len(row) < each:
            window = simulate_window(seed, index)
            voted = Voted(str(index), read_channels(window.samples)[:, LABELLED], window.votes)
            row.append((f"simulated {seed}/{index}", voted))
        index += 1
    _draw(path, rows)


def draw_comparison(path: Path, real: list[Voted], seed: int = 0) -> None:
    """Draw every real recording with two simulated ones of the same leading class beside it, a PNG file a class."""
    pages = list(zip(real, draw_like(real, 2, seed), strict=True))
    for c, name in enumerate(CLASS_NAMES):
        rows = [
            [(f"real {r.name}", r), *((f"simulated ({s.name})", s) for s in same)]
            for r, same in pages
            if r.votes.argmax() == c
        ]
        if rows:
            _draw(path.with_stem(f"{path.stem}_{name.lower()}"), rows)


def _draw(path: Path, rows: list[list[tuple[str, Voted]]]) -> None:
    columns = max(len(row) for row in rows)
    with drawing():
        figure = Figure(figsize=(8 * columns, 5.5 * len(rows)), layout="constrained")
        for row, line in zip(rows, figure.subplots(len(rows), columns, squeeze=False), strict=True):
            for (name, voted), axes in zip(row, line, strict=False):
                _draw_window(axes, name, voted)
        with replacing(path) as part:
            figure.savefig(part, dpi=60, format="png")
    print(f"{path}: pages drawn")


def _draw_window(axes: Axes, name: str, voted: Voted) -> None:
    draw_traces(axes, voted.channels, LABEL_SECONDS[0])
    counts = ", ".join(f"{c} {v}" for c, v in zip(CLASS_NAMES, voted.votes, strict=True) if v)
    axes.set_title(f"{name}: {counts}", fontweight="normal")
