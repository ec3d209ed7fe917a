"""The cache: building it, and processor time of a training window with and without it.

`python -m benchmarks.cache` (part of `make bench`). All figures but the windows a second are of processor time, which
others on the machine do not change much. What a scalogram costs elsewhere is in `benchmarks.scalogram`.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import psutil

from cache.build import build_cache
from cache.cache import Cache
from cache.plan import find_windows
from kernel.scalogram import ScalogramConfig
from simulator.dataset import write_data_set
from training.batches import TrainingBatches
from training.recipe import read_recipe
from training.windows import FolderWindows, read_folder

CONFIG = ScalogramConfig(clip=8192.0)
RECORDINGS, EPOCH = 60, 96


def core_seconds() -> float:
    """Return the processor time that this process and its children have had: what others take does not count."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def measure_building(data: Path, scratch: Path) -> None:
    """Print windows a second and processor time of building, in one process and two."""
    windows, folder = len(find_windows(data)), scratch / "built"

    def build(jobs: int, anew: bool = True) -> None:
        if anew:
            shutil.rmtree(folder, ignore_errors=True)
        build_cache(data, folder, jobs=jobs, progress=False)

    build(2)  # joblib's processes start once
    table = pd.DataFrame(columns=["windows/s", "core ms", "MB a window"])
    for name, jobs, anew in (
        ("two processes", 2, True),
        ("one process", 1, True),
        ("the same, checked, nothing to do", 1, False),
    ):
        before, started = core_seconds(), time.perf_counter()
        build(jobs, anew)
        wall, core = time.perf_counter() - started, 1e3 * (core_seconds() - before) / windows
        size = sum(path.stat().st_size for path in folder.iterdir()) / windows / 1e6
        table.loc[name] = [windows / wall, core, size]
    print(f"\nbuilding {windows} windows ({os.cpu_count()} cores)\n{table.round(3).to_string()}")


def measure_windows(data: Path, scratch: Path, name: str) -> None:
    """Print the processor time from a folder to a network's input for a window of a recipe, by where it is read."""
    config, recipe = read_recipe(name)
    build_cache(data, scratch / "cache", jobs=1, progress=False)
    patterns = read_folder(data).patterns
    again = pd.concat([patterns] * (1 + EPOCH // len(patterns))).head(EPOCH)
    print(f"\na training window of {name}: processor time in ms, {EPOCH} windows")
    for label, chances in (("no augmentation", {}), ("the recipe's augmentations", recipe.augmentation)):
        for where, cache in (("recordings", None), ("the cache", Cache(scratch / "cache"))):
            source = FolderWindows(again, cache, 0, recipe.shift_seconds)
            plan = TrainingBatches(source, config.inputs, replace(recipe, augmentation=chances), recipe.stages[0], 0)
            costs = [time_epoch(plan) / (len(plan) * recipe.batch_size) for _ in range(6)][1:]
            print(f"{label + ', from ' + where:44} {1e3 * min(costs):8.2f}")


def time_epoch(plan: TrainingBatches) -> float:
    """Return the processor time of preparing all batches of an epoch, in one thread."""
    started = time.process_time()
    for place in range(len(plan)):
        plan[place]
    return time.process_time() - started


def main() -> None:
    """Print the tables."""
    with tempfile.TemporaryDirectory() as name:
        data = Path(name) / "simulated"
        write_data_set(data, recordings=RECORDINGS, seed=0, progress=False)
        measure_building(data, Path(name))
        for model in ("raw_1d", "scalogram_b2"):
            measure_windows(data, Path(name), model)


if __name__ == "__main__":
    main()
