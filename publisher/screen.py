"""What the commands show: lines for people, a line that lives while something is awaited, one JSON object for scripts.

With `--json` standard output holds that object and nothing else; everything for people goes to standard error.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from tqdm import tqdm

Shown = tuple[dict[str, Any], list[str], int]
"""What a command returns: for scripts, lines for people, exit status."""


class Screen:
    """Where a command's lines go."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.out: TextIO = sys.stderr if as_json else sys.stdout
        self.alive = sys.stderr.isatty()
        self.started = time.monotonic()

    def say(self, line: str) -> None:
        """Show one line for people; a progress bar moves out of its way."""
        self._clear()
        tqdm.write(line, file=self.out)
        self.out.flush()

    def wait(self, seconds: float, what: str = "waiting for Kaggle") -> None:
        """Wait; on a terminal a line counts the time and says how to leave."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self.alive:
                clock = tqdm.format_interval(time.monotonic() - self.started)
                line = f"{what}  {clock}  next look in {left:.0f} s  (Ctrl-C leaves everything as it is)"
                print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
            time.sleep(min(left, 1.0))
        self._clear()

    def _clear(self) -> None:
        if self.alive:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def show(self, work: Callable[[], Shown]) -> tuple[dict[str, Any], int]:
        """Do a command's work and show what it returns; return what is for scripts, and the exit status."""
        try:
            answer, lines, status = work()
        except (ValueError, OSError) as error:
            if self.as_json:
                print(json.dumps({"ok": False, "error": str(error)}))
            raise
        if self.as_json:
            print(json.dumps({"ok": status == 0, **answer}))
        else:
            for line in lines:
                self.say(line)
        return answer, status
