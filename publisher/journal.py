"""The journal: what was published, what is being published, and how nothing is done twice.

`published.json` says which version is which. `publishing.json` is written before anything that must not happen twice is
sent, so that a push that was killed knows what to ask the service for. Only the user may read it: the addresses of
unfinished uploads in it permit writing. Neither holds a credential.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from kernel.files import replacing
from publisher.service.client import Kaggle
from publisher.service.faults import ServiceError

T = TypeVar("T")
PUBLISHED, PUBLISHING = "published.json", "publishing.json"


def read_record(folder: Path) -> dict[str, Any]:
    """Return what `push` and `submit` recorded of a job, or an empty dictionary."""
    record = _read(folder / PUBLISHED)
    try:
        if record:
            int(record["kernel"]["version"]), str(record["kernel"]["ref"]), str(record["dataset"]["tree_sha256"])
    except (KeyError, TypeError, ValueError):
        raise ValueError(
            f"{folder / PUBLISHED} lacks what a push records: remove it and run `make push`, which asks the service"
        ) from None
    return record


class Journal:
    """The record of a job, and notes of what is about to be sent, by step, each with what was known before."""

    def __init__(self, kaggle: Kaggle, folder: Path) -> None:
        self.kaggle, self.folder = kaggle, folder
        self.record = read_record(folder)
        self._notes = _read(folder / PUBLISHING)

    def write_record(self, **record: Any) -> None:
        """Replace the record in one step."""
        self.record = record
        _write(self.folder / PUBLISHED, record)

    def recall(self, step: str, **wanted: Any) -> dict[str, Any] | None:
        """Return the note of a step if it is about exactly this, else None."""
        note = self._notes.get(step)
        if isinstance(note, dict) and note.items() >= wanted.items():
            return note
        return None

    def note(self, step: str, **known: Any) -> None:
        """Note, durably, that a step is about to be taken."""
        self._notes[step] = known
        _write(self.folder / PUBLISHING, self._notes)

    def forget(self, step: str, *, parts: bool = False) -> None:
        """Strike a step out, with `parts` also what is noted as `step: part`: it is done, or has failed for good."""
        struck = [name for name in self._notes if name == step or (parts and name.startswith(f"{step}: "))]
        for name in struck:
            del self._notes[name]
        if not self._notes:
            (self.folder / PUBLISHING).unlink(missing_ok=True)
        elif struck:
            _write(self.folder / PUBLISHING, self._notes)

    def do_once(
        self,
        step: str,
        about: dict[str, Any],
        prepare: Callable[[], dict[str, Any]],
        send: Callable[[Any], T],
        find: Callable[[Any], T | None],
    ) -> T:
        """Take a step, unless an earlier command did; where the answer was lost, look whether it happened.

        `prepare` does what comes before the step and returns what to note: as `before` what is there, and more. `send`
        takes that and the step; `find` takes it and returns what the step made, or None where that does not show. The
        note stays until the caller forgets it, unless Kaggle refuses the step.
        """
        kaggle, sent, attempt = self.kaggle, self.recall(step, **about), 0
        if sent is not None:
            kaggle.say("an earlier run may have got this far: looking whether it did")
            found = kaggle.watch(lambda: find(sent["before"]), kaggle.pace.settle)
            if found is not None:
                return found
        notes = prepare()
        before = notes["before"]
        self.note(step, **about, **notes)
        while True:
            attempt += 1
            try:
                return send(before)
            except ServiceError as error:
                lost = error.transient and not error.refused and not error.must_come_back_later
                if lost:
                    kaggle.say(f"{error.doing}: {error.said}; looking whether it happened all the same")
                    found = kaggle.watch(lambda: find(before), kaggle.pace.settle)
                else:
                    # "Already exists" may mean that our previous attempt succeeded.
                    found = find(before) if attempt > 1 else None
                if found is not None:
                    return found
                if error.refused:
                    self.forget(step)
                if not lost or attempt == kaggle.pace.attempts:
                    raise


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
    with replacing(path) as part, part.open("w", encoding="utf-8") as file:
        part.chmod(0o600)
        file.write(json.dumps(content, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
