"""What a rehearsal runs on where no input is given: simulated data below `dist`, drawn anew by a changed simulator."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from dataset_builder.metadata import describe_file, hash_tree
from rehearsal.job import ROOT

SOURCES = ("simulator/*.py", "simulator/*.npz", "kernel/*.py")
"""What decides on the recordings that are drawn: the simulator, and the code that it builds on."""

DRAWN_BY = "drawn_by.txt"
"""The file in a drawn folder that says which simulator drew it, by a hash of its sources."""


def draw_hidden_test(dist: Path, recordings: int, seed: int) -> Path:
    """Return a hidden test below `dist`, as this simulator draws it."""
    from simulator.dataset import write_hidden_test

    folder = dist / f"hidden_test_{recordings}_{seed}"
    return _draw(folder, lambda: write_hidden_test(folder, recordings=recordings, seed=seed))


def draw_training_set(dist: Path) -> Path:
    """Return a small training set below `dist`, as this simulator draws it."""
    from simulator.dataset import write_data_set

    folder = dist / "training_set_16_1"
    return _draw(folder, lambda: write_data_set(folder, recordings=16, seed=1))


def _draw(folder: Path, write: Callable[[], None]) -> Path:
    """Write a folder, which goes on with what lies there, but only if this very simulator has drawn that."""
    record, simulator = folder / DRAWN_BY, hash_simulator()
    if not record.is_file() or record.read_text() != simulator:
        if (folder / "simulator.json").is_file():  # what is not simulated is not ours to remove
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        record.write_text(simulator)
    write()
    return folder


def hash_simulator(root: Path = ROOT) -> str:
    """Return a hash of a checkout's simulator: another source, another hash."""
    paths = [path for pattern in SOURCES for path in root.glob(pattern)]
    return hash_tree([describe_file(root, path.relative_to(root).as_posix()) for path in paths])
