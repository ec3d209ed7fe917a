"""The cache: building it, and processor time of a training window with and without it.

`python -m benchmarks.cache` (part of `make bench`). The alternative for building is what a notebook does:
`pandas.read_parquet`, `pywt.cwt`, `numpy.save`. All figures but the two processes' windows a second are of processor
time, which others on the machine do not change much.
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pywt

from cache.build import build_cache
from cache.cache import Cache
from cache.plan import find_windows
from kernel.constants import EEG_ELECTRODES, SFREQ, WINDOW_SAMPLES
from kernel.montage import build_montage
from kernel.scalogram import ScalogramConfig
from simulator.dataset import write_data_set
from training.batches import TrainingBatches
from training.recipe import read_recipe
from training.windows import FolderWindows, read_folder

CONFIG = ScalogramConfig(clip=8192.0)
BY_PYWT, EPOCH = 6, 96


def pywt_to_npy(data: Path, keys: np.ndarray, out: Path) -> None:
    """Do what a notebook does, for each window: read with pandas, `pywt.cwt` (FFT), keep every 16th frame, save."""
    bandwidth = 2 * (CONFIG.w0 / (2 * np.pi)) ** 2
    scales = SFREQ / CONFIG.freqs
    for eeg_id, start in keys.tolist():
        frame = pd.read_parquet(data / "train_eegs" / f"{eeg_id}.parquet")
        electrodes = frame[list(EEG_ELECTRODES)].to_numpy(np.float32).T[:, start : start + WINDOW_SAMPLES]
        channels = np.clip(np.nan_to_num(build_montage(electrodes)), -CONFIG.clip, CONFIG.clip)
        transform, _ = pywt.cwt(channels, scales, f"cmor{bandwidth:.4f}-1", axis=-1, method="fft")
        magnitude = np.abs(transform[..., :: CONFIG.stride]).transpose(1, 0, 2)
        np.save(out / f"{eeg_id}-{start}.npy", np.log1p(magnitude / CONFIG.unit).astype(np.float16))


def core_seconds() -> float:
    """Return the processor time that this process and its children have had: what others take does not count."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def measure_building(data: Path, scratch: Path) -> None:
    """Print windows a second and processor time of building, against the alternative; one process and two."""
    keys = find_windows(data)
    npy, folder = scratch / "npy", scratch / "built"
    npy.mkdir()

    def build(jobs: int) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        build_cache(data, folder, jobs=jobs, progress=False)

    build(2)  # joblib's processes start once
    measured: list[tuple[str, int, Callable[[], object]]] = [
        ("pandas + pywt.cwt (fft) to .npy, float16", BY_PYWT, lambda: pywt_to_npy(data, keys[:BY_PYWT], npy)),
        ("the cache, two processes", len(keys), lambda: build(2)),
        ("the cache, one process", len(keys), lambda: build(1)),
        ("the same, checked, nothing to do", len(keys), lambda: build_cache(data, folder, jobs=1, progress=False)),
    ]
    table = pd.DataFrame(columns=["windows/s", "core ms", "ratio", "MB a window"])
    for name, count, work in measured:
        before, started = core_seconds(), time.perf_counter()
        work()
        wall, core = time.perf_counter() - started, 1e3 * (core_seconds() - before) / count
        base = table["core ms"].iloc[0] if len(table) else core
        written = folder if len(table) else npy
        size = sum(path.stat().st_size for path in written.iterdir()) / count / 1e6
        table.loc[name] = [count / wall, core, base / core, size]
    print(f"\nbuilding {len(keys)} windows ({os.cpu_count()} cores)\n{table.round(3).to_string()}")


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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=60, help="simulated ones [%(default)s]")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        data = Path(name) / "simulated"
        write_data_set(data, recordings=args.recordings, seed=0, progress=False)
        measure_building(data, Path(name))
        for model in ("raw_1d", "scalogram_b2"):
            measure_windows(data, Path(name), model)


if __name__ == "__main__":
    main()
