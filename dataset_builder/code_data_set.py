"""Builds the data set `hms-scalogram-code`: the rooms that train and report, for kernels that run beside the data.

It is a data set of its own, so that a change to the training leaves the inference's bundle as it is, and it is built
and verified by the same functions: known kinds of files, no secrets, the same bytes from the same checkout.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dataset_builder.bundle import DIST, ROOT, pack, refuse_secrets
from dataset_builder.metadata import CODE_FORMAT, CODE_SLUG, dataset_metadata
from dataset_builder.wheels import REQUIREMENTS

ROOMS = ("kernel", "cache", "simulator", "eda", "training")
"""Whole rooms, so that every import in them can be resolved."""
TAKEN = ("*.py", "recipes/*.json", "*.html.j2", "*.npz")
"""Of each room: code, recipes, the report's template, the simulator's tables."""


def build_code_data_set(
    out: Path,
    *,
    owner: str | None = None,
    root: Path = ROOT,
    wheels: Path = DIST / "wheels",
    requirements: Path = REQUIREMENTS,
) -> dict[str, Any]:
    """Build the data set and return its manifest; parameters and errors are those of `build_bundle`."""
    refuse_secrets(root, *ROOMS)
    paths = [path for room in ROOMS for pattern in TAKEN for path in (root / room).glob(pattern)]
    sources = {path.relative_to(root).as_posix(): path for path in paths}
    return pack(out, root, sources, CODE_FORMAT, dataset_metadata(owner, CODE_SLUG), [], wheels, requirements)
