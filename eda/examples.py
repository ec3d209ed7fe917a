"""Example pages for the report: of each class the window the experts agreed on most, and the one they disputed most."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from eda.content import Content
from eda.page import draw_page, draw_scalograms, microvolt_limits
from eda.rows import list_votes
from eda.style import new_figure
from kernel.constants import CLASS_NAMES, LABEL_SECONDS, SFREQ
from kernel.recording import build_channels, cut_window, read_electrodes
from kernel.scalogram import ScalogramConfig, build_magnitude

TRIES = 20
"""Candidates looked at for one example before it is given up."""

MIN_KNOWN, MIN_ALIVE = 0.9, 15
"""An example shows what experts saw: this share of its samples is there, and so many channels carry something."""

PAGE_SECONDS = (15, 35)
"""What the report's page shows: the labelled 10 s and 5 s either side; more would be too small to read on a phone."""

PAGE_HEIGHT = 5.2

KINDS = {
    "clearest": {"top_share": False, "n_votes": False, "eeg_id": True},
    "disputed": {"many": False, "top_share": True, "n_votes": False, "eeg_id": True},
}
"""By what windows are sorted, and whether rising; rows with many votes first, since one against one is no dispute."""


@dataclass(frozen=True)
class Example:
    """One labelled window that is drawn: its row, its channels (18, 10000), the seconds that its recording lasts."""

    class_name: str
    kind: str
    row: pd.Series
    channels: np.ndarray
    seconds: float

    @property
    def name(self) -> str:
        """How its pictures' names begin."""
        return f"example_{self.class_name.lower()}_{self.kind}"

    @property
    def votes(self) -> dict[str, int]:
        """The votes of each class that has any, most first."""
        return dict(sorted(list_votes(self.row).items(), key=lambda vote: -vote[1]))


def rank_windows(rows: pd.DataFrame, class_name: str, kind: str) -> pd.DataFrame:
    """Return the rows of a class, the best example of a kind first, one row a recording."""
    own = rows[(rows["consensus"] == class_name) & rows["start"].notna()]
    order = KINDS[kind]
    return own.sort_values(list(order), ascending=list(order.values()), kind="stable").drop_duplicates("eeg_id")


def choose_examples(rows: pd.DataFrame, files: dict[int, Path]) -> list[Example]:
    """Choose two windows a class that can be read and are whole enough, no recording twice."""
    left = rows[rows["eeg_id"].isin(files.keys())]
    wanted = list(itertools.product(CLASS_NAMES, KINDS))
    chosen: list[Example] = []
    for class_name, kind in tqdm(wanted, desc="examples", unit="page", disable=None):
        for _, row in rank_windows(left, class_name, kind).head(TRIES).iterrows():
            example = read_example(class_name, kind, row, files[int(row["eeg_id"])])
            if example is not None:
                chosen.append(example)
                left = left[left["eeg_id"] != row["eeg_id"]]
                break
    return chosen


def read_example(class_name: str, kind: str, row: pd.Series, path: Path) -> Example | None:
    """Return an example, None if it cannot be read or too little is there."""
    start = int(row["start"])
    try:
        electrodes = read_electrodes(path)
        channels = build_channels(electrodes, start)
    except (ValueError, OSError):
        return None
    known = np.isfinite(cut_window(electrodes, start)).mean()
    if known < MIN_KNOWN or (channels.std(axis=1) > 1).sum() < MIN_ALIVE:
        return None
    return Example(class_name, kind, row, channels, electrodes.shape[1] / SFREQ)


def add_examples(content: Content, examples: list[Example], config: ScalogramConfig) -> None:
    """Draw the examples; all scalograms share one colour scale, so that they can be compared."""
    magnitudes = [build_magnitude(example.channels, config) for example in examples]
    limits = microvolt_limits(magnitudes) if examples else (0.0, 1.0)
    first, last = (round(s * SFREQ / config.stride) for s in LABEL_SECONDS)
    content.facts |= {"examples": examples, "peak_hz": {}, "page_seconds": PAGE_SECONDS[1] - PAGE_SECONDS[0]}
    pairs = list(zip(examples, magnitudes, strict=True))
    for example, magnitude in tqdm(pairs, desc="drawing", unit="page", disable=None):
        page, scalograms = new_figure(PAGE_HEIGHT), new_figure(PAGE_HEIGHT, layout=None)
        draw_page(page, example.channels, PAGE_SECONDS)
        draw_scalograms(scalograms, magnitude, config, limits)
        content.draw(f"{example.name}_page", page, pixels=True)
        content.draw(f"{example.name}_scalograms", scalograms, pixels=True)
        content.facts["peak_hz"][example.name] = config.freqs[magnitude[:, :, first:last].max(axis=(0, 2)).argmax()]
