"""Simulated beside real recordings: figures of both, and how well they can be told apart by them.

`build.py simulate --compare DIR` prints what `simulator/README.md` reports. For each real recording simulated windows
with the same leading class and as few or many votes are drawn, cut to the same length.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from kernel.constants import CLASS_NAMES, ELECTRODES, LABEL_SECONDS, SFREQ, VOTES
from kernel.recording import cut_window
from kernel.table import MANY_VOTES, RECORDING_FOLDERS, read_rows
from simulator.features import FEATURES, compute_features, read_channels
from simulator.generate import peek_class, simulate_window
from simulator.population import Population

LABELLED = slice(LABEL_SECONDS[0] * SFREQ, LABEL_SECONDS[1] * SFREQ)


@dataclass(frozen=True)
class Voted:
    """A recording's labelled 10 s with its votes: channels (18, 2000) filtered, votes (6,)."""

    name: str
    channels: np.ndarray
    votes: np.ndarray


def read_voted(folders: list[Path]) -> list[Voted]:
    """Return the labelled 10 s of every recording of folders with train.csv and test_eegs/ or train_eegs/."""
    return [voted for folder in folders for voted in _read_folder(folder)]


def _read_folder(folder: Path) -> list[Voted]:
    found = []
    rows = read_rows(folder)
    for row in rows.drop_duplicates("eeg_id").to_dict("records"):
        paths = [folder / name / f"{row['eeg_id']}.parquet" for name in RECORDING_FOLDERS]
        path = next((p for p in paths if p.exists()), None)
        if path is None:
            raise FileNotFoundError(f"{paths[0]} is missing, though {folder / 'train.csv'} lists it")
        frame = pq.read_table(path, columns=list(ELECTRODES)).to_pandas()
        channels = read_channels(frame.to_numpy(dtype=np.float32).T)
        # A short recording's middle is what was labelled, as it is that of a whole window.
        window = cut_window(channels, row["start"])
        first = max(0, window.shape[1] - (LABELLED.stop - LABELLED.start)) // 2
        channels = window[:, first : first + LABELLED.stop - LABELLED.start]
        found.append(Voted(str(row["eeg_id"]), channels, np.array([row[v] for v in VOTES])))
    return found


def draw_like(real: list[Voted], each: int, seed: int) -> list[list[Voted]]:
    """Return for each real recording `each` simulated ones with the same leading class and as few or many votes."""
    wanted = [(int(r.votes.argmax()), bool(r.votes.sum() >= MANY_VOTES)) for r in real]
    waiting = {key: each * wanted.count(key) for key in set(wanted)}
    drawn: dict[tuple[int, bool], list[Voted]] = {key: [] for key in waiting}
    index = 0
    while any(len(drawn[key]) < count for key, count in waiting.items()):
        many = index % 2 == 0
        population: Population = "many" if many else "few"
        key = (peek_class(seed, index, population), many)
        if len(drawn.get(key, ())) < waiting.get(key, 0):
            window = simulate_window(seed, index, population)
            if int(window.votes.argmax()) == key[0]:
                voted = Voted(f"{seed}/{index}", read_channels(window.samples)[:, LABELLED], window.votes)
                drawn[key].append(voted)
        index += 1
    return [[drawn[key].pop() for _ in range(each)] for key in wanted]


def compare_recordings(real: list[Voted], each: int = 12, seed: int = 11) -> tuple[float, float]:
    """Print every figure of real and simulated recordings, by class too; return the discriminator's AUCs."""
    simulated = [voted for same in draw_like(real, each, seed) for voted in same]
    a = np.array([compute_features(r.channels) for r in real])
    b = np.array([compute_features(s.channels) for s in simulated])
    classes = np.array([int(r.votes.argmax()) for r in real])
    quantiles = (5, 50, 95)
    print(f"{len(real)} real, {len(simulated)} simulated recordings of the same classes; labelled 10 s, 0.5 to 40 Hz")
    print(f"{'quantiles 5 50 95':>24}  {'real':>23}  {'simulated':>23}   AUC")
    for k, name in enumerate(FEATURES):
        line = [" ".join(f"{v:7.3g}" for v in np.percentile(x[:, k], quantiles)) for x in (a, b)]
        print(f"{name:>24}  {line[0]:>23}  {line[1]:>23}  {compute_auc(b[:, k], a[:, k]):.2f}")
    _print_by_class(a, b, classes, np.repeat(classes, each))
    by_recording, by_class = discriminate(a, b, classes)
    print("AUC of a logistic regression on all figures (0.5: cannot tell real from simulated, 1: always),")
    print(f"recordings left out: {by_recording:.3f}; classes left out: {by_class:.3f}")
    return by_recording, by_class


def _print_by_class(a: np.ndarray, b: np.ndarray, of_real: np.ndarray, of_simulated: np.ndarray) -> None:
    """Print the medians of every figure, real / simulated, a column a class."""
    counts = [f"{name} ({(of_real == c).sum()})" for c, name in enumerate(CLASS_NAMES)]
    print(f"\n{'medians, real/simulated':>24} " + " ".join(f"{c:>15}" for c in counts))
    for k, name in enumerate(FEATURES):
        cells = []
        for c in range(len(CLASS_NAMES)):
            medians = [np.median(x[of == c, k]) for x, of in ((a, of_real), (b, of_simulated)) if (of == c).any()]
            cells.append("/".join(f"{m:.3g}" for m in medians).rjust(15))
        print(f"{name:>24} " + " ".join(cells))


def compute_auc(negative: np.ndarray, positive: np.ndarray) -> float:
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
    each = len(simulated) // len(real)
    recording = np.concatenate([np.arange(len(real)), np.repeat(np.arange(len(real)), each)])
    model = make_pipeline(
        FunctionTransformer(lambda v: np.sign(v) * np.log1p(np.abs(v) * 10)),
        StandardScaler(),
        LogisticRegression(class_weight="balanced", C=0.5, max_iter=1000),
    )
    folds = min(10, len(real))
    mixed = np.random.default_rng(0).permutation(len(real))[recording] % folds
    scores = cross_val_predict(model, x, y, groups=mixed, cv=LeaveOneGroupOut(), method="decision_function")
    by_class = cross_val_score(model, x, y, groups=classes[recording], cv=LeaveOneGroupOut(), scoring="roc_auc")
    return float(roc_auc_score(y, scores)), float(by_class.mean())
