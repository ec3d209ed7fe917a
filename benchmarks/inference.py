"""The whole inference: time per recording beside the network's forward alone and the baseline's pipeline; memory.

`python -m benchmarks.inference` (part of `make bench`). Each figure comes from a process of its own, all on the same
simulated recordings, in turn. The network is one EfficientNetV2-B2 with random weights, which cost what trained ones
do; the shipped ensemble is measured as it is. The baseline is the notebook that scored 0.40: pandas, convolutions in
TensorFlow, 512 x 512 pictures, batches of 32. Processor time is what other work on the machine disturbs least.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import in_own_process
from kernel.constants import SFREQ
from kernel.main import set_threads
from kernel.montage import MONTAGE

WEIGHTS = Path(__file__).resolve().parent.parent / "weights"
DISTINCT, ROUNDS, MANY, TEST_RECORDINGS = 32, 3, 2000, 2640

Measured = dict[str, float]
"""Milliseconds (`ms`) and those of processor time (`cpu`) a recording, and megabytes at the peak (`mb`)."""


def write_recordings(folder: Path, recordings: int) -> None:
    """Write `recordings` files, `DISTINCT` different ones under several names."""
    from simulator.dataset import write_hidden_test

    write_hidden_test(folder, recordings=DISTINCT, seed=1, progress=False)
    first = sorted((folder / "test_eegs").glob("*.parquet"))
    (folder / "many").mkdir()
    for i in range(recordings):
        os.link(first[i % len(first)], folder / "many" / f"{i}.parquet")


def load_b2() -> list[Any]:
    """Return an ensemble of one EfficientNetV2-B2 with random weights."""
    from kernel.ensemble import Member
    from kernel.model import ModelConfig, build_model
    from kernel.scalogram import ScalogramConfig

    config = ModelConfig("scalogram_b2", (ScalogramConfig(),))
    return [Member("scalogram_b2", config, build_model(config), 1.0)]


def time_of(work: Callable[[], object], recordings: int) -> Measured:
    """Run `work`, and return what it takes for each of its recordings, and the process's peak."""
    from kernel.predict import peak_rss_mb

    started, cpu = time.monotonic(), time.process_time()
    work()
    wall, cpu = time.monotonic() - started, time.process_time() - cpu
    return {"ms": 1e3 * wall / recordings, "cpu": 1e3 * cpu / recordings, "mb": peak_rss_mb()}


def run_inference(folder: Path, recordings: int, shipped: bool = False) -> Measured:
    """Run the kernel's own stream."""
    workers = set_threads()
    from kernel.ensemble import load_ensemble
    from kernel.predict import predict

    members = load_ensemble(WEIGHTS) if shipped else load_b2()

    def answer(count: int) -> None:
        predict(np.arange(count), folder / "many", members, workers=workers, log=lambda line: None)

    answer(8)
    return time_of(lambda: answer(recordings), recordings)


def run_forward(folder: Path, recordings: int, usual_threads: bool = False) -> Measured:
    """Run the network alone on inputs that lie in memory, with the kernel's batches.

    With the kernel's threads too, or as a network is usually run: one call at a time, TensorFlow's own threads.
    """
    workers = 1 if usual_threads else set_threads()
    from kernel.ensemble import CPU_BATCH, build_inputs

    (member,) = load_b2()
    channels = 30 * np.random.default_rng(0).standard_normal((18, 10_000)).astype(np.float32)
    batch = [build_inputs(channels, [member])] * CPU_BATCH
    member.answer(batch)
    calls = recordings // CPU_BATCH
    with ThreadPoolExecutor(workers) as pool:
        return time_of(lambda: list(pool.map(member.answer, [batch] * calls)), calls * CPU_BATCH)


def run_baseline(folder: Path, recordings: int) -> Measured:
    """Run the baseline's pipeline, rebuilt from its description; all the cores that TensorFlow takes by itself."""
    import tensorflow as tf

    from kernel.efficientnet import efficientnet_v2_b2

    # exp(2 pi i t) exp(-t^2 / 7), cut at three standard deviations, 40 log-spaced scales, stride 16.
    freqs, deviation = np.geomspace(0.5, 40, 40), np.sqrt(7 / 2)
    half = int(3 * deviation / freqs[0] * SFREQ)
    cycles = np.arange(-half, half + 1)[:, None] / SFREQ * freqs
    gauss = np.where(np.abs(cycles) <= 3 * deviation, np.exp(-(cycles**2) / 7), 0) * freqs / SFREQ
    waves = np.concatenate([gauss * np.cos(2 * np.pi * cycles), gauss * np.sin(2 * np.pi * cycles)], axis=1)
    filters = tf.constant(waves[:, None], tf.float32)
    network = efficientnet_v2_b2((512, 512, 3))

    @tf.function
    def forward(channels: Any) -> Any:
        flat = tf.reshape(channels, (-1, channels.shape[2], 1))
        parts = tf.nn.conv1d(tf.pad(flat, [[0, 0], [half, half], [0, 0]]), filters, 16, "VALID")
        magnitude = tf.sqrt(parts[:, :, :40] ** 2 + parts[:, :, 40:] ** 2)
        picture = tf.reshape(tf.transpose(magnitude, [0, 2, 1]), (-1, 18 * 40, magnitude.shape[1], 1))
        low, high = tf.reduce_min(picture), tf.reduce_max(picture)
        picture = tf.image.resize(255 * (picture - low) / (high - low), (512, 512), method="nearest")
        return tf.reduce_mean(network(tf.repeat(picture, 3, axis=3), training=False), axis=(1, 2))

    def read(i: int) -> np.ndarray:
        table = pd.read_parquet(folder / "many" / f"{i}.parquet")
        channels = pd.DataFrame({f"{a}-{b}": table[a] - table[b] for a, b in MONTAGE})
        return channels.clip(-1024, 1024).fillna(0).to_numpy(np.float32).T / 32

    def answer() -> None:
        for first in range(0, recordings, 32):
            forward(tf.constant(np.stack([read(i) for i in range(first, first + 32)]))).numpy()

    forward(tf.constant(np.stack([read(i) for i in range(2)])))
    return time_of(answer, recordings)


def main() -> None:
    """Measure in turn and print the table."""
    ours = "this project"
    runs: dict[str, tuple[Any, ...]] = {
        ours: (run_inference, 192),
        "its network alone, the same threads": (run_forward, 192),
        "its network alone, TensorFlow's threads": (run_forward, 192, True),
        "the baseline's pipeline": (run_baseline, 64),
    }
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        write_recordings(folder, MANY)
        found = [
            {"": label, **in_own_process(run, folder, *arguments)}
            for _ in range(ROUNDS)
            for label, (run, *arguments) in runs.items()
        ]
        shipped = in_own_process(run_inference, folder, 96, True) if list(WEIGHTS.glob("*/config.json")) else None
        few, lots = (in_own_process(run_inference, folder, n)["mb"] for n in (200, MANY))
    table = pd.DataFrame(found).groupby("", sort=False)[["ms", "cpu"]].median()
    table = table.join(table.loc[ours] / table, rsuffix=" ratio")
    print(f"\nthe whole inference, one EfficientNetV2-B2, {set_threads()} cores, median of {ROUNDS} rounds")
    print(table.round(2).to_string())
    print("ms a recording; ratio: what this project takes of it; to reach: 1.15 of its network alone")
    if shipped:
        minutes = shipped["ms"] * TEST_RECORDINGS / 6e4
        print(f"the shipped ensemble: {shipped['ms']:.1f} ms a recording, {minutes:.0f} min for {TEST_RECORDINGS:,}")
    print(f"peak memory: {few:.0f} MB at 200, {lots:.0f} MB at {MANY}: {lots / few:.3f} times")


if __name__ == "__main__":
    main()
