"""Reads the log of a run: the service's JSON into plain lines, and the kernel's own start and end markers in it.

Used by status, submit and output.
"""

from __future__ import annotations

import json
import re
from typing import Any

from publisher.refusal import strip_controls

START, END = "HMS-START", "HMS-END"


def decode_log(log: str) -> str:
    """Return a log as text; the service keeps it as a JSON array of pieces, cut off anywhere while the run goes on."""
    return strip_controls("".join(data for _, data in _pieces(log)))


def find_marker(log: str, name: str) -> dict[str, Any] | None:
    """Return what the kernel said in its last marker line of this name, or None where it did not get that far."""
    pieces = _pieces(log)
    for text in ("".join(data for stream, data in pieces if stream == "stdout"), "".join(data for _, data in pieces)):
        for line in reversed(re.findall(rf"^{name} (\{{.*\}})\s*$", text, re.MULTILINE)):
            try:
                said = json.loads(line)
            except ValueError:
                continue
            if isinstance(said, dict):
                return said
    return None


def tail(text: str, lines: int = 15) -> list[str]:
    """Return the last lines that hold anything, each cut to a readable length."""
    return [line[:300] for line in text.splitlines() if line.strip()][-lines:]


def _pieces(log: str) -> list[tuple[str, str]]:
    """Return (stream, text) of every piece; a text that is no such array is one piece of itself."""
    if not log.lstrip().startswith("["):
        return [("stdout", log)]
    decoder, position, pieces = json.JSONDecoder(), log.index("[") + 1, []
    while True:
        match = re.compile(r"[\s,]*").match(log, position)
        position = match.end() if match else position
        try:
            item, position = decoder.raw_decode(log, position)
        except ValueError:  # the closing bracket, or the point where the array was cut off
            break
        if isinstance(item, dict):
            pieces.append((str(item.get("stream_name", "stdout")), str(item.get("data", ""))))
    return pieces or [("stdout", log if log.strip() != "[]" else "")]
