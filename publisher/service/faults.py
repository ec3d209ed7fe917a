"""What a call ran into, as one honest line: what was being done, what was said, and what to do about it.

Texts from the service pass through here before they are shown: control characters and known secrets are taken out.
"""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Callable
from typing import Any, TypeVar

import requests
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ProxyError

from publisher.service.official import read_retry_after

T = TypeVar("T")

TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
LONGEST_RETRY_AFTER = 300.0
"""Seconds: the longest Retry-After that a command waits for; beyond it the user is told when to come back."""

TODO = {
    400: "Fix what Kaggle names and run the same command again; `python build.py doctor` checks the rest",
    401: "Kaggle does not know this credential (revoked, expired or mistyped): make a new one at "
    "https://www.kaggle.com/settings, or sign in again with `kaggle auth login`",
    403: "Kaggle knows this credential and does not allow it this: check the owner and the slugs, that the "
    "competition's rules are accepted on its page, and that the account's phone number is verified",
    404: "Check the owner and the slugs: `python build.py doctor` shows the ones in use",
    409: "The name is taken by something else of yours, be it a kernel or a data set: choose another with --kernel or "
    "--dataset",
    413: "The bundle is too large for Kaggle: `python build.py doctor` shows its size",
    429: "Too many calls: wait a little and run the same command again; it goes on where it stopped",
}
LATER = "The fault is at Kaggle or on the way there: run the same command again later; it goes on where it stopped"
CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class ServiceError(OSError):
    """Kaggle refused, failed or did not answer: what was being done, what was said, what to do about it."""

    def __init__(
        self, doing: str, said: str, todo: str, *, status: int = 0, retry_after: float = 0.0, unsent: bool = False
    ) -> None:
        super().__init__(doing)
        self.doing, self.said, self.todo = doing, said, todo
        self.status, self.retry_after, self.unsent = status, retry_after, unsent

    def __str__(self) -> str:
        return f"{self.doing}: {self.said}. {self.todo}"

    @property
    def transient(self) -> bool:
        """Whether the same call may well succeed a little later: no answer, too many calls, a fault at Kaggle."""
        return not self.status or self.status in TRANSIENT

    @property
    def refused(self) -> bool:
        """Whether it is sure that nothing was done: the call never left, or was turned away."""
        return self.unsent or (400 <= self.status < 500 and self.status != 408)

    @property
    def must_come_back_later(self) -> bool:
        """Whether Kaggle asks for a longer wait than a command waits for."""
        return self.retry_after > LONGEST_RETRY_AFTER


def none_if_refused(call: Callable[[], T], statuses: tuple[int, ...] = (400, 403, 404)) -> T | None:
    """Return what a call brings; None where Kaggle answers it with one of these statuses."""
    try:
        return call()
    except ServiceError as error:
        if error.status not in statuses:
            raise
        return None


def explain(doing: str, error: Exception, credential: object, redact: Callable[[str], str]) -> ServiceError:
    """Return what an exception of `requests` means; its own text, which can hold URLs, is not used."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return _explain_response(doing, error.response, credential, redact)
    if isinstance(error, requests.exceptions.SSLError):
        return ServiceError(doing, "the secure connection failed", "Check the system's clock and any proxy", status=495)
    said, unsent = f"the call failed ({type(error).__name__})", False
    if isinstance(error, json.JSONDecodeError):
        said = "Kaggle's answer is not what was expected (no JSON)"
    elif isinstance(error, requests.exceptions.ReadTimeout):
        said = "Kaggle took the call and did not answer in time"
    elif isinstance(error, requests.exceptions.ConnectionError):
        # A connection that breaks behind a proxy is called a ProxyError too: only this one never began.
        reason = getattr(error.args[0], "reason", None) if error.args else None
        proxy = " (through the proxy of http_proxy or https_proxy)" if isinstance(reason, ProxyError) else ""
        if isinstance(reason, ProxyError):
            reason = reason.original_error
        unsent = isinstance(reason, NewConnectionError | ConnectTimeoutError)
        said = ("Kaggle cannot be reached" if unsent else "the connection was lost") + proxy
    return ServiceError(doing, said, LATER, unsent=unsent)


def _explain_response(
    doing: str, response: requests.Response, credential: object, redact: Callable[[str], str]
) -> ServiceError:
    """Return the error for an answer that refuses."""
    status = response.status_code if response.status_code >= 400 else int(response.json()["code"])
    reason = redact(strip_controls(_read_reason(response)).strip().replace("\n", " "))[:300].rstrip(" .")
    said = f"Kaggle answered {status} {http.client.responses.get(status, '')}".rstrip()
    if str(credential) and "Authorization" in response.request.headers:
        said += f" to {credential}"
    said += f": {reason}" if reason else ""
    retry_after = read_retry_after(response) or 0.0
    todo = TODO.get(status, LATER if status >= 500 else TODO[400])
    if retry_after > 60:
        todo = f"Kaggle asks to wait {retry_after / 60:.0f} minutes: run the same command again then"
    return ServiceError(doing, said, todo, status=status, retry_after=retry_after)


def _read_reason(response: requests.Response) -> str:
    """Return the service's own words from an error answer; empty where there are none."""
    try:
        body: Any = response.json()
    except ValueError:
        title = re.search(r"<title>(.*?)</title>", response.text[:4000], re.IGNORECASE | re.DOTALL)
        if title:
            return f"a web page titled {title[1].strip()!r}"
        return "" if "<" in response.text[:200] else response.text
    if not isinstance(body, dict):
        return ""
    inner = body.get("error")
    if isinstance(inner, dict):
        return str(inner.get("message") or inner.get("status") or "")
    return str(body.get("message") or inner or "")


def strip_controls(text: str) -> str:
    """Take escape sequences and control characters out of a text from outside; line ends and tabs stay."""
    return CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
