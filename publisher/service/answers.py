"""What the service says, in words of our own: data set, kernel, run, submission, limits.

The rest of this room knows nothing of how it travels. A word that no one has documented is kept as it came: whoever
reads it decides without it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

Fields = dict[str, Any]
"""A request or an answer, in the words of the wire."""
PROCESSING = (
    *("NOT_YET_PERSISTED", "BLOBS_RECEIVED", "BLOBS_DECOMPRESSED", "BLOBS_COPIED_TO_SDS"),
    *("INDIVIDUAL_BLOBS_COMPRESSED", "REPROCESSING"),
)
DATASET_WORDS = (*PROCESSING, "READY", "FAILED", "DELETED")
RUNNING, ENDED = ("QUEUED", "RUNNING", "CANCEL_REQUESTED", "NEW_SCRIPT"), ("COMPLETE", "ERROR", "CANCEL_ACKNOWLEDGED")
SUBMISSION_WORDS = ("PENDING", "COMPLETE", "ERROR")
SOURCE_KINDS = ("dataset", "competition", "kernel", "model")
"""The kinds of what a kernel can be given."""


def spell(word: Any, known: Iterable[str]) -> str:
    """Return a word of the service in the one spelling of `known`, whatever its case, separators or prefix."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z])|[\W_]+", "_", str(word or "")).strip("_").upper()
    return next((name for name in known if text == name or text.endswith(f"_{name}")), text)


def number(value: Any) -> int:
    """Return a whole number, which may come as text; 0 for what is none."""
    return int(value) if isinstance(value, int | float) or (isinstance(value, str) and value.isdecimal()) else 0


@dataclass(frozen=True)
class DatasetState:
    """A data set as the service shows it now, which may still be the state before the last change."""

    exists: bool = False
    version: int = 0
    """0 where the service names none."""
    newest: int = 0
    """The newest version that is listed, which may not be the current one yet."""
    status: str = "not visible yet"
    public: bool = False
    """Whether the service says so."""

    @classmethod
    def read(cls, found: Fields, status: Any) -> DatasetState:
        """Read it from an answer of the service."""
        newest = max((number(item.get("versionNumber")) for item in found.get("versions") or []), default=0)
        version = number(found.get("currentVersionNumber")) or newest
        status = spell(status, DATASET_WORDS) or "status not told"
        return cls(True, version, newest, status, found.get("isPrivate") is False)

    @property
    def processing(self) -> bool:
        """Whether the service says that it is at work on a version."""
        return self.status in PROCESSING


@dataclass(frozen=True)
class KernelState:
    """The latest version of a kernel: its source and what it is given."""

    exists: bool = False
    version: int = 0
    """0 where the service names none."""
    source: str = ""
    sources: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Kind, as in `kernel-metadata.json` -> what the service says is attached; kinds of which it says nothing lack."""

    @classmethod
    def read(cls, found: Fields) -> KernelState:
        """Read it from an answer of the service."""
        about = found.get("metadata") or {}
        sources = {
            f"{kind}_sources": tuple(str(item).lower() for item in about[f"{kind}DataSources"])
            for kind in SOURCE_KINDS
            if isinstance(about.get(f"{kind}DataSources"), list)
        }
        source = str((found.get("blob") or {}).get("source") or "")
        return cls(True, number(about.get("currentVersionNumber")), source, sources)


@dataclass(frozen=True)
class Run:
    """The run of one kernel version."""

    status: str
    message: str
    pinned: bool
    """Whether the service took the version that was asked for; else this is the latest run."""

    @classmethod
    def read(cls, found: Fields, pinned: bool) -> Run:
        """Read it from an answer of the service."""
        status = spell(found.get("status") or RUNNING[0], (*ENDED, *RUNNING))
        return cls(status, str(found.get("failureMessage") or ""), pinned)

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

    @classmethod
    def read(cls, found: Fields) -> Submission:
        """Read it from an answer of the service."""
        names = ("description", "publicScore", "privateScore", "errorDescription", "url")
        status = spell(found.get("status") or SUBMISSION_WORDS[0], SUBMISSION_WORDS)
        return cls(number(found.get("ref")), status, *(str(found.get(name) or "") for name in names))


@dataclass(frozen=True)
class Limits:
    """How many submissions were made and may still be made."""

    today: int
    total: int
    allowed_now: int
    limited_by_total: bool

    @classmethod
    def read(cls, found: Fields) -> Limits:
        """Read it from an answer of the service."""
        today, total, allowed = (number(found.get(name)) for name in ("numToday", "numTotal", "numAllowedNow"))
        return cls(today, total, allowed, bool(found.get("limitedByTotal")))

    def __str__(self) -> str:
        return f"{self.allowed_now} submissions left now ({self.today} made today, {self.total} in all)"
