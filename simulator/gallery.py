"""Pages of EEG as a reader sees it: 18 channels of the double banana, 10 s, 0.5 to 40 Hz, gain in microvolts.

`build.py simulate --gallery FILE.png` draws simulated pages; with `--compare DIR` one file a class, FILE_seizure.png
and so on, where simulated windows of the same class stand beside each real recording.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from kernel.constants import CLASS_NAMES, SFREQ
from kernel.files import replacing
from kernel.montage import CHAINS, CHANNELS
from simulator.compare import LABELLED, Voted, compare_recordings, draw_like, read_voted
from simulator.features import read_channels
from simulator.generate import peek_class, simulate_window

ORDER = [
    CHANNELS.index(f"{a}-{b}")
    for chain in ("LL", "RL", "LP", "RP", "midline")
    for a, b in zip(CHAINS[chain], CHAINS[chain][1:], strict=False)
]


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
    figure, axes = plt.subplots(len(rows), columns, figsize=(8 * columns, 5.5 * len(rows)), squeeze=False)
    for row, line in zip(rows, axes, strict=True):
        for (name, voted), ax in zip(row, line, strict=False):
            _draw_page(ax, name, voted)
    figure.tight_layout()
    with replacing(path) as part:
        figure.savefig(part, dpi=60, format="png")
    plt.close(figure)
    print(f"{path}: pages drawn")


def _draw_page(ax: Axes, name: str, voted: Voted) -> None:
    times = np.arange(voted.channels.shape[1]) / SFREQ
    gain = float(np.clip(4.5 * np.median(voted.channels.std(axis=1)), 20, 400))
    heights = []
    for k, channel in enumerate(ORDER):
        height = -(k + 0.7 * (k // 4))
        heights.append(height)
        ax.plot(times, voted.channels[channel] / gain + height, color="black", linewidth=0.5)
    ax.set_yticks(heights, [CHANNELS[c] for c in ORDER], fontsize=5)
    ax.set_ylim(heights[-1] - 1.5, 1.5)
    ax.set_xlim(0, times[-1])
    for second in range(1, int(times[-1]) + 1):
        ax.axvline(second, color="0.85", linewidth=0.5, zorder=0)
    counts = ", ".join(f"{c} {v}" for c, v in zip(CLASS_NAMES, voted.votes, strict=True) if v)
    ax.set_title(f"{name}: {counts}; {gain:.0f} µV a row", fontsize=8)
