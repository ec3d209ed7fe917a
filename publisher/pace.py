"""How long to wait and how often to try: time-outs, retries with back-off, growing polls. Used by all of this room."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import tenacity

T = TypeVar("T")
Say = Callable[[str], None]
Wait = Callable[[float], None]

TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
LONGEST_RETRY_AFTER = 300.0
"""Seconds: the longest Retry-After that a command sits out; beyond it the user is told when to come back."""


@dataclass(frozen=True)
class Pace:
    """Waiting times in seconds: of one call, between two looks (growing up to `longest`), and for a result in all."""

    timeout: float = 60.0
    interval: float = 5.0
    longest: float = 60.0
    patience: float = 3600.0
    attempts: int = 6

    def __post_init__(self) -> None:
        for name in ("timeout", "interval", "patience"):
            if not getattr(self, name) > 0:
                raise ValueError(f"--{name} must be more than 0 seconds, found {getattr(self, name)}")

    @property
    def settle(self) -> float:
        """How long the service may go on showing the state before a change: the time to watch before repeating it."""
        return 12 * self.interval

    def pauses(self) -> Iterator[float]:
        """Yield the pauses between looks: growing by half, bounded, with a tenth of jitter."""
        pause = self.interval
        while True:
            yield pause * random.uniform(0.9, 1.1)
            pause = min(pause * 1.5, max(self.longest, self.interval))

    def watch(self, look: Callable[[], T | None], within: float, wait: Wait = time.sleep) -> T | None:
        """Look until there is an answer or the time is up; the last look comes after the last pause."""
        end = time.monotonic() + within
        for pause in self.pauses():
            found = look()
            left = end - time.monotonic()
            if found is not None or left <= 0:
                return found
            wait(min(pause, left))
        return None

    def retrying(self, may_repeat: Callable[[ServiceError], bool], say: Say) -> tenacity.Retrying:
        """Return the policy of retries: exponential back-off with jitter, or what Retry-After asks for."""
        backoff = tenacity.wait_exponential_jitter(
            initial=min(1.0, self.interval), max=30, jitter=min(1.0, self.interval)
        )

        def pause(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked = error.retry_after if isinstance(error, ServiceError) else None
            return max(backoff(state), asked or 0.0)

        def tell(state: tenacity.RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome else None
            if isinstance(error, ServiceError):
                seconds = state.next_action.sleep if state.next_action else 0
                say(f"{error.doing}: {error.said}; trying again in {seconds:.0f} s")

        def again(error: BaseException) -> bool:
            return isinstance(error, ServiceError) and not error.must_come_back_later and may_repeat(error)

        return tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self.attempts),
            wait=pause,
            retry=tenacity.retry_if_exception(again),
            before_sleep=tell,
            reraise=True,
        )


class ServiceError(OSError):
    """Kaggle refused, failed or did not answer: what was being done, what was said, what to do about it."""

    def __init__(
        self,
        doing: str,
        said: str,
        todo: str,
        *,
        status: int | None = None,
        retry_after: float | None = None,
        unsent: bool = False,
    ) -> None:
        super().__init__(f"{doing}: {said}. {todo}")
        self.doing, self.said, self.todo = doing, said, todo
        self.status, self.retry_after, self.unsent = status, retry_after, unsent

    @property
    def transient(self) -> bool:
        """Whether the same call may well succeed a little later: no answer, too many calls, a fault at Kaggle."""
        return self.status is None or self.status in TRANSIENT

    @property
    def refused(self) -> bool:
        """Whether it is sure that nothing was done: the call never left, or was turned away."""
        return self.unsent or (self.status is not None and 400 <= self.status < 500 and self.status != 408)

    @property
    def must_come_back_later(self) -> bool:
        """Whether Kaggle asks for a longer wait than a command should sit out."""
        return self.retry_after is not None and self.retry_after > LONGEST_RETRY_AFTER
