"""Windows drawn once and kept on disk, for networks that learn faster than windows can be drawn.

Called by `build.py train --draw N --store DIR`. Drawing is resumable and the same windows serve every network: the
folder holds channels in float16 and votes, both memory-mapped, and the JSON of what they were drawn from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.lib.format import open_memmap
from tqdm import tqdm

from kernel.constants import VOTES, WINDOW_SAMPLES
from kernel.montage import CHANNELS
from kernel.recording import build_channels
from training.recipe import Recipe, Stage
from training.windows import MANY_VOTES

CLIP = 30_000.0
"""Microvolts at which channels are clipped to fit into float16; every network clips far below."""
Draw = Callable[[int], tuple[np.ndarray, np.ndarray]]
"""index -> electrodes (20, 10000), float32, microvolts with NaN in gaps, and votes (6,), not necessarily whole."""


@dataclass(frozen=True)
class StoredWindows:
    """Some windows of a store; a `WindowSource`."""

    folder: Path
    places: np.ndarray
    """Rows of the store's arrays."""

    def __len__(self) -> int:
        return len(self.places)

    def read(self, index: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Read a window; the same in every epoch."""
        place = self.places[index]
        channels = np.load(self.folder / "channels.npy", mmap_mode="r")[place].astype(np.float32)
        return channels, np.load(self.folder / "votes.npy", mmap_mode="r")[place].astype(np.float64)

    def choose(self, stage: Stage) -> StoredWindows:
        """Keep the windows with enough votes and enough agreement."""
        votes = np.load(self.folder / "votes.npy")[self.places]
        n_votes = votes.sum(axis=1)
        # Expected votes are not whole: 9.99999 of float32 are ten.
        kept = (n_votes > stage.min_votes - 0.01) & (votes.max(axis=1) >= stage.min_top_share * n_votes)
        if not kept.any():
            raise ValueError(f"{self.folder}: no window for stage {stage.name!r}; lower min_votes or min_top_share")
        return replace(self, places=self.places[kept])


@dataclass(frozen=True)
class StoredData:
    """A store as `training.cross_validation` takes it; every window is a patient of its own."""

    folder: Path
    windows: int
    name: str

    @property
    def description(self) -> str:
        """Return what `metrics.json` says of the data."""
        return f"{self.windows} windows drawn from {self.name}"

    def split(self, fold: int, recipe: Recipe) -> tuple[StoredWindows, StoredWindows, pd.DataFrame]:
        """Hold out every fifth window, or as many folds as there are; validate on those with many votes."""
        numbers = np.arange(self.windows)
        held_out = numbers[numbers % recipe.folds == fold]
        n_votes = np.load(self.folder / "votes.npy")[held_out].sum(axis=1)
        held_out = held_out[n_votes > MANY_VOTES - 0.01][: recipe.validation_windows]
        if not len(held_out):
            raise ValueError(f"{self.folder}: fold {fold} has no window with {MANY_VOTES} votes; draw more windows")
        rows = pd.DataFrame({"eeg_id": held_out, "patient_id": held_out})
        training = StoredWindows(self.folder, numbers[numbers % recipe.folds != fold])
        return training, StoredWindows(self.folder, held_out), rows


def fill_store(folder: Path, draw: Draw, windows: int, name: str, workers: int = 1) -> StoredData:
    """Draw the windows that a store does not have yet.

    Parameters
    ----------
    folder : Path
        Where the store is, or shall be.
    draw : callable
        From a window's number to electrodes and votes; picklable where there are several workers.
    windows : int
        How many windows, numbered from 0; a store may be made longer, never of another origin.
    name : str
        What they are drawn from, seed included.
    workers : int
        Processes.

    Returns
    -------
    data : StoredData
        The whole store.

    Raises
    ------
    ValueError
        If the folder holds windows drawn from something else, or `windows` is below one.
    """
    if windows < 1:
        raise ValueError(f"a store needs at least one window, asked for {windows}")
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "store.json"
    if config.is_file() and json.loads(config.read_text())["name"] != name:
        found = json.loads(config.read_text())["name"]
        raise ValueError(f"{folder}: holds windows drawn from {found}, not from {name}; choose another --store")
    config.write_text(json.dumps({"name": name}) + "\n")
    channels = _open(folder / "channels.npy", (windows, len(CHANNELS), WINDOW_SAMPLES), np.float16)
    votes = _open(folder / "votes.npy", (windows, len(VOTES)), np.float32)
    missing = np.flatnonzero(np.isnan(votes[:windows, 0]))
    with tqdm(total=windows, initial=windows - len(missing), desc="draw windows", unit="window") as bar:
        for place, (samples, cast) in zip(missing, _draw_all(draw, missing.tolist(), workers), strict=True):
            channels[place] = np.clip(build_channels(samples), -CLIP, CLIP)
            votes[place] = cast
            bar.update()
    return StoredData(folder, windows, name)


def _draw_all(draw: Draw, numbers: list[int], workers: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    if workers < 2 or len(numbers) < 2:
        yield from map(draw, numbers)
        return
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
    try:
        yield from pool.map(draw, numbers, chunksize=8)
    finally:
        pool.shutdown(cancel_futures=True)


def _open(path: Path, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Open an array on disk for writing; one that is too short is copied into a longer one, NaN at its end."""
    before = np.load(path, mmap_mode="r+") if path.is_file() else None
    if before is not None and len(before) >= shape[0]:
        return before
    part = path.with_name(path.name + ".part")
    array = open_memmap(part, "w+", dtype, shape)
    if dtype is not np.float16:
        array[:] = np.nan
    if before is not None:
        array[: len(before)] = before
    part.replace(path)
    return array
