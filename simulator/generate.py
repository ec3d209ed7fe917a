"""Draws labelled EEG: one 50 s window for training on the fly, or one recording of a data set with its windows.

All of it is deterministic from the seed, the stream and the index, so any worker may draw any of it in any order.

`simulator.scene` composes the signal; its pattern is measured in the labelled 10 s, and the raters vote on what it is.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from kernel.constants import CLASS_NAMES, LABEL_SECONDS, SFREQ, WINDOW_SAMPLES, WINDOW_SECONDS
from simulator.scene import Part, Segment, compose, measure_unrendered
from simulator.voters import Population, Raters, cast_votes, draw_events, draw_population, expected_votes, score

STREAMS = {"window": 0, "recording": 1, "test": 2}
_FIRST, _LAST = (seconds * SFREQ for seconds in LABEL_SECONDS)  # samples of a window that are labelled
QUANTILES = (0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1)
SECONDS_AT = (50, 50, 50, 58, 84, 130, 318, 900)
ROWS_AT = (1, 1, 1, 3, 6, 13, 51, 80)
"""The competition's quantiles of seconds and of labelled rows per recording, the longest recordings left out."""


@dataclass(frozen=True)
class Window:
    """One labelled window: samples (20, 10000) float32 in microvolts, votes (6,) int, and what is true of it."""

    samples: np.ndarray
    votes: np.ndarray
    truth: dict[str, Any]


@dataclass(frozen=True)
class Recording:
    """One recording (20, n_times) float32 in microvolts, and its labelled windows as (offset, votes, truth)."""

    samples: np.ndarray
    patient: int
    labels: list[tuple[int, np.ndarray, dict[str, Any]]]


def simulate_window(seed: int, index: int, population: Population | None = None, stream: str = "window") -> Window:
    """Draw one fresh labelled 50 s window, the same for the same arguments wherever it is drawn."""
    rng = np.random.default_rng([seed, STREAMS[stream], index])
    chosen = population or draw_population(rng)
    scores, raters = draw_events(rng, chosen, 3)
    samples, parts = compose(rng, rng, WINDOW_SAMPLES, _lay_out(rng, scores))
    return Window(samples, *_label(parts[0], 0, raters[0], chosen))


def peek_class(seed: int, index: int, population: Population | None = None) -> int:
    """Return the class that most raters are meant to choose in a window, without making it: a thousand times faster."""
    rng = np.random.default_rng([seed, STREAMS["window"], index])
    chosen = population or draw_population(rng)
    return int(expected_votes(draw_events(rng, chosen, 3)[0][0], chosen).argmax())


def measure_window(rng: np.random.Generator, scores: np.ndarray) -> np.ndarray:
    """Return the scores (4,) that raters of a window planned for events of `scores` (3, 4) would find, unrendered."""
    return score(measure_unrendered(rng, _lay_out(rng, scores)))


def _lay_out(rng: np.random.Generator, scores: np.ndarray) -> list[Segment]:
    """Return the segments of a window: the first of three events in its middle, sometimes another before or after."""
    whole = Segment(0, WINDOW_SAMPLES, (_FIRST, _LAST), scores[0])
    if rng.random() >= 0.2:
        return [whole]
    cut = int(rng.uniform(4, 19) * SFREQ)
    if rng.random() >= 0.5:
        return [replace(whole, start=cut), Segment(0, cut, (0, cut), scores[2])]
    cut = WINDOW_SAMPLES - cut
    return [replace(whole, stop=cut), Segment(cut, WINDOW_SAMPLES, (cut, WINDOW_SAMPLES), scores[1])]


def simulate_recording(seed: int, index: int) -> Recording:
    """Draw one recording of a training set with its overlapping labelled windows."""
    rng = np.random.default_rng([seed, STREAMS["recording"], index])
    patient = _patient_of(seed, index)
    population = draw_population(rng)
    u = rng.random()
    n_rows = int(np.interp(np.clip(u + rng.normal(0, 0.1), 0, 1), QUANTILES, ROWS_AT))
    seconds = max(int(np.interp(u, QUANTILES, SECONDS_AT)), WINDOW_SECONDS + 2 * (n_rows - 1))
    n_times = seconds * SFREQ
    last = n_times - (WINDOW_SAMPLES - _LAST)  # where the labelled part of the last window ends
    count = 1 + rng.poisson((seconds - WINDOW_SECONDS) / 120)
    cuts = np.sort(rng.integers(_FIRST, max(_FIRST + 1, last), count - 1))
    scores, raters = draw_events(rng, population, count)
    segments, asked = [], []
    for k, (start, stop) in enumerate(pairwise([0, *map(int, cuts), n_times])):
        centre = (max(start, _FIRST), min(stop, last))
        if centre[1] - centre[0] >= _LAST - _FIRST:
            segments.append(Segment(start, stop, centre, scores[k]))
            asked.append(raters[k])
    if not segments:
        segments, asked = [Segment(0, n_times, (_FIRST, last), scores[0])], [raters[0]]
    samples, parts = compose(np.random.default_rng([seed, 9, patient]), rng, n_times, segments)
    places = [
        (offset, k)
        for k, segment in enumerate(segments)
        for offset in range(0, seconds - WINDOW_SECONDS + 1, 2)
        if segment.centre[0] <= offset * SFREQ + _FIRST and offset * SFREQ + _LAST <= segment.centre[1]
    ]
    labels = []
    for i in np.sort(rng.choice(len(places), min(n_rows, len(places)), replace=False)):
        offset, k = places[i]
        labels.append((offset, *_label(parts[k], offset * SFREQ, asked[k], population)))
    return Recording(samples, patient, labels)


def _label(part: Part, start: int, raters: Raters, population: Population) -> tuple[np.ndarray, dict[str, Any]]:
    """Measure a pattern in the central 10 s of the window that starts at `start`, and let the raters vote on it."""
    found = part.measure(start + _FIRST, start + _LAST)
    scores = score(found)
    expected = expected_votes(scores, population)
    truth = {
        "pattern": CLASS_NAMES[int(expected.argmax())],
        "population": population,
        "hemisphere": "left" if part.plan.side < 0 else "right",
        "onset_seconds": float((part.onsets[0] - start) / SFREQ) if len(part.onsets) else float("nan"),
        "seizure": part.plan.seizure,
        "kind": part.plan.kind,
        "bilateral_independent": part.plan.bilateral,
        "family": part.family,
        **{name: float(value) for name, value in asdict(found).items()},
        **{f"score_{n}": float(s) for n, s in zip(("pattern", "ictal", "periodic", "lateral"), scores, strict=True)},
        "expected": expected,
    }
    return cast_votes(scores, raters), truth


def _patient_of(seed: int, index: int) -> int:
    """Return the patient of a recording: groups of 1 to 19 of a block of 30 recordings share one."""
    block, within = divmod(index, 30)
    rng = np.random.default_rng([seed, 8, block])
    sizes = rng.choice([1, 1, 1, 2, 3, 4, 6, 10, 19], 30)
    return int(block * 30 + np.searchsorted(np.cumsum(sizes), within, side="right"))
