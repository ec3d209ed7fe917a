"""Draws labelled EEG: one 50 s window for training on the fly, or one recording of a data set with its windows.

All of it is deterministic from the seed, the stream and the index, so any worker may draw any of it in any order.

The order of making is that of nature: a brain, a pattern as salient over it as the raters are to find it, the body,
the electrodes, the amplifier; then the pattern is measured in the labelled 10 s and the raters vote on what it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np

from kernel.constants import CLASS_NAMES, LABEL_SECONDS, SFREQ, WINDOW_SAMPLES, WINDOW_SECONDS
from kernel.montage import build_montage
from simulator.amplifier import amplify
from simulator.artefacts import add_arousal, add_body, add_stimulus, draw_heart
from simulator.background import draw_brain, draw_slow_noise, render_background
from simulator.electrodes import add_electrodes, add_gaps
from simulator.other import Family, add_family, change_brain, draw_family
from simulator.patterns import Played, draw_course, play_pattern
from simulator.plan import Plan, draw_plan
from simulator.population import Events, Population, draw_events, draw_population
from simulator.voters import Properties, Raters, cast_votes, expected_votes, score

STREAMS = {"window": 0, "recording": 1, "test": 2}
_CENTRE = (LABEL_SECONDS[0] * SFREQ, LABEL_SECONDS[1] * SFREQ)
UNREADABLE = Properties(0.0, 1.0, 1.0, 1.0, 0.0, 0.5, 0.5)
MOST_RAISED = 3.0
"""How much higher a pattern may lie under artefact than without, to be seen as planned; under more it is missed."""
LASTING = 0.5
"""What of the power of lasting artefact hides a pattern: readers filter out the fast half of it."""
NOTHING_SEEN = -1.5
"""Below this score of "is there a pattern" hardly any rater finds one, and a window may be of a family of Other."""
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


@dataclass(frozen=True)
class Segment:
    """A stretch of a recording with one pattern: samples from `start` to `stop`, labelled within `centre`.

    All its windows are one label event: the same raters vote on each, by the same chance.
    """

    start: int
    stop: int
    centre: tuple[int, int]
    scores: np.ndarray
    raters: Raters


def simulate_window(seed: int, index: int, population: Population | None = None, stream: str = "window") -> Window:
    """Draw one fresh labelled 50 s window, the same for the same arguments wherever it is drawn."""
    rng = np.random.default_rng([seed, STREAMS[stream], index])
    chosen = population or draw_population(rng)
    segments = _lay_out(rng, draw_events(rng, chosen, 3))
    samples, scene = _compose(rng, rng, WINDOW_SAMPLES, segments)
    votes, truth = _label(scene, segments[0], 0, chosen)
    return Window(samples, votes, truth)


def measure_window(rng: np.random.Generator, events: Events) -> np.ndarray:
    """Return the scores (4,) that raters of a window planned for `events` would find, without rendering it."""
    segments = _lay_out(rng, events)
    family = _draw_family(rng, segments)
    plan = _draw_plan(rng, segments[0].scores, family)
    length = segments[0].stop - segments[0].start
    centre = (segments[0].centre[0] - segments[0].start, segments[0].centre[1] - segments[0].start)
    on, _, _, rate = draw_course(rng, plan, length, centre)
    return score(_measure(plan, on[slice(*centre)], rate[slice(*centre)], plan.properties.salience, family))


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
    samples, scene = _compose(np.random.default_rng([seed, 9, patient]), rng, n_times, segments)
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


@dataclass(frozen=True)
class _Scene:
    """What labels are read from: channels (18, n) of the background and the body, each segment's plan and pattern."""

    background: np.ndarray
    body: np.ndarray
    parts: dict[int, tuple[Plan, Played, np.ndarray]]
    family: Family


def _compose(
    patient: np.random.Generator, rng: np.random.Generator, n_times: int, segments: list[Segment]
) -> tuple[np.ndarray, _Scene]:
    """Return samples (20, n_times) and what labels are read from; `patient` draws what recordings of one share."""
    family = _draw_family(rng, segments)
    brain = change_brain(rng, draw_brain(patient), family)
    x = render_background(rng, brain, n_times)
    played = [_play(rng, segment, family) for segment in segments]
    clean, loud = build_montage(x), x.copy()
    for one in played:
        if one.plan.seizure:
            x[:, one.place] *= _postictal(rng, one.played.on)
        loud[:, one.place] += one.signal * one.find_size(clean, 0 * clean)
    if family != "suppressed":
        gain = _draw_gain(rng, loud)
        x *= gain
        clean *= gain
    brain_alone = x.copy()
    heart = draw_heart(rng, n_times)
    add_body(rng, x, heart)
    body = build_montage(x - brain_alone)
    parts = {}
    for one in played:
        size = min(one.find_size(clean, body), MOST_RAISED * one.find_size(clean, 0 * clean))
        x[:, one.place] += one.signal * size
        parts[one.segment.start] = (one.plan, one.played, build_montage(one.signal) * size)
    add_family(rng, x, family, heart)
    for start, (plan, played, _) in parts.items():
        if plan.seizure and rng.random() < 0.35:
            add_arousal(rng, x, _onsets(played.on) + start)
    if rng.random() < 0.08:
        add_stimulus(rng, x, np.concatenate([_onsets(p.on) + start for start, (_, p, _) in parts.items()]))
    add_electrodes(rng, x)
    ekg = heart * np.float32(rng.lognormal(np.log(250), 1.0) * rng.choice([-1, 1]))
    ekg += draw_slow_noise(rng, 1, n_times, 1.0)[0] * np.float32(rng.lognormal(np.log(8), 1.0))
    if rng.random() < 0.1:
        ekg = draw_slow_noise(rng, 1, n_times, 3.0)[0] * np.float32(rng.lognormal(np.log(30), 1.5))
    samples = amplify(rng, np.concatenate([x, ekg[None]]))
    add_gaps(rng, samples)
    return samples, _Scene(clean, body, parts, family)


@dataclass(frozen=True)
class _Part:
    """The pattern of a segment, as played: signal (19, n) before it is scaled."""

    segment: Segment
    plan: Plan
    played: Played
    signal: np.ndarray

    @property
    def place(self) -> slice:
        return slice(self.segment.start, self.segment.stop)

    def find_size(self, background: np.ndarray, body: np.ndarray) -> np.float32:
        """Return by what to multiply the signal so that it stands out of these channels as planned."""
        centre = (self.segment.centre[0] - self.segment.start, self.segment.centre[1] - self.segment.start)
        pattern = build_montage(self.signal)
        found = _measure_salience(background[:, self.place], body[:, self.place], pattern, self.played.on, centre)
        return np.float32(self.plan.properties.salience / max(found, 1e-9))


def _play(rng: np.random.Generator, segment: Segment, family: Family) -> _Part:
    """Play a segment's pattern; one of several fades in and out."""
    plan = _draw_plan(rng, segment.scores, family)
    length = segment.stop - segment.start
    played = play_pattern(rng, plan, length, (segment.centre[0] - segment.start, segment.centre[1] - segment.start))
    edge = np.minimum(1, np.minimum(np.arange(length), np.arange(length)[::-1]) / (rng.uniform(0.2, 2) * SFREQ))
    return _Part(segment, plan, played, played.signal * edge.astype(np.float32))


def _draw_family(rng: np.random.Generator, segments: list[Segment]) -> Family:
    """Return a family of Other where nothing is seen in any segment."""
    return draw_family(rng) if max(float(s.scores[0]) for s in segments) < NOTHING_SEEN else "usual"


def _draw_plan(rng: np.random.Generator, scores: np.ndarray, family: Family) -> Plan:
    """Draw a pattern of `scores` (4,), faint or none in a family of Other."""
    plan = draw_plan(rng, scores)
    if family in ("unreadable", "suppressed") or (family != "usual" and rng.random() < 0.5):
        faint = min(plan.properties.salience, rng.uniform(0, 0.5))
        plan = replace(plan, kind="calm", properties=replace(plan.properties, salience=faint))
    return plan


def _measure(plan: Plan, on: np.ndarray, rate: np.ndarray, salience: float, family: Family) -> Properties:
    """Return what raters find where a pattern of `plan` is `on` (n,) at a `rate` (n,)."""
    if family == "unreadable":
        return UNREADABLE
    found = float(rate[on > 0.5].mean()) if on.any() else plan.properties.rate
    return replace(plan.properties, salience=salience, prevalence=float(on.mean()), rate=found)


def _draw_gain(rng: np.random.Generator, x: np.ndarray) -> np.float32:
    """Return by what to multiply `x` (19, n_times): skulls, scalps and montages differ, whatever the pattern.

    Most of the differences in amplitude between windows are not their patterns'; else these could be told by it.
    """
    level = float(np.median(build_montage(x).std(axis=1)))
    wanted = max(2.5, rng.lognormal(np.log(12), 0.7))
    return np.float32((wanted / max(level, 1e-3)) ** rng.uniform(0.25, 0.85))


def _measure_salience(
    background: np.ndarray, body: np.ndarray, pattern: np.ndarray, on: np.ndarray, centre: tuple[int, int]
) -> float:
    """Return how far the pattern stands out of background and artefact, mean of the four strongest channels.

    Readers see it by its peaks or by its energy: half of its 98th percentile or 1.3 times its root mean square, over
    that of the background, whichever is more. The former finds sparse discharges, the latter low but steady rhythms.
    They read between blinks, yet not through muscle that goes on: of the body's artefact its median second counts.
    """
    inside = slice(*centre)
    active = on[inside] > 0.5
    if active.sum() < 40:
        return 0.0
    seen = pattern[:, inside][:, active][:, ::4]
    size = np.maximum(0.5 * np.percentile(np.abs(seen), 98, axis=1), 1.3 * np.sqrt((seen**2).mean(axis=1)))
    level = (background[:, inside] ** 2).mean(axis=1)
    seconds = body[:, inside][:, : (centre[1] - centre[0]) // SFREQ * SFREQ].reshape(len(body), -1, SFREQ)
    lasting = np.median(seconds.var(axis=2), axis=1)
    strongest = np.argsort(size)[-4:]
    return float((size / (np.sqrt(level + LASTING * lasting) + 1e-3))[strongest].mean())


def _label(scene: _Scene, segment: Segment, start: int, population: Population) -> tuple[np.ndarray, dict[str, Any]]:
    """Measure the pattern in the central 10 s of the window that starts at `start`, and let the raters vote."""
    plan, played, pattern = scene.parts[segment.start]
    first, last = (start + s * SFREQ - segment.start for s in LABEL_SECONDS)
    inside = slice(first, last)
    background = scene.background[:, segment.start : segment.stop]
    body = scene.body[:, segment.start : segment.stop]
    salience = _measure_salience(background, body, pattern, played.on, (first, last))
    found = _measure(plan, played.on[inside], played.rate[inside], salience, scene.family)
    scores = score(found)
    votes = cast_votes(scores, segment.raters)
    expected = expected_votes(scores, population == "few")
    begins = _onsets(played.on)
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


def _onsets(on: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.diff(on) > 0)


def _postictal(rng: np.random.Generator, on: np.ndarray) -> np.ndarray:
    """Return what is left of the background (n_times,) once a seizure has stopped: attenuation that recovers."""
    ends = np.flatnonzero(np.diff(on) < 0)
    left = np.ones(len(on), dtype=np.float32)
    if len(ends) and rng.random() < 0.6:
        after = np.arange(len(on) - ends[-1]) / SFREQ
        left[ends[-1] :] = 1 - rng.uniform(0.3, 0.85) * np.exp(-after / rng.uniform(5, 40))
    return left


def _patient_of(seed: int, index: int) -> int:
    """Return the patient of a recording: groups of 1 to 19 of a block of 30 recordings share one."""
    block, within = divmod(index, 30)
    rng = np.random.default_rng([seed, 8, block])
    sizes = rng.choice([1, 1, 1, 2, 3, 4, 6, 10, 19], 30)
    return int(block * 30 + np.searchsorted(np.cumsum(sizes), within, side="right"))
