"""The only file that imports `kaggle`: signs in, and sends calls with time-outs and retries, explaining refusals.

The package is left as it is; what it lacks is added by a subclass: a time-out on every call, no debug output (which
would print the Authorization header), a stale token that does not shadow a good key, a `kaggle.json` that is no JSON
being named, and no deletion of credentials. Requests and answers are plain dictionaries, in the words of the wire: the
package's own types refuse a whole answer for one word that they do not know.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import requests
from requests.adapters import HTTPAdapter

from publisher.answers import Credential
from publisher.faults import Pace, Redactor, Say, ServiceError, Wait, explain

T = TypeVar("T")
SETTINGS_PAGE = "https://www.kaggle.com/settings"


@contextlib.contextmanager
def _without_signing_in() -> Iterator[None]:
    """Hide credentials and debug switches while `kaggle` is imported: it would sign in at once, without a time-out."""
    placeholders = {
        "KAGGLE_API_TOKEN": os.devnull,
        "KAGGLE_USERNAME": "-",
        "KAGGLE_KEY": "-",
        "VERBOSE": "",
        "VERBOSE_OUTPUT": "",
    }
    before = {name: os.environ.get(name) for name in placeholders}
    os.environ.update(placeholders)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


with _without_signing_in(), contextlib.redirect_stdout(io.StringIO()):
    import kaggle
    from kaggle.api.kaggle_api_extended import AuthMethod, KaggleApi
    from kagglesdk import KaggleCredentials, get_access_token_from_env

CLIENT_VERSION: str = kaggle.__version__


class TimedAdapter(HTTPAdapter):
    """An HTTP adapter whose requests cannot wait for ever."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        super().__init__()

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        """Send with a time-out on connecting and on each read."""
        options["timeout"] = options.get("timeout") or self.timeout
        return super().send(request, *args, **options)


def open_session(timeout: float) -> requests.Session:
    """Return a session for uploads and downloads, which carry their permission in the URL: no credential is sent."""
    session = requests.Session()
    session.mount("http://", TimedAdapter(timeout))
    session.mount("https://", TimedAdapter(timeout))
    return session


class _Api(KaggleApi):
    """Kaggle's own client, with time-outs and without surprises."""

    def __init__(self, timeout: float) -> None:
        super().__init__()
        self.timeout = timeout
        self.stale_token: str | None = None
        self.newest_version = ""
        self.key_file_fault = ""

    def build_kaggle_client(self) -> Any:
        """Build the client as the base class does, then put a time-out on its session."""
        client = self.build_kaggle_client_with_params(
            args=[argument for argument in self.args if argument not in ("--verbose", "-v")],
            username=self.config_values.get(self.CONFIG_NAME_USER),
            password=self.config_values.get(self.CONFIG_NAME_KEY),
            api_token=self.config_values.get(self.CONFIG_NAME_TOKEN),
            response_processor=self._note_version,
        )
        http = client.http_client()
        http.__enter__()
        http._session.mount("http://", TimedAdapter(self.timeout))
        http._session.mount("https://", TimedAdapter(self.timeout))
        if self.config_values.get(self.CONFIG_NAME_AUTH_METHOD) == str(AuthMethod.LEGACY_API_KEY):
            # Left alone, the client sends any token it finds, even one that it has just seen refused.
            http._session.auth = (
                self.config_values[self.CONFIG_NAME_USER],
                self.config_values[self.CONFIG_NAME_KEY],
            )
        return client

    def _note_version(self, response: requests.Response) -> None:
        self.newest_version = response.headers.get("X-Kaggle-APIVersion", self.newest_version)

    def _introspect_token(self, access_token: str) -> str | None:
        try:
            username: str | None = super()._introspect_token(access_token)
        except requests.HTTPError as error:
            if error.response is None or error.response.status_code != 401:
                raise
            username = None
        if not username:
            self.stale_token = get_access_token_from_env()[1]
        return username

    def _authenticate_with_oauth_creds(self) -> bool:
        # The base class deletes the credentials file when a refresh is refused, and for half an hour takes a token
        # that has run out for a good one.
        credentials = KaggleCredentials.load(client=self.build_kaggle_client())
        if not credentials:
            return False
        expires = credentials._access_token_expiration
        if expires and expires.tzinfo and expires < datetime.now(UTC):
            credentials.refresh_access_token()
        self.config_values[self.CONFIG_NAME_TOKEN] = credentials.get_access_token()
        self.config_values[self.CONFIG_NAME_USER] = credentials.get_username()
        self.config_values[self.CONFIG_NAME_AUTH_METHOD] = str(AuthMethod.OAUTH)
        return True

    def _authenticate_anonymously(self) -> bool:
        return False

    def read_config_file(self, config_data: dict[str, str] | None = None, quiet: bool = False) -> dict[str, str]:
        """Read `kaggle.json`; the base class takes one that is no JSON for none at all."""
        try:
            content = json.loads(Path(self.config).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return config_data or {}
        except (OSError, ValueError) as error:
            self.key_file_fault = f"{self.config} is not JSON ({error})"
            return config_data or {}
        if not isinstance(content, dict):
            self.key_file_fault = f"{self.config} holds no JSON object"
            return config_data or {}
        if not {"username", "key"} <= content.keys():
            self.key_file_fault = f"{self.config} lacks username and key"
        return content


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

    def __init__(self, pace: Pace, say: Say, wait: Wait = time.sleep) -> None:
        self.pace, self.say, self.wait = pace, say, wait
        self.redact = Redactor()
        self._api = _Api(pace.timeout)
        self._credential: Credential | None = None
        for name in ("KAGGLE_API_TOKEN", "KAGGLE_KEY"):
            self.redact.add(os.environ.get(name))
        self.redact.add(get_access_token_from_env()[0])
        self._credential = self._sign_in()
        self._client = self._api.build_kaggle_client()

    def _sign_in(self) -> Credential:
        def authenticate() -> None:
            with contextlib.suppress(SystemExit):  # without credentials the client prints its help and exits
                self._api.authenticate()

        self.call("signing in to Kaggle", authenticate)
        values = self._api.config_values
        for name in (self._api.CONFIG_NAME_KEY, self._api.CONFIG_NAME_TOKEN):
            self.redact.add(values.get(name))
        if not self._api._authenticated:
            refused = f"Kaggle refuses the token from {self._api.stale_token}" if self._api.stale_token else ""
            why = "; ".join(filter(None, (refused, self._api.key_file_fault)))
            raise ServiceError(
                "signing in to Kaggle",
                "no usable credentials found" + (f" ({why})" if why else ""),
                f"Make a token at {SETTINGS_PAGE} and save it as ~/.kaggle/access_token, or kaggle.json in "
                f"{self._api.config_dir}",
                status=401,
            )
        method, username = values[self._api.CONFIG_NAME_AUTH_METHOD], values[self._api.CONFIG_NAME_USER]
        if method == str(AuthMethod.ACCESS_TOKEN):
            source = get_access_token_from_env()[1]
            return Credential(
                "access token", "~/.kaggle/access_token" if source == "access_token" else source, username
            )
        if method == str(AuthMethod.OAUTH):
            return Credential("OAuth sign-in", KaggleCredentials.DEFAULT_CREDENTIALS_FILE, username)
        source = "KAGGLE_USERNAME and KAGGLE_KEY" if os.environ.get("KAGGLE_KEY") else self._api.config
        return Credential("API key", source, username)

    @property
    def credential(self) -> Credential:
        """The credential in use."""
        assert self._credential is not None  # set before the constructor returns
        return self._credential

    @property
    def stale_token(self) -> str | None:
        """Where a token was found that Kaggle refuses, if any."""
        return self._api.stale_token

    @property
    def key_file_fault(self) -> str:
        """What is wrong with a `kaggle.json` that is there, if anything."""
        return self._api.key_file_fault

    @property
    def newest_client(self) -> str:
        """The version of the client that the service names as the newest, or nothing."""
        return self._api.newest_version

    @property
    def key_file(self) -> Path:
        """Where the client looks for `kaggle.json`."""
        return Path(self._api.config)

    @property
    def private_dir(self) -> Path:
        """The folder of the user's credentials, where the state of unfinished uploads is kept too."""
        return Path(self._api.config_dir)

    def call(self, doing: str, send: Callable[[], T], *, repeatable: bool = True, attempts: int | None = None) -> T:
        """Send one call; try again after a passing fault, and only where repeating it cannot do something twice."""

        def once() -> T:
            try:
                with contextlib.redirect_stdout(io.StringIO()):  # the client prints remarks on stdout
                    return send()
            except (requests.RequestException, json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
                # The cause is cut off: its text can carry URLs with permissions in them.
                raise explain(doing, error, self._credential, self.redact) from None

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
