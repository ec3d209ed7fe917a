"""Calls to the service: time-outs, retries where they are safe, refusals explained, pages one after another.

Requests and answers are plain dictionaries, in the words of the wire: the client's own types refuse a whole answer for
one word that they do not know.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import requests

from publisher.service.answers import Credential
from publisher.service.faults import Pace, Redactor, Say, ServiceError, Wait, explain
from publisher.service.sign_in import Account, get_access_token_from_env, read_credential

T = TypeVar("T")


class _Fields(dict[str, Any]):
    """A request in the words of the wire."""

    @classmethod
    def to_dict(cls, request: dict[str, Any]) -> dict[str, Any]:
        """Return the request as it is sent."""
        return dict(request)


class _Json:
    """An answer in the words of the wire."""

    @staticmethod
    def prepare_from(response: requests.Response) -> Any:
        """Return the answer's JSON."""
        return response.json()


class Content:
    """An answer that is a file."""

    @staticmethod
    def prepare_from(response: requests.Response) -> bytes:
        """Return the file's content."""
        return response.content


class Session:
    """The service, signed in: every call has a time-out, is retried where that is safe, and explains a refusal."""

    credential: Credential

    def __init__(self, pace: Pace, say: Say, wait: Wait = time.sleep) -> None:
        self.pace, self.say, self.wait = pace, say, wait
        self.redact = Redactor()
        self.account = Account(pace.timeout)
        for secret in (*map(os.environ.get, ("KAGGLE_API_TOKEN", "KAGGLE_KEY")), get_access_token_from_env()[0]):
            self.redact.add(secret)
        self.call("signing in to Kaggle", self.account.sign_in)
        for name in (self.account.CONFIG_NAME_KEY, self.account.CONFIG_NAME_TOKEN):
            self.redact.add(self.account.config_values.get(name))
        self.credential = read_credential(self.account)
        self._client = self.account.build_kaggle_client()

    def call(self, doing: str, send: Callable[[], T], *, repeatable: bool = True, attempts: int | None = None) -> T:
        """Send one call; try again after a passing fault, and only where repeating it cannot do something twice."""

        def once() -> T:
            try:
                with contextlib.redirect_stdout(io.StringIO()):  # the client prints remarks on stdout
                    return send()
            except (requests.RequestException, json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
                # The cause is cut off: its text can carry URLs with permissions in them.
                raise explain(doing, error, getattr(self, "credential", None), self.redact) from None

        policy = self.pace.retrying(
            lambda error: error.transient and (repeatable or error.refused), self.say, attempts=attempts
        )
        return policy(once)

    def ask(self, doing: str, method: str, asked: dict[str, Any], **options: Any) -> dict[str, Any]:
        """Call `service/Method` with the fields that are not empty, and return the fields of the answer."""
        answer = self.fetch(doing, method, asked, _Json, **options)
        if not isinstance(answer, dict):
            raise ServiceError(doing, "Kaggle's answer is not what the client expects (no object)", "Try again later")
        return answer

    def fetch(self, doing: str, method: str, asked: dict[str, Any], kind: type, **options: Any) -> Any:
        """Call `service/Method` and return the answer as `kind` reads it."""
        service, name = method.split("/")
        fields = _Fields({key: value for key, value in asked.items() if value not in (None, "", 0, [])})
        http = self._client.http_client()
        return self.call(doing, lambda: http.call(service, name, fields, kind), **options)

    def pages(
        self, doing: str, method: str, asked: dict[str, Any], holds: str, **options: Any
    ) -> Iterator[dict[str, Any]]:
        """Yield page after page; a page without any of what it `holds`, or one that was there before, is the last."""
        token, seen = "", {""}
        while True:
            page = self.ask(doing, method, {**asked, "pageToken": token}, **options)
            yield page
            token = str(page.get("nextPageToken") or "")
            if token in seen or not page.get(holds):
                return
            seen.add(token)

    def watch(self, look: Callable[[], T | None], within: float) -> T | None:
        """Look until there is an answer or the time is up; return the answer, or None."""
        return self.pace.watch(look, within, self.wait)
