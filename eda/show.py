"""Draws one recording on one sheet: the clinical page, its scalograms, the votes, and what the models predict."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from eda.charts import stack_bars
from eda.page import draw_page, draw_scalograms, microvolt_limits
from eda.rows import CLASSES, OFFSET, list_votes, read_windows
from eda.style import CLASS_COLOURS, SOFT, drawing, percent
from kernel.constants import SFREQ, WINDOW_SECONDS
from kernel.files import replacing
from kernel.recording import build_channels, cut_window, place_window, read_electrodes
from kernel.scalogram import ScalogramConfig, build_magnitude
from kernel.table import RECORDING_FOLDERS, to_sample

SHEET = (16.5, 10.2)
"""Inches."""


def locate_recording(data: Path, eeg_id: int) -> Path:
    """Return a recording's file, from `train_eegs` or `test_eegs`."""
    paths = [data / folder / f"{eeg_id}.parquet" for folder in RECORDING_FOLDERS]
    for path in paths:
        if path.is_file():
            return path
    raise FileNotFoundError(f"no such recording: {' or '.join(map(str, paths))}; check the id and --data")


def choose_row(data: Path, eeg_id: int, offset: float | None) -> pd.Series | None:
    """Return the recording's row of train.csv: that at `offset`, or the one with the most votes; None without rows.

    A table that is damaged, or knows the recording but no window at `offset`, is a ValueError.
    """
    if not (data / "train.csv").is_file():
        return None
    rows = read_windows(data)
    own = rows[(rows["eeg_id"] == eeg_id) & rows["start"].notna()]
    at = own if offset is None else own[own["start"] == to_sample(offset)]
    if at.empty and len(own):
        known = ", ".join(f"{value:g}" for value in sorted(own[OFFSET].unique())[:12])
        raise ValueError(f"{eeg_id}: no labelled window at {offset:g} s; labelled windows start at {known} s")
    return None if at.empty else at.iloc[int(at["n_votes"].argmax())]


def show_recording(data: Path, eeg_id: int, out: Path, *, weights: Path, offset: float | None = None) -> list[str]:
    """Draw a recording's window to `out`, whose suffix decides the format, and return what the sheet says in lines.

    The window starts at `offset` seconds; None takes the labelled one with the most votes, the centre without labels.
    Without a model in `weights` the prediction is left out, and a line says so. A recording or train.csv that cannot be
    read, no such window and no such format are a FileNotFoundError or a ValueError.
    """
    formats = Figure().canvas.get_supported_filetypes()
    kind = out.suffix.lstrip(".").lower()
    if kind not in formats:
        raise ValueError(f"{out}: unknown format {out.suffix!r}; choose one of .{', .'.join(sorted(formats))}")
    path = locate_recording(data, eeg_id)
    row = choose_row(data, eeg_id, offset)
    electrodes = read_electrodes(path)
    start = None if offset is None else int(to_sample(offset))
    if row is not None:
        start = int(row["start"])
    channels = build_channels(electrodes, start)
    first = place_window(start, electrodes.shape[1]) / SFREQ
    known = percent(float(np.isfinite(cut_window(electrodes, start)).mean()))
    length = f"{electrodes.shape[1] / SFREQ:g} s"
    lines = [f"{path}: {length}; the window starts at {first:g} s, {known} of its samples are there"]
    bars: dict[str, np.ndarray] = {}
    if row is not None and row["n_votes"] > 0:
        lines.append("votes: " + ", ".join(f"{name} {n}" for name, n in list_votes(row).items()))
        bars[f"{row['n_votes']} votes"] = row[CLASSES].to_numpy(np.float64)
    else:
        lines.append("votes: none for this window")
    if any(weights.glob("*/*.weights.h5")):
        from kernel.ensemble import load_ensemble
        from kernel.predict import predict_window

        bars["predicted"] = predict_window(channels, load_ensemble(weights), str(path))
        listed = ", ".join(f"{name} {p:.3f}" for name, p in zip(CLASSES, bars["predicted"], strict=True))
        lines.append(f"prediction: {listed}")
    else:
        lines.append(f"prediction: left out, no model has weights in {weights}")
    with drawing():
        figure = draw_sheet(channels, f"Recording {eeg_id}, {first:g} to {first + WINDOW_SECONDS:g} s", bars)
        out.parent.mkdir(parents=True, exist_ok=True)
        with replacing(out) as part:
            figure.savefig(part, dpi=150, format=kind)
    return lines


def draw_sheet(channels: np.ndarray, title: str, bars: dict[str, np.ndarray]) -> Figure:
    """Draw the page of the whole window, its scalograms beside it, and named shares (6,) of the classes above."""
    config = ScalogramConfig()
    figure = Figure(figsize=SHEET)
    height = SHEET[1]
    top = 0.45 + 0.34 * len(bars) + 0.3 * bool(bars)
    upper, lower = figure.subfigures(2, 1, height_ratios=(top, height - top), hspace=0)
    upper.text(0.012, 1 - 0.14 / top, title, fontsize=14, fontweight="bold", va="top")
    if bars:
        axes = upper.add_axes((0.075, 0.02, 0.9, 0.34 * len(bars) / top))
        stack_bars(axes, pd.DataFrame(bars, index=CLASSES).T, CLASS_COLOURS.values(), "{name} {share}")
        axes.set(xlim=(0, 1), xticks=[])
        axes.tick_params(colors=SOFT)
        axes.spines[:].set_visible(False)
    left, right = lower.subfigures(1, 2, width_ratios=(1.5, 1), wspace=0)
    draw_page(left, channels)
    left.subplots_adjust(left=0.085, right=0.965, bottom=0.06, top=0.965)
    magnitude = build_magnitude(channels, config)
    draw_scalograms(right, magnitude, config, microvolt_limits([magnitude]))
    return figure
