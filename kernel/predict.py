"""From `test.csv` to probabilities, as a stream that never stops for one bad recording.

There is one worker per core, which takes a batch of recordings through every step: read, montage, inputs, networks.
TensorFlow uses one thread per call: while one worker reads, the others run networks. A few batches are in work at a
time, so memory does not grow with the number of recordings.

A recording that cannot be read is answered with the prior, logged and counted; the others are not affected. When time
runs short, recordings are answered by fewer networks, then by the prior.
"""

from __future__ import annotations

import resource
import sys
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from kernel.constants import PRIOR, SFREQ, VOTES
from kernel.ensemble import Inputs, Member, build_inputs
from kernel.recording import MIN_SIGNAL_SECONDS, read_channels

BUDGET_SECONDS = 8.5 * 3600
"""Kaggle stops a run at 9 h and then nothing counts."""

PROGRESS_SECONDS = 10
"""Between two lines that say how far the run is; the last line comes at its end."""


@dataclass
class Report:
    """What a run did; the end marker in Kaggle's log."""

    rows: int = 0  # recordings answered: all of them
    fallbacks: int = 0  # answered with the prior: unreadable, empty, flat, or out of time
    partial: int = 0  # answered from fewer than 18 channels
    reduced: int = 0  # answered by fewer networks than there are, for lack of time or because one failed
    seconds: float = 0.0
    ms_per_recording: float = 0.0
    peak_rss_mb: float = 0.0
    models: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the fields with times to the millisecond."""
        return {name: round(v, 3) if isinstance(v, float) else v for name, v in asdict(self).items()}


@dataclass(frozen=True)
class _Answer:
    """What became of one recording."""

    probabilities: np.ndarray
    networks: int
    channels: int
    reason: str = ""


def predict(
    ids: np.ndarray,
    folder: Path,
    members: list[Member],
    *,
    workers: int,
    budget: float = BUDGET_SECONDS,
    log: Callable[[str], None] = print,
) -> tuple[np.ndarray, Report]:
    """Answer every recording.

    Parameters
    ----------
    ids : ndarray, shape (n,), int64
        The recordings, `<folder>/<id>.parquet` each.
    members : list of Member
        The networks, most important first.
    workers : int
        Threads; as many as there are cores.
    budget : float
        Seconds that the whole may take.

    Returns
    -------
    probabilities : ndarray, shape (n, 6), float64
        Finite, positive, rows sum to 1; in the order of `ids`.
    report : Report
        Counts and times.
    """
    started = time.monotonic()
    probabilities = np.tile(np.array(PRIOR), (len(ids), 1))
    report = Report(models=[member.name for member in members])
    # Seconds of one worker for one recording, as measured so far: the reading, then each network.
    costs = np.zeros(1 + len(members))
    said = started
    networks = len(members)
    batch = members[0].batch
    waiting = deque(np.split(np.arange(len(ids)), range(batch, len(ids), batch)))
    running: deque[tuple[np.ndarray, Future[tuple[list[_Answer], np.ndarray]]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        while waiting or running:
            while waiting and len(running) < 2 * workers:
                rows = waiting.popleft()
                remaining = budget - (time.monotonic() - started)
                left = len(rows) * (1 + len(waiting) + len(running))
                share = remaining * workers / left
                affordable = int(np.searchsorted(costs.cumsum()[1:], share, side="right")) if remaining > 0 else 0
                if affordable != networks:
                    log(f"time: {remaining:.0f} s left for {left} recordings: {affordable} of {len(members)} networks")
                    networks = affordable
                paths = [folder / f"{ids[row]}.parquet" for row in rows]
                running.append((rows, pool.submit(_answer_batch, paths, members[:networks])))
            rows, future = running.popleft()
            answers, measured = future.result()
            # Recent batches count most; a network that did not run keeps its cost.
            known = costs[: len(measured)]
            known[:] = np.where(measured == 0, known, np.where(known == 0, measured, 0.7 * known + 0.3 * measured))
            for row, answer in zip(rows, answers, strict=True):
                probabilities[row] = answer.probabilities
                report.fallbacks += answer.networks == 0
                report.reduced += 0 < answer.networks < len(members)
                report.partial += 0 < answer.channels < 18
                if answer.reason:
                    log(f"{ids[row]}: {answer.reason}")
            report.rows += len(rows)
            report.seconds = time.monotonic() - started
            if report.rows == len(ids) or time.monotonic() - said >= PROGRESS_SECONDS:
                said = time.monotonic()
                log(_describe_progress(report, len(ids)))
    report.ms_per_recording = 1000 * report.seconds / len(ids)
    report.peak_rss_mb = peak_rss_mb()
    return probabilities, report


def _answer_batch(paths: list[Path], members: list[Member]) -> tuple[list[_Answer], np.ndarray]:
    """Answer one batch of recordings; what goes wrong with one does not affect the others.

    Return also the seconds that one recording took: the reading, then each network.
    """
    costs = np.zeros(1 + len(members))
    answers = [_Answer(np.array(PRIOR), networks=0, channels=0)] * len(paths)
    if not members:
        return answers, costs
    windows: dict[int, Inputs] = {}
    usable: dict[int, int] = {}
    started = time.monotonic()
    for i, path in enumerate(paths):
        try:
            windows[i], usable[i] = _build_inputs(read_channels(path), members, str(path))
        except Exception as error:  # One broken recording must not cost the submission, whatever is wrong with it.
            answers[i] = replace(answers[i], reason=f"answered with the prior: {_one_line(error)}")
    costs[0] = (time.monotonic() - started) / len(paths)
    if windows:
        probabilities, failures, costs[1:] = _answer_windows(list(windows.values()), members)
        for row, i in enumerate(windows):
            reasons = [f"{usable[i]} of 18 channels carry a signal"] if usable[i] < 18 else []
            networks = len(members) - len(failures)
            answers[i] = _Answer(probabilities[row], networks, usable[i], "; ".join(reasons + failures))
    return answers, costs


def _answer_windows(windows: list[Inputs], members: list[Member]) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Average the members' answers, shape (n, 6); return also what failed, and the seconds that each took a window."""
    total, weight, failures = np.zeros((len(windows), len(VOTES))), 0.0, []
    seconds = np.zeros(len(members))
    for i, member in enumerate(members):
        started = time.monotonic()
        try:
            answer = member.answer(windows)
            if not np.isfinite(answer).all():
                raise ValueError("its answer is not finite")
        except Exception as error:  # Out of memory, say: the other networks still answer.
            failures.append(f"{member.name} failed: {_one_line(error)}")
            continue
        total += member.weight * answer
        weight += member.weight
        seconds[i] = (time.monotonic() - started) / len(windows)
    if weight == 0:
        return np.tile(np.array(PRIOR), (len(windows), 1)), failures, seconds
    # Far above the smallest float, so that no rounding on the way makes it zero.
    floored = np.maximum(total / weight, 1e-7)
    return floored / floored.sum(axis=1, keepdims=True), failures, seconds


def _build_inputs(channels: np.ndarray, members: list[Member], name: str) -> tuple[Inputs, int]:
    """Build what the networks read of a window that `name` names in the error; return also the usable channels."""
    samples = np.count_nonzero(channels, axis=1)
    usable = int(np.count_nonzero(samples >= MIN_SIGNAL_SECONDS * SFREQ))
    if usable == 0:
        raise ValueError(f"{name}: no channel carries {MIN_SIGNAL_SECONDS} s of signal (flat, missing or too short)")
    return build_inputs(channels, members), usable


def predict_recording(path: Path, members: list[Member]) -> np.ndarray:
    """Answer one recording, shape (6,): what `predict` gives it among others, up to rounding (less than 1e-5)."""
    return predict_window(read_channels(path), members, str(path))


def predict_window(channels: np.ndarray, members: list[Member], name: str) -> np.ndarray:
    """Answer one window, shape (6,), from its channels (18, 10000); `name` is what errors call it."""
    window, _ = _build_inputs(channels, members, name)
    return _answer_windows([window], members)[0][0]


def _describe_progress(report: Report, total: int) -> str:
    """Write how far a run is, how fast, and how long it still takes."""
    each = report.seconds / report.rows
    left = time.strftime("%H:%M:%S", time.gmtime(each * (total - report.rows)))
    return (
        f"{report.rows:{len(str(total))}d}/{total} recordings {report.rows / total:5.0%}, {1000 * each:.0f} ms each, "
        f"{left} left, {report.fallbacks} with the prior"
    )


def peak_rss_mb() -> float:
    """Return the most memory that this process has held, in megabytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


def _one_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]
