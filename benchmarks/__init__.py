"""Speed and memory against the real alternatives, in one run, as ratios."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

Found = TypeVar("Found")


def in_own_process(measure: Callable[..., Found], *arguments: object) -> Found:
    """Return what `measure` finds in a fresh process, whose memory and threads are its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(measure, *arguments).result()
