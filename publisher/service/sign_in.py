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

from publisher.service.faults import ServiceError, none_if_refused
from publisher.service.official import BearerAuth, find_access_token

SETTINGS_PAGE = "https://www.kaggle.com/settings"
SIGNING_IN = "signing in to Kaggle"
SIGNED_IN = "~/.kaggle/credentials.json"
LIFETIME = timedelta(hours=12)
"""Of an access token that is asked for."""

Ask = Callable[..., dict[str, Any]]
"""Calls the service, as `Session.ask`."""
Hide = Callable[..., None]
"""Takes secrets that must never be shown."""
Note = tuple[str, str]
"""What is wrong with a credential that is not used, and how to fix it."""


@dataclass(frozen=True)
class Credential:
    """Which credential is in use: what kind, where it was found, whose it is. Its value is never shown."""

    kind: str = ""
    source: str = ""
    username: str = ""
    auth: Any = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"the {self.kind} from {self.source} (user {self.username})" if self.kind else ""


def sign_in(ask: Ask, hide: Hide) -> tuple[Credential, list[Note]]:
    """Return the credential to use, and notes about those that are not; a ServiceError where there is none."""
    notes: list[Note] = []
    for find in (_find_token, _find_key, _find_signed_in):
        credential = find(ask, hide, notes)
        if credential is not None:
            return credential, notes
    why = f" ({'; '.join(found for found, _ in notes)})" if notes else ""
    said, where = f"no usable credentials found{why}", f"~/.kaggle/access_token, or kaggle.json in {key_file().parent}"
    raise ServiceError(SIGNING_IN, said, f"Make a token at {SETTINGS_PAGE} and save it as {where}", status=401)


def _find_token(ask: Ask, hide: Hide, notes: list[Note]) -> Credential | None:
    """Return the access token, if Kaggle takes it."""
    token, place = find_access_token()
    if not token or not place:
        return None
    hide(token)
    place = "~/.kaggle/access_token" if place == "access_token" else place
    method, auth = "security.OAuthService/IntrospectToken", BearerAuth(token)
    told = none_if_refused(lambda: ask(SIGNING_IN, method, {"token": token}, auth=auth), (400, 401, 403, 404)) or {}
    if told.get("active") and told.get("username"):
        return Credential("access token", place, str(told["username"]), auth)
    notes.append((f"Kaggle refuses the token from {place}", "remove or renew that token"))
    return None


def key_file() -> Path:
    """Return where `kaggle.json` lies, by the rule of Kaggle's client."""
    folder = Path.home() / ".kaggle"
    if given := os.environ.get("KAGGLE_CONFIG_DIR"):
        folder = Path(given)
    elif sys.platform.startswith("linux") and not folder.exists():
        folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "kaggle"
    return folder / "kaggle.json"


def _find_key(_: Ask, hide: Hide, notes: list[Note]) -> Credential | None:
    """Return the API key, of which the environment may hold a part and `kaggle.json` the rest."""
    path, content, fault = key_file(), {}, ""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            content, fault = {}, "holds no JSON object"
        elif not {"username", "key"} <= content.keys():
            fault = "lacks username and key"
    except FileNotFoundError:
        pass
    except OSError as error:
        fault = f"cannot be read ({error.strerror})"
    except ValueError as error:
        fault = f"is not JSON ({error})"
    if fault:
        notes.append((f"{path} {fault}", f"make a new one at {SETTINGS_PAGE}"))
    user = os.environ.get("KAGGLE_USERNAME") or content.get("username")
    key = os.environ.get("KAGGLE_KEY") or content.get("key")
    if not user or not key:
        return None
    hide(str(key))
    source = "KAGGLE_USERNAME and KAGGLE_KEY" if os.environ.get("KAGGLE_KEY") else str(path)
    return Credential("API key", source, str(user), (str(user), str(key)))


def _find_signed_in(ask: Ask, hide: Hide, _: list[Note]) -> Credential | None:
    """Return what `kaggle auth login` left, its access token renewed where it has run out."""
    path = Path(SIGNED_IN).expanduser()
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        refresh, token = saved["refresh_token"], saved.get("access_token")
        ends = datetime.fromisoformat(saved.get("access_token_expiration") or "1970-01-01T00:00:00+00:00")
    except (OSError, ValueError, KeyError, TypeError):
        return None
    hide(refresh)
    if not token or ends < datetime.now(ends.tzinfo):
        lifetime = f"{LIFETIME.total_seconds():.0f}s"
        asked = {"refreshToken": refresh, "apiVersion": "API_VERSION_V1", "expirationDuration": lifetime}
        answer = ask("renewing the sign-in to Kaggle", "users.AccountService/GenerateAccessToken", asked)
        token = str(answer.get("token") or "")
        ends = datetime.now(UTC) + timedelta(seconds=int(answer.get("expiresIn") or 0))
        saved |= {"access_token": token, "access_token_expiration": ends.isoformat()}
        path.write_text(json.dumps(saved, indent=2), encoding="utf-8")  # it keeps its permissions
    hide(token)
    return Credential("OAuth sign-in", SIGNED_IN, str(saved.get("username") or ""), BearerAuth(token))
