"""The only file that imports `kaggle`: signs in with the credential that is found first and that Kaggle takes.

The package is left as it is; what it lacks is added by a subclass: a time-out on every call, no debug output (which
would print the Authorization header), a stale token that does not shadow a good key, a `kaggle.json` that is no JSON
being named, and no deletion of credentials.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from publisher.service.answers import Credential
from publisher.service.faults import ServiceError

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


class Account(KaggleApi):
    """Kaggle's own client, with time-outs and without surprises."""

    def __init__(self, timeout: float) -> None:
        super().__init__()
        self.timeout = timeout
        self.stale_token: str | None = None
        self.newest_version = ""
        self.key_file_fault = ""

    def sign_in(self) -> None:
        """Try the usual places of credentials one after another."""
        try:
            with contextlib.suppress(SystemExit):  # without credentials the client prints its help and exits
                self.authenticate()
        except TypeError:  # the client reads the key file in a second place, as an object whatever it holds
            if not self.key_file_fault:
                raise

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
        except OSError as error:
            self.key_file_fault = f"{self.config} cannot be read ({error.strerror})"
            return config_data or {}
        except ValueError as error:
            self.key_file_fault = f"{self.config} is not JSON ({error})"
            return config_data or {}
        if not isinstance(content, dict):
            self.key_file_fault = f"{self.config} holds no JSON object"
            return config_data or {}
        if not {"username", "key"} <= content.keys():
            self.key_file_fault = f"{self.config} lacks username and key"
        return content


def read_credential(account: Account) -> Credential:
    """Return what an account signed in with; a ServiceError says what was found and why it will not do."""
    values = account.config_values
    if not account._authenticated:
        refused = f"Kaggle refuses the token from {account.stale_token}" if account.stale_token else ""
        why = "; ".join(filter(None, (refused, account.key_file_fault)))
        said = "no usable credentials found" + (f" ({why})" if why else "")
        todo = f"Make a token at {SETTINGS_PAGE} and save it as ~/.kaggle/access_token, or kaggle.json in "
        raise ServiceError("signing in to Kaggle", said, todo + account.config_dir, status=401)
    method, username = values[account.CONFIG_NAME_AUTH_METHOD], values[account.CONFIG_NAME_USER]
    if method == str(AuthMethod.ACCESS_TOKEN):
        source = get_access_token_from_env()[1]
        source = "~/.kaggle/access_token" if source == "access_token" else source
        return Credential("access token", source, username)
    if method == str(AuthMethod.OAUTH):
        return Credential("OAuth sign-in", KaggleCredentials.DEFAULT_CREDENTIALS_FILE, username)
    source = "KAGGLE_USERNAME and KAGGLE_KEY" if os.environ.get("KAGGLE_KEY") else account.config
    return Credential("API key", source, username)
