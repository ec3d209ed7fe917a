"""What was published, in `dist/published.json`, and what is being published, in `dist/publishing.json`.

The second is written before anything that must not happen twice is sent, so that a killed push knows what to ask for.
Neither holds a credential. Read and written by push, submit, status and output.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

PUBLISHED, PUBLISHING = "published.json", "publishing.json"


def read_record(dist: Path) -> dict[str, Any]:
    """Return what `push` and `submit` recorded, or an empty dictionary."""
    record = _read(dist / PUBLISHED)
    try:
        if record:
            int(record["kernel"]["version"]), str(record["kernel"]["ref"]), str(record["dataset"]["tree_sha256"])
    except (KeyError, TypeError, ValueError):
        raise ValueError(
            f"{dist / PUBLISHED} lacks what a push records: remove it and run `make push`, which asks the service"
        ) from None
    return record


def write_record(dist: Path, record: dict[str, Any]) -> None:
    """Replace the record in one step."""
    _write(dist / PUBLISHED, record)


class Journal:
    """Notes of what is about to be sent, by step, each with what was known before."""

    def __init__(self, dist: Path) -> None:
        self._path = dist / PUBLISHING
        self._notes = _read(self._path)

    def recall(self, step: str, **wanted: Any) -> dict[str, Any] | None:
        """Return the note of a step if it is about exactly this, else None."""
        note = self._notes.get(step)
        if isinstance(note, dict) and all(note.get(key) == value for key, value in wanted.items()):
            return note
        return None

    def note(self, step: str, **known: Any) -> None:
        """Note, durably, that a step is about to be taken."""
        self._notes[step] = known
        _write(self._path, self._notes)

    def forget(self, step: str) -> None:
        """Strike a step out: it is done, or has failed for good."""
        if self._notes.pop(step, None) is None:
            return
        if self._notes:
            _write(self._path, self._notes)
        else:
            self._path.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}): remove it; the service is asked for what it held") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a JSON object: remove it; the service is asked for what it held")
    return content


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(json.dumps(content, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
