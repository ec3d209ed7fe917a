"""Building a store, and training with and without one: windows a second and core, one process and two, an epoch.

`python -m benchmarks.cache` (part of `make bench`). The alternative for building is what a notebook does:
`pandas.read_parquet`, `pywt.cwt`, `numpy.save`. Ratios are of processor time, which others on the machine do not change
much; wall-clock times stand beside it.
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
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pywt

from benchmarks.cache_formats import seconds_of
from cache.build import build_cache
from cache.cache import WINDOWS_PER_SHARD
from cache.labelled import find_windows
from kernel.constants import EEG_ELECTRODES, ELECTRODES, SFREQ, VOTES, WINDOW_SAMPLES
from kernel.inputs import InputConfig, build_input
from kernel.montage import build_montage
from kernel.recording import read_channels
from kernel.scalogram import ScalogramConfig
from simulator.dataset import write_data_set
from training.batches import TrainingBatches
from training.cached import CachedWindows, find_caches
from training.recipe import read_recipe
from training.windows import FolderWindows, read_rows

CONFIG = ScalogramConfig()
BY_PYWT, BY_FILE, EPOCH = 6, 64, 64


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


def ours_to_npy(data: Path, keys: np.ndarray, out: Path) -> None:
    """Our own transform, but a file of float16 per window, the recording read again for each."""
    for eeg_id, start in keys.tolist():
        channels = read_channels(data / "train_eegs" / f"{eeg_id}.parquet", start)
        np.save(out / f"{eeg_id}-{start}.npy", build_input(channels, CONFIG).astype(np.float16))


def write_recordings(folder: Path, recordings: int) -> None:
    """Write recordings of 1/f noise with 64 labelled windows each, a second apart: a shard's worth."""
    (folder / "train_eegs").mkdir(parents=True)
    rows = []
    for eeg_id in range(1, recordings + 1):
        n_times = WINDOW_SAMPLES + WINDOWS_PER_SHARD * SFREQ
        spectrum = np.fft.rfft(np.random.default_rng(eeg_id).standard_normal((len(ELECTRODES), n_times)))
        eeg = np.fft.irfft(spectrum / np.maximum(1, np.arange(spectrum.shape[1]) / 50), n_times).astype(np.float32)
        columns = dict(zip(ELECTRODES, 30 * eeg / eeg.std(), strict=True))
        pd.DataFrame(columns).to_parquet(folder / "train_eegs" / f"{eeg_id}.parquet", index=False)
        first = {"eeg_id": eeg_id, **dict.fromkeys(VOTES, 1)}
        rows += [{**first, "eeg_label_offset_seconds": second} for second in range(WINDOWS_PER_SHARD)]
    pd.DataFrame(rows).to_csv(folder / "train.csv", index=False)


def measure_building(data: Path, scratch: Path) -> None:
    """Print windows a second and core of building, against the alternatives; one process and two; few and many."""
    keys = find_windows(data)
    n, half = len(keys), len(keys) // 2
    few = scratch / "few"
    few.mkdir()
    (few / "train_eegs").symlink_to(data / "train_eegs")
    pd.read_csv(data / "train.csv").head(half).to_csv(few / "train.csv", index=False)

    def build(folder: Path, jobs: int) -> None:
        shutil.rmtree(scratch / "store", ignore_errors=True)
        build_cache(folder, scratch / "store", CONFIG, jobs=jobs, progress=False)

    def check(folder: Path) -> None:
        build_cache(folder, scratch / "store", CONFIG, jobs=1, progress=False)

    npy = scratch / "npy"
    npy.mkdir()
    build(few, 2)  # joblib's processes start once
    measured: list[tuple[str, int, Callable[[], None]]] = [
        ("pandas + pywt.cwt (fft) to .npy, float16", BY_PYWT, lambda: pywt_to_npy(data, keys[:BY_PYWT], npy)),
        ("our transform to .npy, float16", BY_FILE, lambda: ours_to_npy(data, keys[:BY_FILE], npy)),
        (f"store, one process, {half} windows", half, lambda: build(few, 1)),
        (f"store, one process, {n} windows", n, lambda: build(data, 1)),
        (f"store, two processes, {n} windows", n, lambda: build(data, 2)),
        (f"store, checked, nothing to do, {n} windows", n, lambda: check(data)),
    ]
    print(f"\nbuilding ({os.cpu_count()} cores)\n{'':46} {'windows/s':>10} {'and core':>10} {'ratio':>7}")
    base = 0.0
    for name, count, work in measured:
        before = core_seconds()
        wall = seconds_of(work)
        rate = count / (core_seconds() - before)
        base = base or rate
        print(f"{name:46} {count / wall:10.1f} {rate:10.1f} {rate / base:7.1f}")


def core_seconds() -> float:
    """Return the processor time that this process and its children have had: what others take does not count."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def measure_epoch(data: Path, name: str) -> None:
    """Print an epoch's seconds with and without a store, with the recipe's augmentations and without any."""
    import keras

    from kernel.model import build_model

    config, recipe = read_recipe(name)
    inputs: tuple[InputConfig, ...] = config.inputs
    for number, one in enumerate(dict.fromkeys(inputs)):
        build_cache(data, data / "cache" / f"{name}_{number}", one, jobs=-1, progress=False)
    rows = read_rows(data)
    live = FolderWindows(pd.concat([rows] * (1 + EPOCH // len(rows))).head(EPOCH), 0, 0)
    cached = CachedWindows(live, find_caches(data / "cache", inputs, lambda text: None))
    keras.utils.set_random_seed(0)
    model = build_model(config)
    model.compile(keras.optimizers.Adam(1e-4), keras.losses.KLDivergence())
    print(f"\nan epoch of {name}, {EPOCH} windows: seconds\n{'':44} {'inputs, core':>13} {'training':>9}")
    for label, chances in (("no augmentation", {}), ("the recipe's augmentations", recipe.augmentation)):
        for source, where in ((live, "computed"), (cached, "from the store")):
            plan = TrainingBatches(source, inputs, replace(recipe, augmentation=chances), recipe.stages[0], 0)
            model.fit(plan, verbose=0)
            started = time.process_time()
            for _ in range(3):
                read_epoch(plan)
            alone = (time.process_time() - started) / 3
            whole = min(seconds_of(partial(model.fit, plan, verbose=0)) for _ in range(2))
            print(f"{label + ', ' + where:44} {alone:13.2f} {whole:9.2f}")


def read_epoch(plan: TrainingBatches) -> None:
    """Prepare all batches of an epoch, in one thread."""
    for place in range(len(plan)):
        plan[place]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=12, help="to build, with 64 windows each [%(default)s]")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        write_recordings(Path(name) / "data", args.recordings)
        measure_building(Path(name) / "data", Path(name))
        data = Path(name) / "simulated"
        write_data_set(data, recordings=24, seed=0, progress=False)
        for model in ("raw_1d", "scalogram_b2"):
            measure_epoch(data, model)


if __name__ == "__main__":
    main()
