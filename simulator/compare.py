"""Simulated beside real recordings: figures of both, and how well they can be told apart by them.

`build.py simulate --compare DIR` prints what `simulator/README.md` reports. For each real recording simulated windows
with the same leading class and as few or many votes are drawn, cut to the same length.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from kernel.constants import CLASS_NAMES, LABEL_SECONDS, SFREQ, VOTES
from kernel.recording import cut_window, read_electrodes
from kernel.table import MANY_VOTES, find_recordings, read_rows
from simulator.features import measure_features, read_channels
from simulator.generate import Window, peek_class, simulate_window
from simulator.voters import Population

LABELLED = slice(LABEL_SECONDS[0] * SFREQ, LABEL_SECONDS[1] * SFREQ)


@dataclass(frozen=True)
class Voted:
    """A recording's labelled 10 s with its votes: channels (18, 2000) filtered, votes (6,)."""

    name: str
    channels: np.ndarray
    votes: np.ndarray

    @classmethod
    def from_window(cls, name: str, window: Window) -> Voted:
        """Take the labelled 10 s of a simulated window."""
        return cls(name, read_channels(window.samples)[:, LABELLED], window.votes)

    @property
    def top(self) -> int:
        """The number of the class with the most votes."""
        return int(self.votes.argmax())


def read_voted(folders: list[Path]) -> list[Voted]:
    """Return the labelled 10 s of every recording of folders with train.csv and test_eegs/ or train_eegs/."""
    found = []
    length = LABELLED.stop - LABELLED.start
    for folder in folders:
        for row in read_rows(folder).drop_duplicates("eeg_id").to_dict("records"):
            channels = read_channels(read_electrodes(find_recordings(folder) / f"{row['eeg_id']}.parquet"))
            # A short recording's middle is what was labelled, as it is that of a whole window.
            window = cut_window(channels, row["start"])
            first = max(0, window.shape[1] - length) // 2
            votes = np.array([row[vote] for vote in VOTES])
            found.append(Voted(str(row["eeg_id"]), window[:, first : first + length], votes))
    return found


def draw_like(real: list[Voted], each: int, seed: int) -> list[list[Voted]]:
    """Return for each real recording `each` simulated ones with the same leading class and as few or many votes."""
    wanted = [(r.top, bool(r.votes.sum() >= MANY_VOTES)) for r in real]
    waiting = {key: each * wanted.count(key) for key in set(wanted)}
    drawn: dict[tuple[int, bool], list[Voted]] = {key: [] for key in waiting}
    index = 0
    while any(len(drawn[key]) < count for key, count in waiting.items()):
        many = index % 2 == 0
        population: Population = "many" if many else "few"
        key = (peek_class(seed, index, population), many)
        if len(drawn.get(key, ())) < waiting.get(key, 0):
            voted = Voted.from_window(f"{seed}/{index}", simulate_window(seed, index, population))
            if voted.top == key[0]:
                drawn[key].append(voted)
        index += 1
    return [[drawn[key].pop() for _ in range(each)] for key in wanted]


def compare_recordings(real: list[Voted], each: int = 12, seed: int = 11) -> tuple[float, float]:
    """Print every figure of real and simulated recordings, by class too; return the discriminator's AUCs."""
    simulated = [voted for same in draw_like(real, each, seed) for voted in same]
    a, b = (pd.DataFrame([measure_features(voted.channels) for voted in group]) for group in (real, simulated))
    print(f"{len(real)} real, {len(simulated)} simulated recordings of the same classes; labelled 10 s, 0.5 to 40 Hz")
    print("quantiles (5, 50, 95 %), and the AUC of each figure alone:")
    table = pd.concat({"real": a, "simulated": b}).groupby(level=0).quantile(np.array([0.05, 0.5, 0.95])).T
    table["AUC"] = [compute_auc(b[name], a[name]) for name in a]
    print(table.to_string(float_format="{:.3g}".format))
    classes = np.array([r.top for r in real])
    medians = (x.groupby(of).median().T.map("{:.3g}".format) for x, of in ((a, classes), (b, classes.repeat(each))))
    table = next(medians) + "/" + next(medians)
    print("\nmedians by class, real/simulated:")
    print(table.rename(columns=lambda c: f"{CLASS_NAMES[c]} ({(classes == c).sum()})").to_string())
    by_recording, by_class = discriminate(a.to_numpy(), b.to_numpy(), classes)
    print("AUC of a logistic regression on all figures (0.5: cannot tell real from simulated, 1: always),")
    print(f"recordings left out: {by_recording:.3f}; classes left out: {by_class:.3f}")
    return by_recording, by_class


def compute_auc(negative: np.ndarray | pd.Series, positive: np.ndarray | pd.Series) -> float:
    """Return the chance that a positive's score exceeds a negative's."""
    return float(roc_auc_score(np.repeat([0, 1], [len(negative), len(positive)]), np.concatenate([negative, positive])))


def discriminate(real: np.ndarray, simulated: np.ndarray, classes: np.ndarray) -> tuple[float, float]:
    """Return the AUC of a logistic regression that tells real (n, k) from simulated (n * each, k) rows.

    First with recordings left out, a tenth of them at a time with the windows drawn for them, then with each class left
    out, as the mean over classes. `classes` (n,) are those of the real rows, which the simulated ones follow.
    """
    if len(set(classes)) < 2:
        raise ValueError("the real recordings are all of one class: give --compare folders with two classes at least")
    x = np.concatenate([real, simulated])
    y = np.repeat([1, 0], [len(real), len(simulated)])
    recording = np.concatenate([np.arange(len(real)), np.arange(len(real)).repeat(len(simulated) // len(real))])
    model = make_pipeline(
        FunctionTransformer(lambda v: np.sign(v) * np.log1p(np.abs(v) * 10)),
        StandardScaler(),
        LogisticRegression(class_weight="balanced", C=0.5, max_iter=1000),
    )
    mixed = np.random.default_rng(0).permutation(len(real))[recording] % min(10, len(real))
    scores = cross_val_predict(model, x, y, groups=mixed, cv=LeaveOneGroupOut(), method="decision_function")
    by_class = cross_val_score(model, x, y, groups=classes[recording], cv=LeaveOneGroupOut(), scoring="roc_auc")
    return float(roc_auc_score(y, scores)), float(by_class.mean())
