"""Example pages for the report: of each class the window the experts agreed on most, and the one they disputed most."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from eda.page import draw_page, draw_scalograms, microvolt_limits
from eda.rows import OFFSET, list_votes
from eda.section import Example, Section, render
from eda.style import new_figure, percent
from kernel.constants import CLASS_NAMES, LABEL_SECONDS, SFREQ, WINDOW_SECONDS
from kernel.recording import build_channels, cut_window, read_electrodes
from kernel.scalogram import ScalogramConfig, build_magnitude

TRIES = 20
"""Candidates looked at for one example before it is given up."""

MIN_KNOWN, MIN_ALIVE = 0.9, 15
"""An example shows what experts saw: this share of its samples is there, and so many channels carry something."""

PAGE_SECONDS = (15, 35)
"""What the report's page shows: the labelled 10 s and 5 s either side; more would be too small to read on a phone."""

PAGE_HEIGHT = 5.2

KINDS = {"clearest": "the clearest", "disputed": "the most disputed"}


@dataclass(frozen=True)
class Chosen:
    """One labelled window that is to be drawn, and the seconds that its recording lasts."""

    class_name: str
    kind: str
    row: pd.Series
    channels: np.ndarray
    seconds: float


def rank_windows(rows: pd.DataFrame, class_name: str, kind: str) -> pd.DataFrame:
    """Return the rows of a class, the best example first, one row a recording.

    `clearest`: the largest share for the class, then the most votes. `disputed`: rows with many votes first, since one
    against one is no dispute, then the smallest share.
    """
    own = rows[(rows["consensus"] == class_name) & rows["start"].notna()]
    by, rising = {
        "clearest": (["top_share", "n_votes", "eeg_id"], [False, False, True]),
        "disputed": (["many", "top_share", "n_votes", "eeg_id"], [False, True, False, True]),
    }[kind]
    return own.sort_values(by, ascending=rising, kind="stable").drop_duplicates("eeg_id")


def choose_examples(rows: pd.DataFrame, files: dict[int, Path]) -> list[Chosen]:
    """Choose two windows a class that can be read and are whole enough, no recording twice."""
    known = rows[rows["eeg_id"].isin(files.keys())]
    wanted = [(name, kind) for name in CLASS_NAMES for kind in KINDS]
    chosen: list[Chosen] = []
    for class_name, kind in tqdm(wanted, desc="examples", unit="page", disable=None):
        used = {one.row["eeg_id"] for one in chosen}
        ranked = rank_windows(known, class_name, kind)
        for _, row in ranked[~ranked["eeg_id"].isin(used)].head(TRIES).iterrows():
            window = _read_whole(files[int(row["eeg_id"])], int(row["start"]))
            if window is not None:
                chosen.append(Chosen(class_name, kind, row, *window))
                break
    return chosen


def _read_whole(path: Path, start: int) -> tuple[np.ndarray, float] | None:
    """Return a window's channels and its recording's seconds, None if unreadable or too little is there."""
    try:
        electrodes = read_electrodes(path)
        channels = build_channels(electrodes, start)
    except (ValueError, OSError):
        return None
    known = np.isfinite(cut_window(electrodes, start)).mean()
    if known < MIN_KNOWN or (channels.std(axis=1) > 1).sum() < MIN_ALIVE:
        return None
    return channels, electrodes.shape[1] / SFREQ


def build_examples_section(chosen: list[Chosen], config: ScalogramConfig) -> Section:
    """Draw the chosen windows; all scalograms share one colour scale, so that they can be compared."""
    section = Section("examples", "Example pages")
    if not chosen:
        section.text = ["No labelled window could be read from a file: no examples."]
        return section
    magnitudes = [build_magnitude(one.channels, config) for one in chosen]
    limits = microvolt_limits(magnitudes)
    section.text = [
        "Of each class the window on which the experts agreed most and the one they disputed most. First the clinical "
        f"page: {PAGE_SECONDS[1] - PAGE_SECONDS[0]} s of the window, 0.5 to 40 Hz, negative up, the labelled 10 s "
        "marked. Then the scalogram of each channel over the whole 50 s, left side beside right; dashed, the labelled "
        "10 s; pale, the cone of influence, where the window's ends reach in.",
    ]
    pairs = tqdm(zip(chosen, magnitudes, strict=True), "drawing", unit="page", total=len(chosen), disable=None)
    section.examples = [_draw_example(one, magnitude, config, limits) for one, magnitude in pairs]
    missing = [name for name in CLASS_NAMES if name not in {one.class_name for one in chosen}]
    if missing:
        section.text.append(f"No window of {', '.join(missing)} could be shown.")
    return section


def _draw_example(one: Chosen, magnitude: np.ndarray, config: ScalogramConfig, limits: tuple[float, float]) -> Example:
    votes = dict(sorted(list_votes(one.row).items(), key=lambda vote: -vote[1]))
    recording = f"recording {int(one.row['eeg_id'])}"
    title = f"{one.class_name}, {KINDS[one.kind]}"
    note = f"{recording.capitalize()}, window from {one.row[OFFSET]:g} s; {percent(one.row['top_share'])} agree."
    if one.seconds < WINDOW_SECONDS:
        note += f" The recording is {one.seconds:g} s long; what lies around it is empty."
    page = new_figure(PAGE_HEIGHT)
    draw_page(page, one.channels, PAGE_SECONDS)
    page_alt = (
        f"Clinical page of {recording}, {title}: 18 bipolar channels from left to right, the labelled seconds 20 to 30 "
        f"marked. Votes: {', '.join(f'{name} {n}' for name, n in votes.items())}."
    )
    scalograms = new_figure(PAGE_HEIGHT, layout=None)
    draw_scalograms(scalograms, magnitude, config, limits)
    first, last = (round(s * SFREQ / config.stride) for s in LABEL_SECONDS)
    peak = config.freqs[magnitude[:, :, first:last].max(axis=(0, 2)).argmax()]
    scalograms_alt = (
        f"Scalograms of the 18 channels of {recording}, {config.f_min:g} to {config.f_max:g} Hz over "
        f"50 s, microvolts in colour. In the labelled 10 s the largest magnitude is at {peak:.1f} Hz."
    )
    stem = f"example_{one.class_name.lower()}_{one.kind}"
    pictures = [
        render(page, f"{stem}_page", f"{title}: clinical page", page_alt, pixels=True),
        render(scalograms, f"{stem}_scalograms", f"{title}: scalograms", scalograms_alt, pixels=True),
    ]
    return Example(stem, one.class_name, title, note, votes, pictures)
