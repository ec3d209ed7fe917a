"""Composes a stretch of EEG from its segments, in the order of nature, and measures what raters find in it.

A brain, the body over it, a pattern as salient over both as the raters are to find it, the electrodes, the amplifier.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kernel.constants import SFREQ
from kernel.montage import build_montage
from simulator.artefacts import add_arousal, add_body, add_stimulus, draw_heart
from simulator.background import Brain, render_background
from simulator.electrodes import add_electrodes, add_gaps, amplify
from simulator.other import Family, add_family, change_brain, draw_family
from simulator.patterns import Course, draw_course, play_pattern
from simulator.plan import Plan, draw_plan
from simulator.signals import draw_drift, draw_size
from simulator.voters import Properties

UNREADABLE = Properties(0.0, 1.0, 1.0, 1.0, 0.0, 0.5, 0.5)
MOST_RAISED = 3.0
"""How much higher a pattern may lie under artefact than without, to be seen as planned; under more it is missed."""
LASTING = 0.5  # what of the power of lasting artefact hides a pattern: readers filter out the fast half of it


@dataclass(frozen=True)
class Segment:
    """A stretch of a recording with one pattern of `scores` (4,), labelled within `centre`; all are samples."""

    start: int
    stop: int
    centre: tuple[int, int]
    scores: np.ndarray

    @property
    def place(self) -> slice:
        """The whole of it."""
        return slice(self.start, self.stop)

    @property
    def inside(self) -> slice:
        """The samples of `centre`, counted from the segment's start."""
        return slice(self.centre[0] - self.start, self.centre[1] - self.start)


@dataclass(frozen=True)
class Part:
    """A segment as played, from which its labels are read: a pattern, and what it must stand out of."""

    segment: Segment
    family: Family
    plan: Plan
    course: Course
    signal: np.ndarray  # (19, n) the pattern before it is scaled
    channels: np.ndarray  # (18, n) its channels
    background: np.ndarray  # (18, n) those of the brain
    body: np.ndarray  # (18, n) those of the artefact

    @property
    def onsets(self) -> np.ndarray:
        """The samples of the recording at which the pattern begins."""
        return np.flatnonzero(np.diff(self.course.on) > 0) + self.segment.start

    def measure(self, first: int, last: int) -> Properties:
        """Return what raters find from the sample `first` to `last` of the recording."""
        inside = slice(first - self.segment.start, last - self.segment.start)
        return _measure(self.plan, self.course, inside, self.measure_salience(inside), self.family)

    def measure_salience(self, inside: slice) -> float:
        """Return how far the pattern stands out of background and artefact, mean of the four strongest channels.

        Readers see it by its peaks or by its energy: half of its 98th percentile or 1.3 times its root mean square,
        over that of the background, whichever is more. The former finds sparse discharges, the latter low but steady
        rhythms. They read between blinks, yet not through muscle that goes on: of the body's artefact its median second
        counts.
        """
        active = self.course.on[inside] > 0.5
        if active.sum() < 40:
            return 0.0
        seen = self.channels[:, inside][:, active][:, ::4]
        size = np.maximum(0.5 * np.percentile(np.abs(seen), 98, axis=1), 1.3 * np.sqrt((seen**2).mean(axis=1)))
        level = (self.background[:, inside] ** 2).mean(axis=1)
        seconds = self.body[:, inside][:, : len(active) // SFREQ * SFREQ].reshape(len(self.body), -1, SFREQ)
        lasting = np.median(seconds.var(axis=2), axis=1)
        strongest = np.argsort(size)[-4:]
        return float((size / (np.sqrt(level + LASTING * lasting) + 1e-3))[strongest].mean())

    def find_size(self) -> np.float32:
        """Return by what to multiply the signal so that it stands out as planned."""
        return np.float32(self.plan.properties.salience / max(self.measure_salience(self.segment.inside), 1e-9))


def compose(
    patient: np.random.Generator, rng: np.random.Generator, n_times: int, segments: list[Segment]
) -> tuple[np.ndarray, list[Part]]:
    """Return samples (20, n_times) and the segments as played; `patient` draws what recordings of one share."""
    family = draw_family(rng, [segment.scores for segment in segments])
    brain = Brain(patient)
    change_brain(rng, brain, family)
    x = render_background(rng, brain, n_times)
    clean, loud = build_montage(x), x.copy()
    parts = [_play(rng, segment, family, clean) for segment in segments]
    for part in parts:
        if part.plan.seizure:
            x[:, part.segment.place] *= _postictal(rng, part.course.on)
        loud[:, part.segment.place] += part.signal * part.find_size()
    if family != "suppressed":
        gain = _draw_gain(rng, loud)
        x *= gain
        clean *= gain  # the background of every part, too
    brain_alone = x.copy()
    heart = draw_heart(rng, n_times)
    add_body(rng, x, heart)
    body = build_montage(x - brain_alone)
    for k, part in enumerate(parts):
        under = replace(part, body=body[:, part.segment.place])
        size = min(under.find_size(), MOST_RAISED * part.find_size())
        x[:, part.segment.place] += part.signal * size
        parts[k] = replace(under, channels=part.channels * size)
    add_family(rng, x, family, heart)
    for part in parts:
        if part.plan.seizure and rng.random() < 0.35:
            add_arousal(rng, x, part.onsets)
    if rng.random() < 0.08:
        add_stimulus(rng, x, np.concatenate([part.onsets for part in parts]))
    add_electrodes(rng, x)
    samples = amplify(rng, np.concatenate([x, _draw_ekg(rng, heart)[None]]))
    add_gaps(rng, samples)
    return samples, parts


def measure_unrendered(rng: np.random.Generator, segments: list[Segment]) -> Properties:
    """Return what raters would find in the first segment of a window, without rendering it."""
    family = draw_family(rng, [segment.scores for segment in segments])
    first = segments[0]
    plan = _draw_plan(rng, first.scores, family)
    course = draw_course(rng, plan, first.stop - first.start, first.inside)
    return _measure(plan, course, first.inside, plan.properties.salience, family)


def _draw_plan(rng: np.random.Generator, scores: np.ndarray, family: Family) -> Plan:
    """Draw a pattern of `scores` (4,), faint or none in a family of Other."""
    plan = draw_plan(rng, scores)
    if family in ("unreadable", "suppressed") or (family != "usual" and rng.random() < 0.5):
        faint = min(plan.properties.salience, rng.uniform(0, 0.5))
        plan = replace(plan, kind="calm", properties=replace(plan.properties, salience=faint))
    return plan


def _play(rng: np.random.Generator, segment: Segment, family: Family, clean: np.ndarray) -> Part:
    """Play a segment's pattern over the channels `clean`; inside a recording it fades in and out."""
    plan = _draw_plan(rng, segment.scores, family)
    length = segment.stop - segment.start
    course = draw_course(rng, plan, length, segment.inside)
    signal = play_pattern(rng, plan, course).astype(np.float32)
    fade = np.minimum(1, np.arange(length) / (rng.uniform(0.2, 2) * SFREQ)).astype(np.float32)
    if segment.start > 0:
        signal *= fade
    if segment.stop < clean.shape[1]:
        signal *= fade[::-1]
    background = clean[:, segment.place]
    return Part(
        segment, family, plan, course, signal, build_montage(signal), background, body=np.zeros_like(background)
    )


def _postictal(rng: np.random.Generator, on: np.ndarray) -> np.ndarray:
    """Return what is left of the background (n_times,) once a seizure has stopped: attenuation that recovers."""
    ends = np.flatnonzero(np.diff(on) < 0)
    left = np.ones(len(on), dtype=np.float32)
    if len(ends) and rng.random() < 0.6:
        after = np.arange(len(on) - ends[-1]) / SFREQ
        left[ends[-1] :] = 1 - rng.uniform(0.3, 0.85) * np.exp(-after / rng.uniform(5, 40))
    return left


def _draw_gain(rng: np.random.Generator, x: np.ndarray) -> np.float32:
    """Return by what to multiply `x` (19, n_times): skulls, scalps and montages differ, whatever the pattern.

    Most of the differences in amplitude between windows are not their patterns'; else these could be told by it.
    """
    level = float(np.median(build_montage(x).std(axis=1)))
    wanted = max(2.5, draw_size(rng, 12, 0.7))
    return np.float32((wanted / max(level, 1e-3)) ** rng.uniform(0.4, 0.95))


def _draw_ekg(rng: np.random.Generator, heart: np.ndarray) -> np.ndarray:
    """Return the electrode at the heart (n_times,): its beats and some drift, or next to nothing but drift."""
    n_times = len(heart)
    ekg = heart * np.float32(draw_size(rng, 250, 1.0) * rng.choice([-1, 1]))
    ekg += draw_drift(rng, n_times, 1.0) * np.float32(draw_size(rng, 8, 1.0))
    return draw_drift(rng, n_times, 3.0) * np.float32(draw_size(rng, 30, 1.5)) if rng.random() < 0.1 else ekg


def _measure(plan: Plan, course: Course, inside: slice, salience: float, family: Family) -> Properties:
    """Return what raters find of a pattern in the samples `inside`."""
    if family == "unreadable":
        return UNREADABLE
    on, rate = course.on[inside], course.rate[inside]
    found = float(rate[on > 0.5].mean()) if on.any() else plan.properties.rate
    return replace(plan.properties, salience=salience, prevalence=float(on.mean()), rate=found)
