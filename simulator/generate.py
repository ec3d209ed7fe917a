"""Draws labelled EEG: one 50 s window for training on the fly, or one recording of a data set with its windows.

All of it is deterministic from the seed, the stream and the index, so any worker may draw any of it in any order.

`simulator.scene` composes the signal; its pattern is measured in the labelled 10 s, and the raters vote on what it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np

from kernel.constants import CLASS_NAMES, LABEL_SECONDS, SFREQ, WINDOW_SAMPLES, WINDOW_SECONDS
from simulator.population import Events, Population, draw_events, draw_population
from simulator.scene import Scene, Segment, compose, find_onsets, measure_unrendered
from simulator.voters import Properties, cast_votes, expected_votes, score

STREAMS = {"window": 0, "recording": 1, "test": 2}
_CENTRE = (LABEL_SECONDS[0] * SFREQ, LABEL_SECONDS[1] * SFREQ)
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
    labels: list[tuple[int, np.ndarray, dict[str, Any]]] = field(default_factory=list)


def simulate_window(seed: int, index: int, population: Population | None = None, stream: str = "window") -> Window:
    """Draw one fresh labelled 50 s window, the same for the same arguments wherever it is drawn."""
    rng = np.random.default_rng([seed, STREAMS[stream], index])
    chosen = population or draw_population(rng)
    segments = _lay_out(rng, draw_events(rng, chosen, 3))
    samples, scene = compose(rng, rng, WINDOW_SAMPLES, segments)
    votes, truth = _label(scene, segments[0], 0, chosen)
    return Window(samples, votes, truth)


def measure_window(rng: np.random.Generator, events: Events) -> np.ndarray:
    """Return the scores (4,) that raters of a window planned for `events` would find, without rendering it."""
    return score(measure_unrendered(rng, _lay_out(rng, events)))


def _lay_out(rng: np.random.Generator, events: Events) -> list[Segment]:
    """Return the segments of a window: the first of three events in its middle, sometimes another before or after."""
    scores, raters = events.scores, events.raters
    segments = [Segment(0, WINDOW_SAMPLES, _CENTRE, scores[0], raters[0])]
    if rng.random() < 0.2:
        cut = int(rng.uniform(4, 19) * SFREQ)
        if rng.random() < 0.5:
            cut = WINDOW_SAMPLES - cut
            after = Segment(cut, WINDOW_SAMPLES, (cut, WINDOW_SAMPLES), scores[1], raters[1])
            return [replace(segments[0], stop=cut), after]
        return [replace(segments[0], start=cut), Segment(0, cut, (0, cut), scores[2], raters[2])]
    return segments


def peek_class(seed: int, index: int, population: Population | None = None, stream: str = "window") -> int:
    """Return the class that most raters are meant to choose in a window, without making it: a thousand times faster."""
    rng = np.random.default_rng([seed, STREAMS[stream], index])
    chosen = population or draw_population(rng)
    return int(expected_votes(draw_events(rng, chosen, 3).scores[0], chosen == "few").argmax())


def simulate_recording(seed: int, index: int) -> Recording:
    """Draw one recording of a training set with its overlapping labelled windows."""
    rng = np.random.default_rng([seed, STREAMS["recording"], index])
    patient = _patient_of(seed, index)
    chosen = draw_population(rng)
    u = rng.random()
    n_rows = int(np.interp(np.clip(u + rng.normal(0, 0.1), 0, 1), QUANTILES, ROWS_AT))
    seconds = max(int(np.interp(u, QUANTILES, SECONDS_AT)), WINDOW_SECONDS + 2 * (n_rows - 1))
    n_times = seconds * SFREQ
    count = 1 + rng.poisson((seconds - WINDOW_SECONDS) / 120)
    first, last = (s * SFREQ for s in LABEL_SECONDS)
    cuts = np.sort(rng.integers(first, max(first + 1, n_times - (WINDOW_SAMPLES - last)), count - 1))
    edges = [0, *[int(c) for c in cuts], n_times]
    events = draw_events(rng, chosen, count)
    segments = [
        Segment(a, b, (max(a, first), min(b, n_times - (WINDOW_SAMPLES - last))), events.scores[k], events.raters[k])
        for k, (a, b) in enumerate(pairwise(edges))
    ]
    segments = [s for s in segments if s.centre[1] - s.centre[0] >= last - first] or [
        replace(segments[0], start=0, stop=n_times, centre=(first, n_times - (WINDOW_SAMPLES - last)))
    ]
    samples, scene = compose(np.random.default_rng([seed, 9, patient]), rng, n_times, segments)
    places = [
        (offset, segment)
        for segment in segments
        for offset in range(0, seconds - WINDOW_SECONDS + 1, 2)
        if segment.centre[0] <= offset * SFREQ + first and offset * SFREQ + last <= segment.centre[1]
    ]
    picked = np.sort(rng.choice(len(places), min(n_rows, len(places)), replace=False))
    labels = []
    for i in picked:
        offset, segment = places[i]
        votes, truth = _label(scene, segment, offset * SFREQ, chosen)
        labels.append((offset, votes, truth))
    return Recording(samples, patient, labels)


def _label(scene: Scene, segment: Segment, start: int, population: Population) -> tuple[np.ndarray, dict[str, Any]]:
    """Measure the pattern in the central 10 s of the window that starts at `start`, and let the raters vote."""
    plan, played, _ = scene.parts[segment.start]
    first, last = (start + s * SFREQ - segment.start for s in LABEL_SECONDS)
    found = scene.measure(segment, first, last)
    scores = score(found)
    votes = cast_votes(scores, segment.raters)
    expected = expected_votes(scores, population == "few")
    begins = find_onsets(played.on)
    truth = {
        "pattern": CLASS_NAMES[int(expected.argmax())],
        "population": population,
        "hemisphere": "left" if plan.side < 0 else "right",
        "onset_seconds": float((begins[0] + segment.start - start) / SFREQ) if len(begins) else float("nan"),
        "seizure": plan.seizure,
        "kind": plan.kind,
        "bilateral_independent": plan.bilateral,
        "family": scene.family,
        **{name: float(getattr(found, name)) for name in Properties.__dataclass_fields__},
        **{f"score_{n}": float(s) for n, s in zip(("pattern", "ictal", "periodic", "lateral"), scores, strict=True)},
        "expected": expected,
    }
    return votes, truth


def _patient_of(seed: int, index: int) -> int:
    """Return the patient of a recording: groups of 1 to 19 of a block of 30 recordings share one."""
    block, within = divmod(index, 30)
    rng = np.random.default_rng([seed, 8, block])
    sizes = rng.choice([1, 1, 1, 2, 3, 4, 6, 10, 19], 30)
    return int(block * 30 + np.searchsorted(np.cumsum(sizes), within, side="right"))
