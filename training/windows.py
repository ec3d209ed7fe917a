"""Where training windows come from: a folder in the competition's layout, or a function that draws them on the fly.

`training.batches` and `training.fitting` ask a `WindowSource` and do not care which it is. Whatever a source draws is
decided by its seed, the epoch and the index alone, so an interrupted training goes on with the very same windows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from kernel.constants import SFREQ, VOTES, WINDOW_SAMPLES
from kernel.recording import build_channels, read_electrodes
from training.recipe import Stage

MANY_VOTES = 10
"""Rows with as many votes are the population that the hidden test is believed to be from."""
ROW_COLUMNS = ("eeg_id", "eeg_label_offset_seconds", "patient_id", *VOTES)


class WindowSource(Protocol):
    """Labelled windows that can be read in any order, any number of times."""

    def __len__(self) -> int:
        """Return the number of windows in an epoch."""

    def read(self, index: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return channels (18, 10000), float32, microvolts, and votes (6,); the same for the same arguments."""

    def choose(self, stage: Stage) -> WindowSource:
        """Return the part that a stage is trained on."""


def read_rows(folder: Path) -> pd.DataFrame:
    """Read `train.csv`: one row per (recording, vote pattern), with the starts of all windows that have it.

    Overlapping windows of one recording with the same votes are one observation; which of them is seen is drawn anew
    in every epoch.

    Returns
    -------
    rows : DataFrame
        Columns eeg_id, patient_id, the six votes (int), n_votes, starts (tuple of samples), path.

    Raises
    ------
    FileNotFoundError
        If the table or its folder of recordings is missing.
    ValueError
        If it lacks columns or rows, or has votes that are no counts.
    """
    table = folder / "train.csv"
    if not table.is_file():
        raise FileNotFoundError(f"{table}: no such table; expected a folder in the competition's layout")
    # The 22 real recordings that this project is measured on carry their votes beside test_eegs/.
    recordings = next((folder / name for name in ("train_eegs", "test_eegs") if (folder / name).is_dir()), None)
    if recordings is None:
        raise FileNotFoundError(f"{folder / 'train_eegs'}: no such folder; the recordings belong there")
    frame = pd.read_csv(table)
    missing = [column for column in ROW_COLUMNS if column not in frame.columns]
    if missing or frame.empty:
        raise ValueError(f"{table}: {'lacks ' + ', '.join(missing) if missing else 'has no rows'}")
    counts = frame[list(VOTES)]
    if not all(pd.api.types.is_numeric_dtype(counts[vote]) for vote in VOTES) or (counts.to_numpy() < 0).any():
        raise ValueError(f"{table}: votes must be counts of zero or more")
    if (counts.sum(axis=1) <= 0).any():
        bad = frame.loc[counts.sum(axis=1) <= 0, "eeg_id"].iloc[0]
        raise ValueError(f"{table}: eeg_id {bad} has a row without votes; remove it")
    frame["start"] = (frame["eeg_label_offset_seconds"] * SFREQ).round().astype(int)
    grouped = frame.groupby(["eeg_id", "patient_id", *VOTES], sort=True)["start"]
    rows = grouped.agg(lambda starts: tuple(sorted(starts))).rename("starts").reset_index()
    rows["n_votes"] = rows[list(VOTES)].sum(axis=1)
    rows["path"] = [recordings / f"{eeg_id}.parquet" for eeg_id in rows["eeg_id"]]
    return rows


@dataclass(frozen=True)
class FolderWindows:
    """Windows of a folder in the competition's layout."""

    rows: pd.DataFrame
    """Some rows of `read_rows`."""
    seed: int = 0
    shift_seconds: float | None = None
    """Random shift of a window's start; None reads the middle window of each row, always the same."""

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, index: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Read a window of a row: one of its starts, shifted a little, inside the recording."""
        row = self.rows.iloc[index]
        electrodes = read_electrodes(row["path"])
        last = max(0, electrodes.shape[1] - WINDOW_SAMPLES)
        start = min(max(0, self.choose_start(index, epoch)), last)
        return build_channels(electrodes, start), row[list(VOTES)].to_numpy(np.float64)

    def choose_start(self, index: int, epoch: int) -> int:
        """Return the first sample of the window that an epoch sees of a row, before it is held inside the recording."""
        starts = self.rows.iloc[index]["starts"]
        if self.shift_seconds is None:
            return int(starts[len(starts) // 2])
        rng = np.random.default_rng([self.seed, epoch, index])
        shift = int(self.shift_seconds * SFREQ)
        return int(rng.choice(starts)) + int(rng.integers(-shift, shift + 1))

    def choose(self, stage: Stage) -> FolderWindows:
        """Keep the rows with enough votes and enough agreement."""
        top_share = self.rows[list(VOTES)].max(axis=1) / self.rows["n_votes"]
        rows = self.rows[(self.rows["n_votes"] >= stage.min_votes) & (top_share >= stage.min_top_share)]
        if rows.empty:
            raise ValueError(
                f"stage {stage.name!r}: no row has at least {stage.min_votes} votes and a leading share of at least "
                f"{stage.min_top_share:g}; lower min_votes or min_top_share in the recipe"
            )
        return replace(self, rows=rows)


Draw = Callable[[int, bool], tuple[np.ndarray, np.ndarray]]
"""(index, many votes only) -> electrodes (20, 10000), float32, microvolts with NaN in gaps, and votes (6,)."""


@dataclass(frozen=True)
class DrawnWindows:
    """Windows that a function draws while the network is fitted: none is ever seen twice."""

    draw: Draw
    windows: int
    first: int = 0
    """Index of the first window: training and validation draw from ranges that do not touch."""
    many: bool = False
    fresh: bool = True
    """Draw new windows in every epoch; validation wants the same ones."""

    def __len__(self) -> int:
        return self.windows

    def read(self, index: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Draw the window of this number."""
        samples, votes = self.draw(self.first + index + (epoch * self.windows if self.fresh else 0), self.many)
        return build_channels(samples), np.asarray(votes, np.float64)

    def choose(self, stage: Stage) -> DrawnWindows:
        """Draw from the population with many votes where the stage asks for it."""
        if stage.min_top_share > 0:
            raise ValueError(
                f"stage {stage.name!r}: min_top_share needs a data set's rows, not windows drawn on the fly"
            )
        return replace(self, many=stage.min_votes >= MANY_VOTES)
