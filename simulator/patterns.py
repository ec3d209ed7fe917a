"""Plays a planned pattern: discharges or a rhythm, their timing, where they lie and how they change.

Terms are those of ACNS 2021 (Hirsch et al., J Clin Neurophysiol 2021;38:1): periodic discharges have a quantifiable
interval between them, rhythmic delta has none; +F is superimposed fast activity, +R rhythmic delta; intervals of a
regular pattern vary by less than half. Seizures slow down or speed up, spread and grow, then stop (Niedermeyer, 7th
ed., ch. 30).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kernel.constants import SFREQ
from simulator.head import draw_fields
from simulator.plan import Plan
from simulator.signals import add_at, draw_clipped, draw_drift, draw_size
from simulator.waves import CYCLE_POINTS, draw_cycles, draw_discharge


@dataclass(frozen=True)
class Course:
    """How a pattern goes on, each (n_times,): whether it is on, how far it evolved, how its pace wanders, its hertz."""

    on: np.ndarray
    progress: np.ndarray
    wander: np.ndarray
    rate: np.ndarray


def draw_course(rng: np.random.Generator, plan: Plan, n_times: int, centre: slice) -> Course:
    """Draw `n_times` samples of a pattern that has the properties of `plan` between the samples of `centre`."""
    on = _draw_runs(rng, plan, n_times, centre)
    half = rng.uniform(10, 45) * SFREQ
    # 1 at its beginning, -1 at its end, near 0 amid the centre
    progress = np.clip(((centre.start + centre.stop) / 2 - np.arange(n_times)) / half, -1, 1)
    if rng.random() >= 0.8:
        progress = -progress
    p = plan.properties
    wander = rng.uniform(0.02, 0.1) * draw_drift(rng, n_times, rng.uniform(0.02, 0.2))
    change = rng.uniform(0.15, 0.75) if plan.kind in ("rhythm", "fast", "irregular") else rng.uniform(0.1, 0.45)
    return Course(on, progress, wander, p.rate * np.exp(min(1.0, p.evolution) * change * progress + wander))


def play_pattern(rng: np.random.Generator, plan: Plan, course: Course) -> np.ndarray:
    """Return the signal (19, n_times) of a pattern, its size not yet set."""
    p = plan.properties
    if plan.bilateral:
        one_sided = replace(plan, properties=replace(p, laterality=1.0))
        near = _play_train(rng, one_sided, course)
        rate = course.rate * rng.uniform(0.7, 1.3)
        far = _play_train(rng, replace(one_sided, side=-plan.side), replace(course, rate=rate))
        return near + _match_energy(far, near) * np.sqrt((1 - p.laterality) / (1 + p.laterality))
    signal = _play_train(rng, plan, course)
    if plan.kind == "calm" and p.sharpness > 0.6 and rng.random() < 0.25:  # +R
        slow = replace(plan, properties=replace(p, sharpness=rng.uniform(0, 0.3)))
        rate = np.full(len(course.on), rng.uniform(0.7, 2.2)) * np.exp(course.wander)
        rhythm = _play_train(rng, slow, replace(course, rate=rate))
        signal += _match_energy(rhythm, signal) * rng.uniform(0.15, 0.6)
    return signal


def _match_energy(signal: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return `signal` with the energy of `other`."""
    return signal * np.sqrt((other**2).sum() / max(1e-9, float((signal**2).sum())))


def _play_train(rng: np.random.Generator, plan: Plan, course: Course) -> np.ndarray:
    p, rate, progress = plan.properties, course.rate, course.progress
    n_times, unrest = len(rate), plan.unrest
    # 1 a rhythm, 0 discharges; between them both at once: sharply contoured waves
    share = float(np.clip((0.62 - p.sharpness) / 0.24, 0, 1))
    rhythmic = np.full(n_times, share)
    calm_rhythm = share > 0.5 and not plan.seizure
    weights = np.array([1.0, rng.uniform(0.3, 1.0), rng.uniform(0.2, 0.9), rng.uniform(0.1, 0.7)])
    recruits = plan.seizure and plan.kind != "fast" and rng.random() < 0.65
    if p.laterality > 0.35 and not recruits:  # what is of one side is mostly of one place
        weights[1:] *= rng.uniform(0.2, 0.9)
    fields = draw_fields(rng, p.laterality, plan.side, share, weights, recruits)
    events, phase = _draw_events(rng, rate, unrest)
    if plan.seizure and rng.random() < 0.35:  # its waves change their shape as it evolves
        rhythmic = np.clip(rhythmic + min(1.0, p.evolution) * rng.uniform(-0.8, 0.8) * progress, 0, 1)
    depth = rng.uniform(0.05, 0.4) if calm_rhythm else rng.uniform(0.05, 0.3)
    swing = np.exp(depth * draw_drift(rng, n_times, rng.uniform(0.03, 0.4)))
    if plan.seizure:
        swing *= np.clip(1 - progress * rng.uniform(0, 0.9), 0.15, None)
    lag = rng.uniform(-0.12, 0.12) if rng.random() < (0.7 if plan.seizure else 0.4) else rng.uniform(-0.02, 0.02)
    stray = rng.uniform(0.03, 0.2) if calm_rhythm else 0.02 + 0.1 * unrest  # of a component's phase, in cycles
    out = np.zeros((19, n_times))
    # seizures start in one place and reach the others, or everywhere at once
    spread = rng.uniform(0, 1) * min(1.0, p.evolution) * (rng.random() < (0.5 if recruits else 0.9))
    kinds = _draw_kinds(rng, plan, float(rate.mean()))
    half_width, longest = _draw_widths(rng, plan, float(np.median(rate)))
    for k, (field, weight) in enumerate(zip(fields, weights, strict=True)):
        wave = np.zeros(n_times)
        if k and plan.apart > 0.1:
            step = np.exp(plan.apart * (rng.normal(0, 0.2) + 0.3 * draw_drift(rng, n_times, 0.2)))
            events, phase = _draw_events(rng, rate * step, unrest)
        each = rng.lognormal(0, 0.06 + 0.5 * unrest + (0.1 + 0.8 * unrest) * (k > 0), len(events) + 2)
        shift = lag * k + (rng.normal(0, 0.015) if k else 0)
        if np.any(rhythmic > 0):
            turns = rng.normal(0, stray) + 0.7 * stray * draw_drift(rng, n_times, 0.25) if k else 0.0
            cycles = draw_cycles(rng, p.sharpness, unrest)
            wave += rhythmic * _play_cycles(rng, cycles, phase - shift * rate + turns, each)
        if np.any(rhythmic < 1):
            made = draw_discharge(rng, kinds[min(k, 1)], half_width * rng.uniform(0.8, 1.25), longest, unrest)
            wave += (1 - rhythmic) * _play_discharges(rng, made, events + shift * SFREQ, each, n_times)
        gain = 1 - spread * (k > 0) * progress  # the other places join as it evolves
        if k or plan.apart > 0.1:
            gain = gain * np.exp((depth + 0.4 * plan.apart) * draw_drift(rng, n_times, 0.2))
        out += np.outer(field * weight, wave * gain)
    envelope = np.convolve(course.on, np.ones(31) / 31, mode="same")
    out *= swing * envelope
    if rng.random() < (0.3 if plan.seizure else 0.15):  # +F
        hertz = rng.uniform(10, 30)
        fast = np.sin(2 * np.pi * hertz * np.arange(n_times) / SFREQ + 2 * draw_drift(rng, n_times, 2))
        carrier = np.abs(out).max(axis=0)
        out += np.outer(fields[0], fast * carrier * rng.uniform(0.08, 0.4))
    return out * (-1 if rng.random() < 0.2 else 1)


def _draw_events(rng: np.random.Generator, rate: np.ndarray, unrest: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the samples at which waves begin, and the phase (n_times,) in cycles that runs through them."""
    turns = np.cumsum(rate) / SFREQ
    steps = rng.lognormal(0, 0.03 + rng.uniform(0, 0.1) + 0.55 * unrest, int(turns[-1] * 1.6) + 12)
    marks = np.cumsum(steps / steps.mean()) - rng.uniform(0, 1) - 1
    marks = marks[: np.searchsorted(marks, turns[-1]) + 2]
    phase = np.interp(turns, marks, np.arange(len(marks)))
    return np.interp(marks, turns, np.arange(len(rate)), left=-9e9, right=9e9), phase


def _play_cycles(rng: np.random.Generator, cycles: np.ndarray, phase: np.ndarray, each: np.ndarray) -> np.ndarray:
    """Play `cycles` (n, CYCLE_POINTS) at a `phase` (n_times,), each of a size; both glide to the next one's."""
    number = np.clip(np.floor(phase).astype(int), 0, len(each) - 2)
    part = phase - np.floor(phase)
    shape = rng.integers(0, len(cycles), len(each))
    at = (part * CYCLE_POINTS).astype(int) % CYCLE_POINTS
    size = each[number] * (1 - part) + each[number + 1] * part
    return size * (cycles[shape[number], at] * (1 - part) + cycles[shape[number + 1], at] * part)


def _play_discharges(
    rng: np.random.Generator, made: np.ndarray, events: np.ndarray, each: np.ndarray, n_times: int
) -> np.ndarray:
    wave = np.zeros(n_times)
    chosen = rng.integers(0, len(made), len(events))
    for event, shape, size in zip(events, chosen, each, strict=False):
        add_at(wave, made[shape] * size, int(event))
    return wave


def _draw_kinds(rng: np.random.Generator, plan: Plan, rate: float) -> list[str]:
    if plan.kind == "polyspikes":
        return ["polyspikes", "polyspikes" if rng.random() < 0.6 else "slow_complex"]
    kinds = ["sharp", "slow_complex", "triphasic", "polyphasic", "blunt"]
    shares = [0.2, 0.55, 0.08, 0.14, 0.03] if rate > 2.2 else [0.28, 0.3, 0.2, 0.14, 0.08]
    first = str(rng.choice(kinds, p=shares))
    return [first, first if rng.random() < 0.6 else str(rng.choice(kinds, p=shares))]


def _draw_widths(rng: np.random.Generator, plan: Plan, rate: float) -> tuple[float, float]:
    """Return the width of a discharge's main wave at half height and the longest that it may last, in seconds."""
    share = float(np.interp(plan.properties.sharpness, [0.4, 0.62, 1.0], [1.0, 0.85, 0.5])) * rng.uniform(0.7, 1.05)
    middle = 0.07 if plan.kind in ("spike_wave", "polyspikes") else 0.17
    return draw_clipped(rng, middle, 0.4, 0.03, 0.35), float(np.clip(share / rate, 0.15, 1.0))


def _draw_runs(rng: np.random.Generator, plan: Plan, n_times: int, centre: slice) -> np.ndarray:
    """Return where the pattern is on (n_times,), `prevalence` of the centre."""
    on = np.zeros(n_times, dtype=np.float32)
    share, inside = plan.properties.prevalence, on[centre]
    if share >= 1:
        inside[:] = 1
    elif plan.seizure or rng.random() < 0.5:  # begins or ends inside
        part = int(len(inside) * share)
        some = slice(part) if rng.random() < 0.5 else slice(len(inside) - part, None)
        inside[some] = 1
    else:  # runs of it
        count = int(rng.integers(1, 4))
        cuts = np.sort(rng.uniform(0, 1 - share, count))
        parts = rng.dirichlet(np.full(count, 3.0)) * share
        before = np.cumsum([0, *parts[:-1]])
        for at, part in zip(cuts + before, parts, strict=True):
            a = int(at * len(inside))
            inside[a : a + max(1, int(part * len(inside)))] = 1
    on[: centre.start] = _draw_runs_outwards(rng, plan, inside[0], centre.start)[::-1]
    on[centre.stop :] = _draw_runs_outwards(rng, plan, inside[-1], n_times - centre.stop)
    return on


def _draw_runs_outwards(rng: np.random.Generator, plan: Plan, state: float, length: int) -> np.ndarray:
    """Return where the pattern is on (length,), counted from an edge of the centre at which its `state` is 0 or 1."""
    share = min(plan.properties.prevalence, 1)
    on = np.zeros(length, dtype=np.float32)
    at = 0
    steady = rng.random() < (0.25 if plan.seizure else 0.6)
    while at < length:
        if steady and (state or share < 1):
            run = length
        elif plan.seizure:
            run = int(rng.uniform(3, 25) * SFREQ) if state else length
        else:
            run = int(draw_size(rng, 6 if state else 6 * (1.05 - share), 0.7) * SFREQ) + 40
        on[at : at + run] = state
        at += run
        state = 1 - state
    return on
