"""Where training windows come from: what training asks of a source, and the source that reads a folder of recordings.

The other source is `training.drawn`: windows simulated while the network is fitted. What either gives is decided by the
seed, the epoch and the index alone, so an interrupted training goes on with the very same windows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from cache.cache import Cache, find_cache
from kernel.constants import SFREQ, VOTES
from kernel.inputs import InputConfig, build_input
from kernel.recording import read_channels
from kernel.table import MANY_VOTES, read_patterns, read_rows
from training.augmentation import ON_INPUTS
from training.folds import assign_folds
from training.recipe import Recipe, Stage

Signal = Any
"""A window's channels, (18, 10000), float32, microvolts; or, from a source with `gives_inputs`, each of its inputs."""


class WindowSource(Protocol):
    """Labelled windows that can be read in any order, any number of times, by several threads."""

    @property
    def description(self) -> str:
        """Return what `metrics.json` says of the data."""

    @property
    def gives_inputs(self) -> bool:
        """Return whether `read` gives the network's inputs instead of channels."""

    def __len__(self) -> int:
        """Return the number of windows in an epoch."""

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """Return the indices of an epoch's windows in the order in which they are best read."""

    def read(self, index: int, epoch: int) -> tuple[Signal, np.ndarray]:
        """Return a window and its votes (6,), not necessarily whole; the same for the same arguments."""

    def choose(self, stage: Stage) -> WindowSource:
        """Return the part that a stage is trained on."""

    def assign_folds(self, recipe: Recipe) -> pd.DataFrame | None:
        """Return eeg_id, patient_id and fold of all recordings; None where each window is a patient of its own."""

    def split(self, fold: int, recipe: Recipe) -> tuple[WindowSource, WindowSource, pd.DataFrame]:
        """Return the windows to train on, those to validate on, and eeg_id and patient_id of the latter."""


@dataclass(frozen=True)
class FolderWindows:
    """Windows of a folder in the competition's layout: each of its patterns is one, seen at another start each epoch.

    What a cache holds is read from there, the rest from the recordings: the channels are the same.
    """

    patterns: pd.DataFrame
    """Some rows of `kernel.table.read_patterns`; `expected`, (n_starts, 6), stands for the votes where it is there."""
    caches: tuple[Cache, ...] = ()
    """One of channels, or one for each of the network's inputs."""
    seed: int = 0
    shift_seconds: float | None = None
    """Random shift of a window's start; None reads the middle window of each row, always the same."""
    broken: frozenset[int] = frozenset()
    """Recordings that cannot be read: they keep their fold, and nothing is read of them."""
    name: str = ""
    """What the data are called [their folder's name]: the same data may be mounted under several."""

    @property
    def description(self) -> str:
        """Return what `metrics.json` says of the data."""
        expected = ", expected votes" if "expected" in self.patterns else ""
        return f"folder {self.name or self.folder.resolve().name}{expected}"

    @property
    def folder(self) -> Path:
        """Return the folder of train.csv."""
        return Path(self.patterns["path"].iloc[0]).parent.parent

    @property
    def gives_inputs(self) -> bool:
        """Return whether the caches hold inputs."""
        return any(cache.content is not None for cache in self.caches)

    def __len__(self) -> int:
        return len(self.patterns)

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """Return all indices, shuffled."""
        return rng.permutation(len(self))

    def read(self, index: int, epoch: int) -> tuple[Signal, np.ndarray]:
        """Read a window of a pattern: one of its starts, shifted a little, inside the recording."""
        row = self.patterns.iloc[index]
        starts = row["starts"]
        place, shift = len(starts) // 2, 0
        if self.shift_seconds is not None:
            rng = np.random.default_rng([self.seed, epoch, index])
            place, most = int(rng.integers(len(starts))), int(self.shift_seconds * SFREQ)
            shift = int(rng.integers(-most, most + 1))
        votes = row["expected"][place] if "expected" in row else row[list(VOTES)].to_numpy(np.float64)
        return self._read_signal(row["path"], int(row["eeg_id"]), max(0, starts[place] + shift)), votes

    def _read_signal(self, path: Path, eeg_id: int, start: int) -> Signal:
        key = (eeg_id, start)
        if self.caches and all(key in cache for cache in self.caches):
            signals = [cache.read([key])[0] for cache in self.caches]
            return signals if self.gives_inputs else signals[0]
        try:
            channels = read_channels(path, start)
        except ValueError as error:
            raise ValueError(f"{error}; train.csv lists {path}: copy both again") from None
        return [build_input(channels, cache.content) for cache in self.caches if cache.content] or channels

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
        folds = self.assign_folds(recipe)["fold"].to_numpy()
        usable = ~self.patterns["eeg_id"].isin(self.broken).to_numpy()
        held_out = self.patterns[(folds == fold) & usable & (self.patterns["n_votes"] >= MANY_VOTES)]
        if held_out.empty:
            raise ValueError(
                f"{self.folder / 'train.csv'}: fold {fold} has no row with at least {MANY_VOTES} votes to validate on; "
                "lower recipe.folds or add data"
            )
        if recipe.validation_windows is not None and len(held_out) > recipe.validation_windows:
            held_out = held_out.sample(recipe.validation_windows, random_state=recipe.seed).sort_index()
        # Inputs are cached for the starts that the experts labelled, not for those between.
        shift = 0.0 if self.gives_inputs else recipe.shift_seconds
        training = replace(
            self, patterns=self.patterns[(folds != fold) & usable], seed=recipe.seed, shift_seconds=shift
        )
        return training, replace(self, patterns=held_out, shift_seconds=None), held_out


def read_folder(folder: Path, caches: tuple[Cache, ...] = (), *, votes: str = "cast") -> FolderWindows:
    """Open a folder in the competition's layout for training.

    `caches` are what `find_caches` found. The `votes` are `cast` by raters, or `expected`: the mean of all raters,
    which only a simulated folder knows, by its `truth.parquet`.
    """
    patterns = read_patterns(folder)
    if votes == "expected":
        patterns["expected"] = _read_expected(folder, patterns)
    return FolderWindows(patterns, caches)


def _read_expected(folder: Path, patterns: pd.DataFrame) -> list[np.ndarray]:
    """Return the expected votes of every start of every pattern, as many as were cast."""
    path = folder / "truth.parquet"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; only a simulated folder has expected votes: use --votes cast")
    names, key = [f"expected_{vote}" for vote in VOTES], ["eeg_id", "eeg_sub_id"]
    truth = pd.read_parquet(path)
    rows = read_rows(folder, ("eeg_sub_id",)).merge(truth[truth["split"] == "train"][[*key, *names]], on=key)
    shares = dict(zip(zip(rows["eeg_id"], rows["start"], strict=True), rows[names].to_numpy(np.float64), strict=True))
    try:
        return [
            np.array([shares[eeg_id, start] for start in starts]) * n_votes
            for eeg_id, starts, n_votes in patterns[["eeg_id", "starts", "n_votes"]].itertuples(index=False)
        ]
    except KeyError as error:
        raise ValueError(f"{path}: lacks the window {error.args[0]} of train.csv; simulate the folder again") from None


def find_caches(
    root: Path, inputs: tuple[InputConfig, ...], augmentation: dict[str, float], say: Callable[[str], None] = print
) -> tuple[Cache, ...]:
    """Open the caches under `root` that a training can read from, and say which, or why there are none.

    These are the caches of all of its inputs, where all of its augmentations can be applied to inputs; else that of
    the channels, which serves every training.
    """
    on_channels = [name for name in augmentation if name not in ON_INPUTS]
    reasons = [f"{', '.join(on_channels)} of the recipe needs channels, not cached inputs"] if on_channels else []
    for contents in ((None,),) if on_channels else (inputs, (None,)):
        try:
            caches = tuple(find_cache(root, content) for content in contents)
        except (FileNotFoundError, ValueError) as error:
            reasons.append(str(error))
        else:
            for cache in dict.fromkeys(caches):
                say(f"{'inputs' if cache.content else 'channels'} are read from {cache.folder}")
            return caches
    say(f"windows are read from the recordings: {'; '.join(dict.fromkeys(reasons))}")
    return ()
