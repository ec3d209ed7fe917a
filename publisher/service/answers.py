"""What the service says, in words of our own: data set, kernel, run, submission, limits.

The rest of this room knows nothing of how it travels. A word that no one has documented is kept as it came: whoever
reads it decides without it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

PROCESSING = (
    *("NOT_YET_PERSISTED", "BLOBS_RECEIVED", "BLOBS_DECOMPRESSED", "BLOBS_COPIED_TO_SDS"),
    *("INDIVIDUAL_BLOBS_COMPRESSED", "REPROCESSING"),
)
DATASET_WORDS = (*PROCESSING, "READY", "FAILED", "DELETED")
RUNNING, ENDED = ("QUEUED", "RUNNING", "CANCEL_REQUESTED", "NEW_SCRIPT"), ("COMPLETE", "ERROR", "CANCEL_ACKNOWLEDGED")
SUBMISSION_WORDS = ("PENDING", "COMPLETE", "ERROR")


def spell(word: Any, known: Iterable[str]) -> str:
    """Return a word of the service in the one spelling of `known`, whatever its case, separators or prefix."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z])|[\W_]+", "_", str(word or "")).strip("_").upper()
    return next((name for name in known if text == name or text.endswith(f"_{name}")), text)


@dataclass(frozen=True)
class DatasetState:
    """A data set as the service shows it now, which may still be the state before the last change."""

    version: int
    """0 where the service names none."""
    status: str
    private: bool | None
    versions: tuple[int, ...]

    @property
    def processing(self) -> bool:
        """Whether the service says that it is at work on a version."""
        return self.status in PROCESSING


@dataclass(frozen=True)
class KernelState:
    """The latest version of a kernel: its source and what it is given."""

    version: int
    """0 where the service names none."""
    source: str
    sources: dict[str, tuple[str, ...]]
    """Kind, as in `kernel-metadata.json` -> what the service says is attached; kinds of which it says nothing lack."""


@dataclass(frozen=True)
class SavedKernel:
    """What the service answered to a push."""

    ref: str
    url: str
    version: int
    error: str
    invalid: dict[str, list[str]]
    """Kind of source, for people -> what the service would not attach."""


@dataclass(frozen=True)
class Run:
    """The run of one kernel version."""

    status: str
    message: str
    pinned: bool = True
    """Whether the service took the version that was asked for; else this is the latest run."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.status in ENDED

    @property
    def known(self) -> bool:
        """Whether the status is one that we know the meaning of."""
        return self.status in (*RUNNING, *ENDED)


@dataclass(frozen=True)
class Submission:
    """One submission and what became of it."""

    ref: int
    status: str
    description: str
    public_score: str
    private_score: str
    error: str
    url: str


@dataclass(frozen=True)
class Limits:
    """How many submissions were made and may still be made."""

    today: int
    total: int
    allowed_now: int
    limited_by_total: bool

    def __str__(self) -> str:
        return f"{self.allowed_now} submissions left now ({self.today} made today, {self.total} in all)"
