"""What a cache says it holds: `config.json`, compared field by field, and `pieces.npy`, the list of its records.

A configuration also carries some values of a fixed signal, as its writer's code computed them: where this code computes
others, the cache is refused.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from cache.shard import Content
from kernel.constants import EEG_ELECTRODES, SFREQ, WINDOW_SAMPLES
from kernel.files import replacing
from kernel.inputs import build_input, from_json, to_json
from kernel.recording import build_channels

FORMAT = 2
CONFIG, PIECES = "config.json", "pieces.npy"

BUILD = "`python build.py cache --data DIR` builds one"


def create_cache(folder: Path, content: Content, keys: np.ndarray) -> None:
    """Write a cache's configuration and its list of pieces, int64 (n, 2); the shards follow by `write_shard`.

    A cache of something else is a ValueError, as in `check_config`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / CONFIG).exists():
        check_config(folder, content)
    else:
        values = {"format": FORMAT, "content": _to_json(content), "probe": _probe(content)}
        with replacing(folder / CONFIG) as part:
            part.write_text(json.dumps(values, indent=2) + "\n")
    with replacing(folder / PIECES) as part, part.open("wb") as file:
        np.save(file, np.ascontiguousarray(keys, "<i8").reshape(-1, 2))


def read_config(folder: Path) -> tuple[Content, np.ndarray]:
    """Return what a cache holds, and the values of the fixed signal that its writer's code computed."""
    path = folder / CONFIG
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; {BUILD}")
    try:
        values = json.loads(path.read_text())
        version = values["format"]
        if version != FORMAT:
            raise ValueError(f"{path}: format {version}, this code reads {FORMAT}; remove {folder} and build it again")
        content, probe = values["content"], np.array(values["probe"], float)
        is_channels = content["kind"] == "channels"
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a cache's configuration ({error!r}); remove {folder}, build it again") from None
    return None if is_channels else from_json(content, str(path)), probe


def check_config(folder: Path, content: Content) -> None:
    """Raise ValueError naming each field in which a cache and what is asked for differ, or its and this code's numbers.

    Where the folder holds no cache it is a FileNotFoundError.
    """
    stored, probe = read_config(folder)
    found, asked = _to_json(stored), _to_json(content)
    names = ["kind"] if found["kind"] != asked["kind"] else [name for name in found if found[name] != asked[name]]
    if names:
        said = ", ".join(f"{name} is {found[name]} there, {asked[name]} asked" for name in names)
        raise ValueError(f"{folder}: holds something else: {said}; build a cache for this in another folder")
    if not np.allclose(probe, _probe(content), rtol=1e-3, atol=1e-3):
        raise ValueError(
            f"{folder}: the code computes other numbers from the same configuration now; remove it and build it again"
        )


def read_pieces(folder: Path) -> np.ndarray:
    """Return the pieces that a cache lists, int64 (n, 2), be they stored yet or not."""
    path = folder / PIECES
    try:
        return np.load(path)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path}: not readable ({error}); remove {folder} and build it again") from None


def _to_json(content: Content) -> dict[str, Any]:
    return to_json(content) if content else {"kind": "channels"}


def _probe(content: Content) -> list[float]:
    """Return 64 values of the content of a fixed signal with gaps: they change when the code that computes changes."""
    times = np.arange(WINDOW_SAMPLES) / SFREQ
    rates = 0.4 + 1.7 * np.arange(len(EEG_ELECTRODES))
    electrodes = (40 * np.sin(2 * np.pi * np.outer(rates, times * (1 + 0.01 * times)))).astype(np.float32)
    electrodes[3, 500:700] = electrodes[8, :400] = np.nan
    channels = build_channels(electrodes)
    values = (build_input(channels, content) if content else channels).reshape(-1)
    return [round(float(value), 5) for value in values[np.linspace(0, len(values) - 1, 64).astype(int)]]
