"""Processes that draw: they leave Ctrl-C to the command that started them, and end when it does, however it ends."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process


def open_pool(workers: int) -> ProcessPoolExecutor:
    """Start so many processes."""
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_begin)


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End at once when the command was killed: nothing would ever ask this process for more."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
