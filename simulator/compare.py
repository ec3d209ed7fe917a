"""Simulated beside real recordings: figures of both, how well they can be told apart by them, and pages to look at.

`build.py simulate --compare DIR` prints what `simulator/README.md` reports. For each real recording simulated windows
with the same leading class and as few or many votes are drawn, cut to the same length. With `--gallery FILE.png` pages
are drawn as a reader sees them (18 channels of the double banana, 10 s, 0.5 to 40 Hz, gain in microvolts): one file a
class, FILE_seizure.png and so on, where simulated windows stand beside each real recording. Without real recordings
the gallery has simulated windows of every class.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from eda.page import draw_traces
from eda.style import drawing
from kernel.constants import CLASS_NAMES, LABEL_SECONDS, SFREQ, VOTES
from kernel.files import replacing
from kernel.recording import cut_window, read_electrodes
from kernel.table import MANY_VOTES, find_recordings, read_rows
from simulator.features import measure_features, read_channels
from simulator.generate import peek_class, simulate_window
from simulator.voters import Population


@dataclass(frozen=True)
class Voted:
    """The labelled 10 s of a real or simulated recording with its votes: channels (18, 2000) filtered, votes (6,)."""

    name: str
    channels: np.ndarray
    votes: np.ndarray

    @property
    def top(self) -> int:
        """The number of the class with the most votes."""
        return int(self.votes.argmax())


def read_voted(folders: list[Path]) -> list[Voted]:
    """Return the labelled 10 s of every recording of folders with train.csv and test_eegs/ or train_eegs/."""
    found = []
    for folder in folders:
        for row in read_rows(folder).drop_duplicates("eeg_id").to_dict("records"):
            channels = read_channels(read_electrodes(find_recordings(folder) / f"{row['eeg_id']}.parquet"))
            votes = np.array([row[vote] for vote in VOTES])
            found.append(Voted(f"real {row['eeg_id']}", _cut_labelled(cut_window(channels, row["start"])), votes))
    return found


def draw_voted(seed: int, index: int, population: Population | None = None) -> Voted:
    """Simulate the labelled 10 s of a window."""
    window = simulate_window(seed, index, population)
    return Voted(f"simulated {seed}/{index}", _cut_labelled(read_channels(window.samples)), window.votes)


def _cut_labelled(window: np.ndarray) -> np.ndarray:
    """Return the middle of a window: that is what was labelled, in a whole one and in a short recording."""
    length = (LABEL_SECONDS[1] - LABEL_SECONDS[0]) * SFREQ
    first = max(0, window.shape[1] - length) // 2
    return window[:, first : first + length]


def draw_classes(seed: int, each: int = 3) -> list[list[Voted]]:
    """Return `each` simulated windows of every class, a row a class."""
    rows: list[list[Voted]] = [[] for _ in CLASS_NAMES]
    index = 0
    while any(len(row) < each for row in rows):
        row = rows[peek_class(seed, index)]
        if len(row) < each:
            row.append(draw_voted(seed, index))
        index += 1
    return rows


def draw_like(real: list[Voted], each: int, seed: int) -> list[list[Voted]]:
    """Return for each real recording `each` simulated ones with the same leading class and as few or many votes."""
    wanted = [(r.top, "many" if r.votes.sum() >= MANY_VOTES else "few") for r in real]
    missing = Counter(wanted * each)
    drawn: defaultdict[tuple[int, str], list[Voted]] = defaultdict(list)
    index = 0
    while missing.total():
        population: Population = "few" if index % 2 else "many"
        key = (peek_class(seed, index, population), population)
        if missing[key]:
            voted = draw_voted(seed, index, population)
            if voted.top == key[0]:
                drawn[key].append(voted)
                missing[key] -= 1
        index += 1
    return [[drawn[key].pop() for _ in range(each)] for key in wanted]


def compare_recordings(real: list[Voted], each: int = 12, seed: int = 11) -> tuple[float, float]:
    """Print every figure of real and simulated recordings, by class too; return the discriminator's AUCs."""
    simulated = [voted for same in draw_like(real, each, seed) for voted in same]
    a, b = (pd.DataFrame([measure_features(voted.channels) for voted in group]) for group in (real, simulated))
    print(f"{len(real)} real, {len(simulated)} simulated recordings of the same classes; labelled 10 s, 0.5 to 40 Hz")
    print("quantiles (5, 50, 95 %), and the AUC of each figure alone:")
    print(tabulate(a, b).to_string(float_format="{:.3g}".format))
    classes = np.array([r.top for r in real])
    groups = ((a, classes), (b, classes.repeat(each)))
    of_real, of_simulated = (figures.groupby(top).median().T.map("{:.3g}".format) for figures, top in groups)
    table = of_real + "/" + of_simulated
    print("\nmedians by class, real/simulated:")
    print(table.rename(columns=lambda c: f"{CLASS_NAMES[c]} ({(classes == c).sum()})").to_string())
    by_recording, by_class = discriminate(a.to_numpy(), b.to_numpy(), classes)
    print("AUC of a logistic regression on all figures (0.5: cannot tell real from simulated, 1: always),")
    print(f"recordings left out: {by_recording:.3f}; classes left out: {by_class:.3f}")
    return by_recording, by_class


def tabulate(real: pd.DataFrame, simulated: pd.DataFrame) -> pd.DataFrame:
    """Return quantiles of every figure, and its AUC: the chance that it is larger in a real recording."""
    both = pd.concat({"real": real, "simulated": simulated})
    table = both.groupby(level=0).quantile(np.array([0.05, 0.5, 0.95])).T
    is_real = both.index.get_level_values(0) == "real"
    table["AUC"] = [roc_auc_score(is_real, both[name]) for name in both]
    return table


def discriminate(real: np.ndarray, simulated: np.ndarray, classes: np.ndarray) -> tuple[float, float]:
    """Return the AUC of a logistic regression that tells real (n, k) from simulated (n * each, k) rows.

    First with recordings left out, a tenth of them at a time with the windows drawn for them, then with each class left
    out, as the mean over classes. `classes` (n,) are those of the real rows, which the simulated ones follow.
    """
    if len(set(classes)) < 2:
        raise ValueError("the real recordings are all of one class: give --compare folders with two classes at least")
    x = np.concatenate([real, simulated])
    y = np.repeat([1, 0], [len(real), len(simulated)])
    recording = np.arange(len(real))
    recording = np.concatenate([recording, recording.repeat(len(simulated) // len(real))])
    model = make_pipeline(
        FunctionTransformer(lambda v: np.sign(v) * np.log1p(np.abs(v) * 10)),
        StandardScaler(),
        LogisticRegression(class_weight="balanced", C=0.5, max_iter=1000),
    )
    mixed = np.random.default_rng(0).permutation(len(real))[recording] % min(10, len(real))
    scores = cross_val_predict(model, x, y, groups=mixed, cv=LeaveOneGroupOut(), method="decision_function")
    by_class = cross_val_score(model, x, y, groups=classes[recording], cv=LeaveOneGroupOut(), scoring="roc_auc")
    return float(roc_auc_score(y, scores)), float(by_class.mean())


def show_gallery(picture: Path | None, real_folders: list[Path] | None, seed: int) -> None:
    """Draw simulated pages, or real ones with two simulated ones of the same class beside each, figures printed."""
    if not real_folders:
        if picture is not None:
            draw_pages(picture, draw_classes(seed))
        return
    real = read_voted(real_folders)
    if picture is not None:
        rows = [[one, *same] for one, same in zip(real, draw_like(real, 2, seed), strict=True)]
        for c in sorted({one.top for one in real}):
            path = picture.with_stem(f"{picture.stem}_{CLASS_NAMES[c].lower()}")
            draw_pages(path, [row for row in rows if row[0].top == c])
    compare_recordings(real)


def draw_pages(path: Path, rows: list[list[Voted]]) -> None:
    """Draw rows of pages to the PNG file `path`, all rows of the same length."""
    with drawing(), replacing(path) as part:
        figure = Figure(figsize=(8 * len(rows[0]), 5.5 * len(rows)), layout="constrained")
        places = figure.subplots(len(rows), len(rows[0]), squeeze=False)
        for voted, axes in zip(chain.from_iterable(rows), places.flat, strict=True):
            draw_traces(axes, voted.channels, LABEL_SECONDS[0])
            counts = ", ".join(f"{c} {v}" for c, v in zip(CLASS_NAMES, voted.votes, strict=True) if v)
            axes.set_title(f"{voted.name}: {counts}", fontweight="normal")
        figure.savefig(part, dpi=60, format="png")
    print(f"{path}: pages drawn")
