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
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import psutil

from cache.build import build_cache
from cache.plan import find_windows
from cache.shard import Content
from kernel.scalogram import ScalogramConfig
from simulator.dataset import write_data_set
from training.batches import TrainingBatches
from training.recipe import read_recipe
from training.windows import FolderWindows, find_caches, read_folder

CONFIG = ScalogramConfig(clip=8192.0)
RECORDINGS, EPOCH = 60, 96


def core_seconds() -> float:
    """Return the processor time that this process and its children have had: what others take does not count."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def measure_building(data: Path, scratch: Path) -> None:
    """Print windows a second and processor time of building, in one process and two."""
    windows, folder = len(find_windows(data)), scratch / "built"

    def build(content: Content, jobs: int) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        build_cache(data, folder, content, jobs=jobs, progress=False)

    build(None, 2)  # joblib's processes start once
    measured: dict[str, Callable[[], object]] = {
        "cache of scalograms, one process": lambda: build(CONFIG, 1),
        "cache of channels, two processes": lambda: build(None, 2),
        "cache of channels, one process": lambda: build(None, 1),
        "the same, checked, nothing to do": lambda: build_cache(data, folder, jobs=1, progress=False),
    }
    table = pd.DataFrame(columns=["windows/s", "core ms", "MB a window"])
    for name, work in measured.items():
        before, started = core_seconds(), time.perf_counter()
        work()
        wall, core = time.perf_counter() - started, 1e3 * (core_seconds() - before) / windows
        size = sum(path.stat().st_size for path in folder.iterdir()) / windows / 1e6
        table.loc[name] = [windows / wall, core, size]
    print(f"\nbuilding {windows} windows ({os.cpu_count()} cores)\n{table.round(3).to_string()}")


def measure_windows(data: Path, scratch: Path, name: str) -> None:
    """Print the processor time from a folder to a network's input for a window of a recipe, by where it is read."""
    config, recipe = read_recipe(name)
    build_cache(data, scratch / "channels" / "channels", jobs=1, progress=False)
    for number, one in enumerate(dict.fromkeys(config.inputs)):
        build_cache(data, scratch / name / str(number), one, jobs=1, progress=False)
    print(f"\na training window of {name}: processor time in ms, {EPOCH} windows")
    for label, chances in (("no augmentation", {}), ("the recipe's augmentations", recipe.augmentation)):
        for where, root in (("recordings", None), ("channels", scratch / "channels"), ("inputs", scratch / name)):
            caches = find_caches(root, config.inputs, chances, lambda text: None) if root else ()
            if root is None or caches:
                source = read_folder(data, caches)
                again = pd.concat([source.patterns] * (1 + EPOCH // len(source))).head(EPOCH)
                shift = 0.0 if source.gives_inputs else recipe.shift_seconds
                source = FolderWindows(again, caches, 0, shift)
                plan = TrainingBatches(
                    source, config.inputs, replace(recipe, augmentation=chances), recipe.stages[0], 0
                )
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
