"""Where training windows come from: what training asks of a source, and the source that reads a folder of recordings.

The other source is `training.drawn`: windows simulated while the network is fitted. What either gives is decided by the
seed, the epoch and the index alone, so an interrupted training goes on with the very same windows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from cache.cache import Cache
from kernel.constants import SFREQ, VOTES
from kernel.recording import read_channels
from kernel.table import MANY_VOTES, read_patterns, read_rows
from training.folds import assign_folds
from training.recipe import Recipe, Stage


class WindowSource(Protocol):
    """Labelled windows that can be read in any order, any number of times, by several threads."""

    @property
    def description(self) -> str:
        """Return what `metrics.json` says of the data."""

    def __len__(self) -> int:
        """Return the number of windows in an epoch."""

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """Return the indices of an epoch's windows in the order in which they are best read."""

    def read(self, index: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a window's channels, (18, 10000), float32, microvolts, and its votes (6,), not necessarily whole."""

    def choose(self, stage: Stage) -> WindowSource:
        """Return the part that a stage is trained on."""

    def assign_folds(self, recipe: Recipe) -> pd.DataFrame:
        """Return eeg_id, patient_id and fold of all recordings; none where each window is a patient of its own."""

    def split(self, fold: int, recipe: Recipe) -> tuple[WindowSource, WindowSource, pd.DataFrame]:
        """Return the windows to train on, those to validate on, and eeg_id and patient_id of the latter."""


@dataclass(frozen=True)
class FolderWindows:
    """Windows of a folder in the competition's layout: one for each of its patterns, at another start each epoch."""

    patterns: pd.DataFrame
    """Some rows of `kernel.table.read_patterns`; `expected`, (n_starts, 6), stands for the votes where it is there."""
    cache: Cache | None = None
    """What it holds is read from there, the rest from the recordings: the channels are the same."""
    seed: int = 0
    shift_seconds: float | None = None
    """Random shift of a window's start; None reads the middle window of each row, always the same."""
    broken: frozenset[int] = frozenset()
    """Recordings that cannot be read: they keep their fold, and nothing is read of them."""

    @property
    def description(self) -> str:
        """Return what `metrics.json` says of the data: the folder's name here, wherever a link leads."""
        expected = ", expected votes" if "expected" in self.patterns else ""
        return f"folder {self.folder.absolute().name}{expected}"

    @property
    def folder(self) -> Path:
        """Return the folder of train.csv."""
        return Path(self.patterns["path"].iloc[0]).parent.parent

    def __len__(self) -> int:
        return len(self.patterns)

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """Return all indices, shuffled."""
        return rng.permutation(len(self))

    def read(self, index: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Read a window of a pattern: one of its starts, shifted a little, inside the recording."""
        row = self.patterns.iloc[index]
        starts = row["starts"]
        place, shift = len(starts) // 2, 0
        if self.shift_seconds is not None:
            rng = np.random.default_rng([self.seed, epoch, index])
            place, most = int(rng.integers(len(starts))), int(self.shift_seconds * SFREQ)
            shift = int(rng.integers(-most, most + 1))
        votes = row["expected"][place] if "expected" in row else row[list(VOTES)].to_numpy(np.float64)
        return self._read_channels(row["path"], int(row["eeg_id"]), max(0, starts[place] + shift)), votes

    def _read_channels(self, path: Path, eeg_id: int, start: int) -> np.ndarray:
        if self.cache:
            try:
                return self.cache.read(eeg_id, start)
            except KeyError:
                pass  # not in the cache
        try:
            return read_channels(path, start)
        except ValueError as error:
            raise ValueError(f"{error}; train.csv lists {path}: copy both again") from None

    def choose(self, stage: Stage) -> FolderWindows:
        """Keep the patterns with enough votes and enough agreement."""
        top_share = self.patterns[list(VOTES)].max(axis=1) / self.patterns["n_votes"]
        patterns = self.patterns[(self.patterns["n_votes"] >= stage.min_votes) & (top_share >= stage.min_top_share)]
        if patterns.empty:
            raise ValueError(
                f"stage {stage.name!r}: no row has at least {stage.min_votes} votes and a leading share of at least "
                f"{stage.min_top_share:g}; lower min_votes or min_top_share in the recipe"
            )
        return replace(self, patterns=patterns)

    def assign_folds(self, recipe: Recipe) -> pd.DataFrame:
        """Return eeg_id, patient_id and fold of every pattern."""
        folds = assign_folds(self.patterns, recipe.folds, recipe.seed)
        return self.patterns[["eeg_id", "patient_id"]].assign(fold=folds)

    def split(self, fold: int, recipe: Recipe) -> tuple[FolderWindows, FolderWindows, pd.DataFrame]:
        """Train on all rows of the other folds' patients; validate on the rows of this fold's with many votes."""
        in_fold = self.assign_folds(recipe)["fold"] == fold
        usable = ~self.patterns["eeg_id"].isin(self.broken)
        held_out = self.patterns[in_fold & usable & (self.patterns["n_votes"] >= MANY_VOTES)]
        if held_out.empty:
            raise ValueError(
                f"{self.folder / 'train.csv'}: fold {fold} has no row with at least {MANY_VOTES} votes to validate on; "
                "lower recipe.folds or add data"
            )
        if recipe.validation_windows is not None and len(held_out) > recipe.validation_windows:
            held_out = held_out.sample(recipe.validation_windows, random_state=recipe.seed).sort_index()
        training = self.patterns[~in_fold & usable]
        return (
            replace(self, patterns=training, seed=recipe.seed, shift_seconds=recipe.shift_seconds),
            replace(self, patterns=held_out, shift_seconds=None),
            held_out,
        )


def read_folder(folder: Path, cache: Cache | None = None, *, votes: str = "cast") -> FolderWindows:
    """Open a folder in the competition's layout for training.

    The `votes` are `cast` by raters, or `expected`: the mean of all raters, which only a simulated folder knows, by its
    `truth.parquet`.
    """
    patterns = read_patterns(folder)
    if votes == "expected":
        patterns["expected"] = _read_expected(folder, patterns)
    return FolderWindows(patterns, cache)


def _read_expected(folder: Path, patterns: pd.DataFrame) -> list[np.ndarray]:
    """Return the expected votes of every start of every pattern, as many as were cast."""
    path = folder / "truth.parquet"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; only a simulated folder has expected votes: use --votes cast")
    names = [f"expected_{vote}" for vote in VOTES]
    truth = pd.read_parquet(path).query("split == 'train'")[["eeg_id", "eeg_sub_id", *names]]
    rows = read_rows(folder, ("eeg_sub_id",)).merge(truth, on=["eeg_id", "eeg_sub_id"])
    shares = dict(zip(zip(rows["eeg_id"], rows["start"], strict=True), rows[names].to_numpy(np.float64), strict=True))
    try:
        return [
            np.array([shares[eeg_id, start] for start in starts]) * n_votes
            for eeg_id, starts, n_votes in patterns[["eeg_id", "starts", "n_votes"]].itertuples(index=False)
        ]
    except KeyError as error:
        raise ValueError(f"{path}: lacks the window {error.args[0]} of train.csv; simulate the folder again") from None


def open_cache(folder: Path) -> Cache | None:
    """Open the cache that a training can read from, and say so, or say why there is none."""
    try:
        cache = Cache(folder)
    except (FileNotFoundError, ValueError) as error:
        print(f"windows are read from the recordings: {error}")
        return None
    print(f"windows are read from the cache {folder}")
    return cache
