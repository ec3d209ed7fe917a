"""Calls to the service: time-outs, retries where they are safe, refusals explained, pages one after another.

Requests and answers are plain dictionaries, in the words of the wire: the official client's types refuse a whole answer
for one word that they do not know.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import requests

from publisher.service.answers import Fields
from publisher.service.faults import ServiceError, explain
from publisher.service.official import OfficialClient
from publisher.service.sign_in import Credential, sign_in

T = TypeVar("T")
FEWEST_LOOKS = 8


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


class Session:
    """The service, signed in: every call has a time-out, is retried where that is safe, and explains a refusal."""

    def __init__(self, pace: Pace, say: Callable[[str], None], wait: Callable[..., None] = time.sleep) -> None:
        self.pace, self.say, self.wait = pace, say, wait
        self.http = requests.Session()  # for uploads and downloads, which carry their permission in the URL
        self.http.headers["User-Agent"] = "kaggle-api/v1.7.0"  # as the official client's library
        self.official = OfficialClient(pace.timeout)
        self._secrets: set[str] = set()
        self.credential = Credential()
        self.credential, self.notes = sign_in(self.ask, self.hide)

    def hide(self, *secrets: str | None) -> None:
        """Never show these; very short ones are left out, as they would blank ordinary words."""
        self._secrets |= {secret for secret in secrets if secret and len(secret) >= 6}

    def redact(self, text: str) -> str:
        """Return a text without any of the secrets."""
        for secret in self._secrets:
            text = text.replace(secret, "[hidden]")
        return text

    def call(self, doing: str, send: Callable[[], T], *, repeatable: bool = True, attempts: int = 0) -> T:
        """Send one call; try again after a passing fault, and only where repeating it cannot do something twice.

        Between attempts the pause grows, or is what Retry-After asks for.
        """
        pause = min(1.0, self.pace.interval)
        for left in reversed(range(attempts or self.pace.attempts)):
            try:
                return send()
            except (requests.RequestException, json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
                # The cause is cut off: its text can carry URLs with permissions in them.
                fault = explain(doing, error, self.credential, self.redact)
            except ServiceError as error:
                fault = error
            if not left or not fault.transient or fault.must_come_back_later or not (repeatable or fault.refused):
                break
            seconds = max(pause * random.uniform(1, 2), fault.retry_after)
            self.say(f"{doing}: {fault.said}; trying again in {seconds:.0f} s")
            time.sleep(seconds)
            pause = min(2 * pause, 30.0)
        raise fault from None

    def post(self, method: str, asked: Fields, auth: Any = None) -> requests.Response:
        """Post to `service/Method` the fields that are not None or an empty list; raises for a refusal."""
        fields = {key: value for key, value in asked.items() if value is not None and value != []}
        return self.official.post(method, fields, auth or self.credential.auth)

    def ask(self, doing: str, method: str, asked: Fields, *, auth: Any = None, **options: Any) -> Fields:
        """Call `service/Method`, and return the fields of the answer, in which no secret is left."""

        def send() -> Fields:
            text = self.post(method, asked, auth).content.decode("utf-8", "replace")
            content = json.loads(self.redact(text))
            if not isinstance(content, dict):
                raise ServiceError(doing, "Kaggle's answer is not what was expected (no object)", "Try again later")
            return content

        return self.call(doing, send, **options)

    def pages(self, doing: str, method: str, asked: Fields, holds: str, **options: Any) -> Iterator[Fields]:
        """Yield page after page; a page without any of what it `holds`, or one that was there before, is the last."""
        token, seen = "", {""}
        while True:
            page = self.ask(doing, method, {**asked, "pageToken": token or None}, **options)
            yield page
            token = str(page.get("nextPageToken") or "")
            if token in seen or not page.get(holds):
                return
            seen.add(token)

    def watch(self, look: Callable[[], T | None], within: float) -> T | None:
        """Look until there is an answer or the time is up, and often enough that a slow machine is no reason."""
        end = time.monotonic() + within
        for looks, pause in enumerate(self.pace.pauses(), 1):
            found = look()
            left = end - time.monotonic()
            if found is not None or (left <= 0 and looks >= FEWEST_LOOKS):
                return found
            self.wait(min(pause, left) if left > 0 else self.pace.interval)
        return None
