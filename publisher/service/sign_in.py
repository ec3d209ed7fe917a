"""Signs in with the credential that is found first and that Kaggle takes, in the places where its client looks.

First an access token, then the API key, then what `kaggle auth login` left. A stale token does not shadow a good key,
and no credential is ever deleted.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import requests

from publisher.service.faults import ServiceError
from publisher.service.official import find_access_token

SETTINGS_PAGE = "https://www.kaggle.com/settings"
LIFETIME = timedelta(hours=12)
"""Of an access token that is asked for."""

Ask = Callable[..., dict[str, Any]]
Note = tuple[str, str]
"""What is wrong with a credential that is not used, and how to fix it."""


def bearer(token: str) -> Callable[[requests.PreparedRequest], requests.PreparedRequest]:
    """Return what puts an access token into a request."""

    def put(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {token}"
        return request

    return put


@dataclass(frozen=True)
class Credential:
    """Which credential is in use: what kind, where it was found, whose it is. Its value is never shown."""

    kind: str
    source: str
    username: str
    auth: Any = field(repr=False)

    def __str__(self) -> str:
        return f"the {self.kind} from {self.source} (user {self.username})" if self.kind else ""


ANONYMOUS = Credential("", "", "", None)


def sign_in(ask: Ask, hide: Callable[..., None]) -> tuple[Credential, list[Note]]:
    """Return the credential to use, and notes about those that are not; a ServiceError where there is none.

    `ask` calls the service, as `Session.ask`; `hide` takes secrets that must never be shown.
    """
    notes: list[Note] = []
    token, place = find_access_token()
    if token and place:
        hide(token)
        username = _find_user(ask, token)
        place = "~/.kaggle/access_token" if place == "access_token" else place
        if username:
            return Credential("access token", place, username, bearer(token)), notes
        notes.append((f"Kaggle refuses the token from {place}", "remove or renew that token"))
    values, fault = _read_key_file()
    if fault:
        notes.append((fault, f"make a new one at {SETTINGS_PAGE}"))
    user, key = (
        str(os.environ.get(f"KAGGLE_{name.upper()}") or values.get(name) or "") for name in ("username", "key")
    )
    if user and key:
        hide(key)
        source = "KAGGLE_USERNAME and KAGGLE_KEY" if os.environ.get("KAGGLE_KEY") else str(key_file())
        return Credential("API key", source, user, (user, key)), notes
    signed_in = _read_sign_in(ask, hide)
    if signed_in is not None:
        return signed_in, notes
    why = f" ({'; '.join(found for found, _ in notes)})" if notes else ""
    todo = f"Make a token at {SETTINGS_PAGE} and save it as ~/.kaggle/access_token, or kaggle.json in "
    raise ServiceError(
        "signing in to Kaggle", f"no usable credentials found{why}", f"{todo}{key_file().parent}", status=401
    )


def _find_user(ask: Ask, token: str) -> str:
    """Return whose an access token is; empty where Kaggle does not take it."""
    try:
        answer = ask(
            "signing in to Kaggle", "security.OAuthService/IntrospectToken", {"token": token}, auth=bearer(token)
        )
    except ServiceError as error:
        if error.status not in (400, 401, 403, 404):
            raise
        return ""
    return str(answer.get("username") or "") if answer.get("active") else ""


def key_file() -> Path:
    """Return where `kaggle.json` lies, by the rule of Kaggle's client."""
    folder = Path.home() / ".kaggle"
    if given := os.environ.get("KAGGLE_CONFIG_DIR"):
        folder = Path(given)
    elif sys.platform.startswith("linux") and not folder.exists():
        folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "kaggle"
    return folder / "kaggle.json"


def _read_key_file() -> tuple[dict[str, str], str]:
    """Return what `kaggle.json` holds, and what is wrong with it; nothing is wrong where there is none."""
    path = key_file()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, ""
    except OSError as error:
        return {}, f"{path} cannot be read ({error.strerror})"
    except ValueError as error:
        return {}, f"{path} is not JSON ({error})"
    if not isinstance(content, dict):
        return {}, f"{path} holds no JSON object"
    return content, "" if {"username", "key"} <= content.keys() else f"{path} lacks username and key"


def _read_sign_in(ask: Ask, hide: Callable[..., None]) -> Credential | None:
    """Return what `kaggle auth login` left, its access token renewed where it has run out; None without."""
    shown = "~/.kaggle/credentials.json"
    path = Path(shown).expanduser()
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        refresh, token = saved["refresh_token"], saved.get("access_token")
        ends = datetime.fromisoformat(saved.get("access_token_expiration") or "1970-01-01T00:00:00+00:00")
    except (OSError, ValueError, KeyError, TypeError):
        return None
    hide(refresh, token)
    if not token or ends < datetime.now(ends.tzinfo):
        asked = {
            "refreshToken": refresh,
            "apiVersion": "API_VERSION_V1",
            "expirationDuration": f"{LIFETIME.total_seconds():.0f}s",
        }
        answer = ask("renewing the sign-in to Kaggle", "users.AccountService/GenerateAccessToken", asked)
        token = str(answer.get("token") or "")
        hide(token)
        ends = datetime.now(UTC) + timedelta(seconds=int(answer.get("expiresIn") or 0))
        saved |= {"access_token": token, "access_token_expiration": ends.isoformat()}
        path.write_text(json.dumps(saved, indent=2), encoding="utf-8")  # it keeps its permissions
    return Credential("OAuth sign-in", shown, str(saved.get("username") or ""), bearer(token))
