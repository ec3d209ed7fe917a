"""Pages of EEG as a reader sees it: 18 channels of the double banana, 10 s, 0.5 to 40 Hz, gain in microvolts.

`build.py simulate --gallery FILE.png` draws simulated pages; with `--compare DIR` one file a class, FILE_seizure.png
and so on, where simulated windows of the same class stand beside each real recording.
"""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from eda.page import draw_traces
from eda.style import drawing
from kernel.constants import CLASS_NAMES, LABEL_SECONDS
from kernel.files import replacing
from simulator.compare import Voted, compare_recordings, draw_like, read_voted
from simulator.generate import peek_class, simulate_window


def show_gallery(picture: Path | None, real_folders: list[Path] | None, seed: int) -> None:
    """Draw simulated pages, or real ones with two simulated ones of the same class beside each, figures printed."""
    if not real_folders:
        if picture is not None:
            draw_rows(picture, draw_classes(seed))
        return
    real = read_voted(real_folders)
    if picture is not None:
        pages = [[("real", one), *(("simulated", s) for s in same)]
                 for one, same in zip(real, draw_like(real, 2, seed), strict=True)]  # fmt: skip
        for c, name in enumerate(CLASS_NAMES):
            rows = [row for row in pages if row[0][1].top == c]
            if rows:
                draw_rows(picture.with_stem(f"{picture.stem}_{name.lower()}"), rows)
    compare_recordings(real)


def draw_classes(seed: int, each: int = 3) -> list[list[tuple[str, Voted]]]:
    """Return `each` simulated windows of every class, a row a class."""
    rows: list[list[tuple[str, Voted]]] = [[] for _ in CLASS_NAMES]
    index = 0
    while any(len(row) < each for row in rows):
        row = rows[peek_class(seed, index)]
        if len(row) < each:
            row.append(("simulated", Voted.from_window(f"{seed}/{index}", simulate_window(seed, index))))
        index += 1
    return rows


def draw_rows(path: Path, rows: list[list[tuple[str, Voted]]]) -> None:
    """Draw rows of pages, each with a word for its title, to the PNG file `path`."""
    columns = max(len(row) for row in rows)
    with drawing(), replacing(path) as part:
        figure = Figure(figsize=(8 * columns, 5.5 * len(rows)), layout="constrained")
        for row, line in zip(rows, figure.subplots(len(rows), columns, squeeze=False), strict=True):
            for (word, voted), axes in zip(row, line, strict=False):
                draw_traces(axes, voted.channels, LABEL_SECONDS[0])
                counts = ", ".join(f"{c} {v}" for c, v in zip(CLASS_NAMES, voted.votes, strict=True) if v)
                axes.set_title(f"{word} {voted.name}: {counts}", fontweight="normal")
        figure.savefig(part, dpi=60, format="png")
    print(f"{path}: pages drawn")
