"""Draws one recording on one sheet: the clinical page, its scalograms, the votes, and what the models predict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.figure import Figure

from eda.page import draw_page, draw_scalograms, microvolt_limits
from eda.rows import count_votes, read_windows
from eda.style import CLASS_COLOURS, INK, SOFT, drawing, percent
from kernel.constants import CLASS_NAMES, SFREQ, WINDOW_SECONDS
from kernel.files import replacing
from kernel.recording import build_channels, cut_window, place_window, read_electrodes
from kernel.scalogram import ScalogramConfig, build_magnitude
from kernel.table import RECORDING_FOLDERS, to_sample

SHEET = (16.5, 10.2)
"""Inches."""


def locate_recording(data: Path, eeg_id: int) -> Path:
    """Return a recording's file, from `train_eegs` or `test_eegs`.

    Raises
    ------
    FileNotFoundError
        If neither has it.
    """
    for folder in RECORDING_FOLDERS:
        path = data / folder / f"{eeg_id}.parquet"
        if path.is_file():
            return path
    looked = " or ".join(f"{data / folder}" for folder in RECORDING_FOLDERS)
    raise FileNotFoundError(f"{eeg_id}.parquet: no such recording in {looked}; check the id and --data")


def choose_row(data: Path, eeg_id: int, offset: float | None) -> pd.Series | None:
    """Return the recording's row of train.csv: that at `offset`, or the one with the most votes; None without rows.

    Raises
    ------
    ValueError
        If train.csv is damaged, or knows the recording but no window at `offset`.
    """
    if not (data / "train.csv").is_file():
        return None
    rows = read_windows(data)
    own = rows[(rows["eeg_id"] == eeg_id) & rows["start"].notna()]
    if own.empty:
        return None
    if offset is None:
        return own.sort_values("n_votes", ascending=False, kind="stable").iloc[0]
    at = own[own["start"] == to_sample(offset)]
    if at.empty:
        known = ", ".join(f"{value:g}" for value in sorted(own["eeg_label_offset_seconds"].unique())[:12])
        raise ValueError(f"{eeg_id}: no labelled window at {offset:g} s; labelled windows start at {known} s")
    return at.iloc[0]


def answer_window(channels: np.ndarray, weights: Path, name: str) -> np.ndarray:
    """Return what the ensemble in `weights` answers to a window's channels (18, 10000): (6,), the kernel's numbers."""
    from kernel.ensemble import load_ensemble
    from kernel.predict import predict_window

    return predict_window(channels, load_ensemble(weights), name)


def show_recording(
    data: Path, eeg_id: int, out: Path, *, offset: float | None = None, weights: Path | None = None
) -> list[str]:
    """Draw a recording's window to `out`, and return in lines what the sheet says in words.

    Parameters
    ----------
    data : Path
        A folder in the competition's layout.
    eeg_id : int
        Which recording.
    out : Path
        The picture; its suffix decides the format (png, pdf, svg).
    offset : float, optional
        Start of the labelled window in seconds; None takes the one with the most votes, the centre without labels.
    weights : Path, optional
        Folder of models; without a model in it the prediction is left out, and a line says so.

    Raises
    ------
    FileNotFoundError, ValueError
        If the recording or train.csv cannot be read, there is no such window, or no such format.
    """
    formats = Figure().canvas.get_supported_filetypes()
    kind = out.suffix.lstrip(".").lower()
    if kind not in formats:
        raise ValueError(f"{out}: unknown format {out.suffix!r}; choose one of .{', .'.join(sorted(formats))}")
    path = locate_recording(data, eeg_id)
    row = choose_row(data, eeg_id, offset)
    electrodes = read_electrodes(path)
    start = int(row["start"]) if row is not None else None if offset is None else int(to_sample(offset))
    channels = build_channels(electrodes, start)
    first = place_window(start, electrodes.shape[1]) / SFREQ
    known = float(np.isfinite(cut_window(electrodes, start)).mean())
    lines = [
        f"{path}: {electrodes.shape[1] / SFREQ:g} s; the window starts at {first:g} s, "
        f"{percent(known)} of its samples are there"
    ]
    bars: dict[str, np.ndarray] = {}
    if row is not None and row["n_votes"] > 0:
        votes = count_votes(row.to_frame().T)[0]
        lines.append("votes: " + ", ".join(f"{n} {v}" for n, v in zip(CLASS_NAMES, votes, strict=True) if v))
        bars[f"{votes.sum()} votes"] = votes / votes.sum()
    else:
        lines.append("votes: none for this window")
    if weights is not None and any(weights.glob("*/*.weights.h5")):
        probabilities = answer_window(channels, weights, str(path))
        listed = ", ".join(f"{n} {p:.3f}" for n, p in zip(CLASS_NAMES, probabilities, strict=True))
        lines.append(f"prediction: {listed}")
        bars["predicted"] = probabilities
    else:
        lines.append(
            f"prediction: left out, no model has weights in {weights}" if weights else "prediction: not asked for"
        )
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
        _draw_shares(upper.add_axes((0.075, 0.02, 0.9, 0.34 * len(bars) / top)), bars)
    left, right = lower.subfigures(1, 2, width_ratios=(1.5, 1), wspace=0)
    draw_page(left, channels)
    left.subplots_adjust(left=0.085, right=0.965, bottom=0.06, top=0.965)
    magnitude = build_magnitude(channels, config)
    draw_scalograms(right, magnitude, config, microvolt_limits([magnitude]))
    return figure


def _draw_shares(axes: Axes, bars: dict[str, np.ndarray]) -> None:
    frame = pd.DataFrame(bars, index=list(CLASS_NAMES)).T
    frame.plot.barh(ax=axes, stacked=True, width=0.78, color=list(CLASS_COLOURS.values()), legend=False)
    for name, patches in zip(CLASS_NAMES, axes.containers, strict=True):
        assert isinstance(patches, BarContainer)
        texts = [f"{name} {percent(bar.get_width())}" if bar.get_width() >= 0.07 else "" for bar in patches]
        box: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.82, "pad": 1.5}
        for label, text in zip(axes.bar_label(patches, texts, label_type="center", color=INK), texts, strict=True):
            if text:
                label.set_bbox(box)
    axes.set(xlim=(0, 1), ylim=(len(bars) - 0.5, -0.5), xticks=[])
    axes.tick_params(length=0, colors=SOFT)
    axes.spines[:].set_visible(False)
