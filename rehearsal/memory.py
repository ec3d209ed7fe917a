"""Remembers which rehearsal passed, so that an unchanged push need not rehearse again."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kernel.files import replacing
from rehearsal.run import Findings

REHEARSED = "rehearsed.json"


def describe_rehearsal(manifest: dict[str, Any], code: str, source: Path | None) -> dict[str, Any]:
    """Return all that a rehearsal's outcome depends on: data set, pushed file, input, and the packages it uses."""
    table = source / "test.csv" if source else None
    return {
        "data_set": manifest["tree_sha256"],
        "code_sha256": hashlib.sha256(code.encode()).hexdigest(),
        "input_sha256": hashlib.sha256(table.read_bytes()).hexdigest() if table and table.is_file() else str(source),
        "versions": {"python": platform.python_version(), **manifest.get("versions", {})},
    }


def rehearse_once(
    folder: Path, about: dict[str, Any], rehearse: Callable[[], Findings], say: Callable[[str], None]
) -> None:
    """Rehearse, and remember in a folder that it passed; what passed exactly so before is not rehearsed again."""
    try:
        known = json.loads((folder / REHEARSED).read_text(encoding="utf-8"))
        if known["about"] == about:
            say(f"rehearsed as it is on {known['passed']}: it passed")
            return
    except (OSError, ValueError, KeyError, TypeError):
        pass  # nothing is remembered, or nothing that can be read
    say("rehearsing it")
    found = rehearse()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    with replacing(folder / REHEARSED) as path:
        path.write_text(json.dumps({"passed": now, "about": about, "found": found.data}, indent=2) + "\n")
