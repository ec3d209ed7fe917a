"""The only file that imports `kaggle`, the official client: every call to the service goes through it.

The package is left as it is. A subclass adds what it lacks: a time-out on every call, no debug output (which would
print the Authorization header), and the credential that `publisher.service.sign_in` chose.
"""

from __future__ import annotations

import contextlib
import io
import os
from functools import partial
from typing import Any

import requests

# `kaggle` would sign in while it is imported, without a time-out, and say so: it gets nothing to sign in with.
_environment = dict(os.environ)
os.environ.update(KAGGLE_API_TOKEN=os.devnull, KAGGLE_USERNAME="-", KAGGLE_KEY="-", VERBOSE="", VERBOSE_OUTPUT="")
try:
    with contextlib.redirect_stdout(io.StringIO()):
        from kaggle.api.kaggle_api_extended import KaggleApi
        from kagglesdk.kaggle_env import get_access_token_from_env as find_access_token
        from kagglesdk.kaggle_http_client import KaggleHttpClient
finally:
    os.environ.clear()
    os.environ.update(_environment)

__all__ = ["BearerAuth", "OfficialClient", "find_access_token", "read_retry_after"]

BearerAuth = KaggleHttpClient.BearerAuth
"""Puts an access token into a request."""
read_retry_after = KaggleApi._get_retry_after_delay
"""Returns the seconds that an answer's Retry-After asks for, in either of its two forms, or None."""


class _Fields(dict[str, Any]):
    """A request in the words of the wire: the client's own types refuse a whole answer for one unknown word."""

    @classmethod
    def to_dict(cls, request: dict[str, Any]) -> dict[str, Any]:
        """Return the request as it is sent."""
        return dict(request)


class _Answer:
    """An answer as it came."""

    @staticmethod
    def prepare_from(response: requests.Response) -> requests.Response:
        """Return the answer."""
        return response


class OfficialClient(KaggleApi):
    """Kaggle's own client, with time-outs; `auth` is what goes into a request, as `requests` takes it."""

    def __init__(self, timeout: float) -> None:
        super().__init__()
        self.timeout = timeout
        self.auth: Any = None
        self._open: Any = None

    def build_kaggle_client(self) -> Any:
        """Build the client as the base class does, then put time-outs and the credential on its session."""
        # The base class reads this when it is imported, and adds --verbose.
        local = os.environ.get("KAGGLE_API_ENVIRONMENT") == "LOCALHOST"
        # Without a token it would look for a credential of its own.
        client = self.build_kaggle_client_with_params(args=["--local"] if local else [], api_token="-")
        http = client.http_client()
        http.__enter__()
        http._session.send = partial(http._session.send, timeout=self.timeout)
        http._session.auth = self.auth
        return client

    def read_config_file(self, config_data: dict[str, str] | None = None, quiet: bool = False) -> dict[str, str]:
        """Read no `kaggle.json`: the credential is chosen."""
        return config_data or {}

    def post(self, method: str, fields: dict[str, Any], auth: Any) -> requests.Response:
        """Call `service/Method`; a refusal is a `requests.HTTPError`."""
        self._open = self._open or self.build_kaggle_client()  # one connection for all calls
        http = self._open.http_client()
        http._session.auth = auth
        answer: requests.Response = http.call(*method.split("/"), _Fields(fields), _Answer)
        return answer

    def push_kernel(self, folder: str, auth: Any) -> Any:
        """Push the kernel in a folder as `kaggle kernels push` does."""
        self.auth = auth
        with contextlib.redirect_stdout(io.StringIO()):  # remarks
            return self.kernels_push(folder)
