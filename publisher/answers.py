"""What the service says, in words of our own: credential, data set, kernel, run, outputs, submission, limits.

Made by `publisher.client`, read by the rest of this room, which thus knows nothing of the client's own types.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Credential:
    """Which credential is in use: what kind, where it was found, whose it is. Never its value."""

    kind: str
    source: str
    username: str

    def __str__(self) -> str:
        return f"the {self.kind} from {self.source} (user {self.username})"


@dataclass(frozen=True)
class DatasetState:
    """A data set as the service shows it now, which may still be the state before the last change."""

    ref: str
    version: int
    status: str
    private: bool
    notes: dict[int, str]

    @property
    def processing(self) -> bool:
        """Whether the service is still at work on a version."""
        return self.status not in ("READY", "FAILED", "DELETED")


@dataclass(frozen=True)
class KernelState:
    """The latest version of a kernel: its source and what it is given."""

    ref: str
    version: int
    source: str
    dataset_sources: tuple[str, ...]
    competition_sources: tuple[str, ...]
    keywords: tuple[str, ...]
    private: bool | None
    internet: bool | None


@dataclass(frozen=True)
class SavedKernel:
    """What the service answered to a push."""

    ref: str
    url: str
    version: int
    error: str
    invalid: dict[str, list[str]]


@dataclass(frozen=True)
class Run:
    """The run of one kernel version."""

    status: str
    message: str

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.status in ("COMPLETE", "ERROR", "CANCEL_ACKNOWLEDGED")


@dataclass(frozen=True)
class Outputs:
    """One page of what a run left: (file name, URL) pairs, and the log as the service keeps it."""

    files: list[tuple[str, str]]
    log: str


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
