"""Windows of one source with a share of another's among them: simulated EEG, and some real recordings with votes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from kernel.constants import PRIOR, VOTES
from kernel.montage import CHANNELS, N_PAIRS
from kernel.table import read_patterns
from training.folds import assign_folds
from training.recipe import Recipe, Stage
from training.windows import FolderWindows, WindowSource

PRIOR_SHARE = 0.07
"""Of the prior in the votes of the windows that are mixed in: a few recordings, seen often, are not to be learned by
heart."""

OTHER = 5
GENERALISED = {1: 2, 3: 4}
"""LPD of GPD, LRDA of GRDA: what shows on one side alone where half of the head is another's."""

ONE_SIDED_SHARE = 0.5
"""Of the lateralised windows that are made of a generalised one: real ones are rare."""


@dataclass(frozen=True)
class MixedWindows:
    """A source's windows, and others drawn among them, every class equally often; a `training.windows.WindowSource`.

    Validation is on the source's windows alone. The others have folds too, and none is trained on its own: what all
    folds together have heard is scored out of fold.
    """

    main: WindowSource
    others: FolderWindows
    share: float
    """Of the others in an epoch."""

    @property
    def description(self) -> str:
        """Return what `metrics.json` says of the data."""
        names = sorted({Path(path).parent.parent.absolute().name for path in self.others.patterns["path"]})
        return f"{self.main.description}, with a share of {self.share:g} of {' and '.join(names)}"

    def __len__(self) -> int:
        return round(len(self.main) / (1 - self.share))

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """Return the source's indices in its own order, and among them, at random, those of the others."""
        of_main = rng.permutation(len(self)) < len(self.main)
        order = np.empty(len(self), np.int64)
        order[of_main], order[~of_main] = self.main.order(rng), np.arange(len(self.main), len(self))
        return order

    def read(self, index: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Read one of the source's windows, or draw a class among the others' leading ones, and a window of it."""
        if index < len(self.main):
            return self.main.read(index, epoch)
        rng = np.random.default_rng([self.others.seed, epoch, index, 2])
        leading = int(rng.choice(list(self._by_class)))
        general = GENERALISED.get(leading)
        if general in self._by_class and OTHER in self._by_class and rng.random() < ONE_SIDED_SHARE:
            pattern = self._draw(rng, general)
            channels, shares = keep_one_side(rng, pattern, self._draw(rng, OTHER))
            votes = shares * pattern[1].sum()  # as many as the pattern had: a stage may weigh rows by them
        else:
            channels, votes = self._draw(rng, leading)
        return channels, (1 - PRIOR_SHARE) * votes + PRIOR_SHARE * votes.sum() * np.array(PRIOR)

    def _draw(self, rng: np.random.Generator, leading: int) -> tuple[np.ndarray, np.ndarray]:
        """Read a window of one of the others of a class."""
        return self.others.read(int(rng.choice(self._by_class[leading])), int(rng.integers(1 << 32)))

    @cached_property
    def _by_class(self) -> dict[int, np.ndarray]:
        """The rows of the others by their leading class."""
        leading = self.others.patterns[list(VOTES)].to_numpy().argmax(axis=1)
        return {int(one): np.flatnonzero(leading == one) for one in np.unique(leading)}

    def choose(self, stage: Stage) -> MixedWindows:
        """Choose among the source's windows; the others belong to every stage."""
        return replace(self, main=self.main.choose(stage))

    def assign_folds(self, recipe: Recipe) -> pd.DataFrame:
        """Return the source's folds, and those of the others."""
        others = self.others.patterns[["eeg_id", "patient_id"]].assign(fold=self._assign_others(recipe))
        return pd.concat([self.main.assign_folds(recipe), others])

    def _assign_others(self, recipe: Recipe) -> np.ndarray:
        """Return the fold of each pattern of the others, whose folders may number their patients alike."""
        patterns = self.others.patterns
        folder = patterns["path"].map(lambda path: path.parent)
        patient = patterns.groupby([folder, "patient_id"]).ngroup()
        return assign_folds(patterns.assign(patient_id=patient), recipe.folds, recipe.seed)

    def split(self, fold: int, recipe: Recipe) -> tuple[MixedWindows, WindowSource, pd.DataFrame]:
        """Split the source; mix the others of other folds into what is trained on."""
        training, validation, rows = self.main.split(fold, recipe)
        patterns = self.others.patterns[self._assign_others(recipe) != fold]
        others = replace(self.others, patterns=patterns, seed=recipe.seed, shift_seconds=recipe.shift_seconds)
        return replace(self, main=training, others=others), validation, rows


def keep_one_side(
    rng: np.random.Generator, general: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Leave a generalised pattern on one side of the head, and put another recording's in the place of the rest.

    Each bipolar channel lies on one side, so both halves stay as they were recorded. Up to two fifths of the pattern
    remain on the far side, as they do in life. The votes for a generalised pattern become those for a lateralised one.
    `general` and `other` are channels, (18, n_times), and votes, (6,); returned are channels and the votes' shares.
    """
    near, far = np.ones(len(CHANNELS), np.float32), np.zeros(len(CHANNELS), np.float32)
    away, midline = slice(int(rng.integers(2)), 2 * N_PAIRS, 2), slice(2 * N_PAIRS, None)
    near[away], far[away] = rng.uniform(0, 0.4), 1
    near[midline] = far[midline] = 0.5
    shares = general[1] / general[1].sum()
    for lateralised, generalised in GENERALISED.items():
        shares[lateralised] += shares[generalised]
        shares[generalised] = 0
    mixed = 0.85 * shares + 0.15 * other[1] / other[1].sum()
    return near[:, None] * general[0] + far[:, None] * other[0], mixed


def mix_windows(main: WindowSource, folders: list[Path], share: float) -> MixedWindows:
    """Mix a share of windows of some folders in the competition's layout into a source."""
    if not 0 < share < 1:
        raise ValueError(f"--mix-share {share:g}: expected a share between 0 and 1")
    if isinstance(main, FolderWindows) and main.folder.resolve() in [folder.resolve() for folder in folders]:
        raise ValueError(f"--mix {main.folder}: is --data too, and would be validated on what it was trained on")
    patterns = pd.concat([read_patterns(folder) for folder in folders], ignore_index=True)
    return MixedWindows(main, FolderWindows(patterns), share)
