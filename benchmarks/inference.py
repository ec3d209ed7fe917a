"""The whole inference: time per recording beside the network's forward alone and the baseline's pipeline; memory.

`python -m benchmarks.inference` (part of `make bench`). Each figure comes from a process of its own, all on the same
simulated recordings, in turn. The network is one EfficientNetV2-B2 with random weights, which cost what trained ones
do; the shipped ensemble is measured as it is. The baseline is the notebook that scored 0.40: pandas, convolutions in
TensorFlow, 512 x 512 pictures, batches of 32. Processor time is what other work on the machine disturbs least.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from kernel.constants import SFREQ
from kernel.main import set_threads
from kernel.montage import MONTAGE

ROOT = Path(__file__).resolve().parent.parent
DISTINCT = 32


def write_recordings(folder: Path, recordings: int) -> None:
    """Write `recordings` files, `DISTINCT` different ones under several names."""
    from simulator.dataset import write_hidden_test

    write_hidden_test(folder, recordings=DISTINCT, seed=1, progress=False)
    first = sorted((folder / "test_eegs").glob("*.parquet"))
    (folder / "many").mkdir()
    for i in range(recordings):
        os.link(first[i % len(first)], folder / "many" / f"{i}.parquet")


def load_members(shipped: bool) -> list[Any]:
    """Return the shipped ensemble, or one EfficientNetV2-B2 with random weights."""
    from kernel.ensemble import Member, load_ensemble
    from kernel.model import ModelConfig, build_model
    from kernel.scalogram import ScalogramConfig

    if shipped:
        return load_ensemble(ROOT / "weights")
    config = ModelConfig("scalogram_b2", (ScalogramConfig(),))
    return [Member("scalogram_b2", config, build_model(config), 1.0)]


def run_inference(folder: Path, recordings: int, shipped: bool) -> dict[str, float]:
    """Run the kernel's own stream."""
    workers = set_threads()
    from kernel.predict import predict

    members = load_members(shipped)
    predict(np.arange(8), folder / "many", members, workers=workers, log=lambda line: None)
    cpu = time.process_time()
    _, report = predict(np.arange(recordings), folder / "many", members, workers=workers, log=lambda line: None)
    cpu = time.process_time() - cpu
    return {"ms": report.ms_per_recording, "cpu": 1e3 * cpu / recordings, "mb": report.peak_rss_mb}


def run_forward(recordings: int, *, usual_threads: bool) -> dict[str, float]:
    """Run the network alone on inputs that lie in memory, with the kernel's batches.

    With the kernel's threads too, or as a network is usually run: one call at a time, TensorFlow's own threads.
    """
    workers = 1 if usual_threads else set_threads()
    from kernel.ensemble import CPU_BATCH, build_inputs

    (member,) = load_members(shipped=False)
    channels = 30 * np.random.default_rng(0).standard_normal((18, 10_000)).astype(np.float32)
    batch = [build_inputs(channels, [member])] * CPU_BATCH
    member.answer(batch)
    started, cpu = time.monotonic(), time.process_time()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda _: member.answer(batch), range(recordings // CPU_BATCH)))
    answered = recordings // CPU_BATCH * CPU_BATCH
    return {
        "ms": 1e3 * (time.monotonic() - started) / answered,
        "cpu": 1e3 * (time.process_time() - cpu) / answered,
    }


def run_baseline(folder: Path, recordings: int) -> dict[str, float]:
    """Run the baseline's pipeline, rebuilt from its description; all the cores that TensorFlow takes by itself."""
    import pandas as pd
    import tensorflow as tf

    from kernel.efficientnet import efficientnet_v2_b2
    from kernel.predict import peak_rss_mb

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

    forward(tf.constant(np.stack([read(i) for i in range(2)])))
    started, cpu = time.monotonic(), time.process_time()
    for first in range(0, recordings, 32):
        forward(tf.constant(np.stack([read(i) for i in range(first, first + 32)]))).numpy()
    cpu = time.process_time() - cpu
    return {"ms": 1e3 * (time.monotonic() - started) / recordings, "cpu": 1e3 * cpu / recordings, "mb": peak_rss_mb()}


def measure(what: str, folder: Path, recordings: int) -> dict[str, float]:
    """Run one of the measurements in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.inference", what, "--folder", str(folder)]
    done = subprocess.run([*command, "--recordings", str(recordings)], capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"{what} failed: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def main(rounds: int, many: int) -> None:
    """Measure in turn and print the table."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        write_recordings(folder, many)
        found: dict[str, list[dict[str, float]]] = {}
        for _ in range(rounds):
            for what, recordings in (("inference", 192), ("forward", 192), ("usual", 192), ("baseline", 64)):
                found.setdefault(what, []).append(measure(what, folder, recordings))
        shipped = [measure("shipped", folder, 96)] if list((ROOT / "weights").glob("*/config.json")) else []
        few, lots = (measure("inference", folder, n) for n in (200, many))
    median = {
        what: {name: float(np.median([one[name] for one in runs])) for name in ("ms", "cpu")}
        for what, runs in found.items()
    }
    print(
        f"\nthe whole inference, one EfficientNetV2-B2, {set_threads()} cores, median of {rounds} rounds, a recording"
    )
    labels = {
        "inference": "this project",
        "forward": "its network alone, the same threads",
        "usual": "its network alone, TensorFlow's threads",
        "baseline": "the baseline's pipeline",
    }
    print(f"{'':42s}{'ms':>8s}{'ratio':>8s}{'ms of cpu':>12s}{'ratio':>8s}")
    ours = median["inference"]
    for what, label in labels.items():
        other = median[what]
        ratios = {name: ours[name] / other[name] for name in ours}
        print(f"{label:42s}{other['ms']:8.1f}{ratios['ms']:8.2f}{other['cpu']:12.1f}{ratios['cpu']:8.2f}")
    print("ratio: what this project takes of it; to reach: 1.15 of its network alone")
    for one in shipped:
        print(
            f"{'the shipped ensemble':24s}{one['ms']:8.1f} ms a recording, {one['ms'] * 2640 / 6e4:.0f} min for 2,640"
        )
    print(f"peak memory: {few['mb']:.0f} MB at 200, {lots['mb']:.0f} MB at {many}: {lots['mb'] / few['mb']:.3f} times")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("inference", "shipped", "forward", "usual", "baseline"))
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--recordings", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--many", type=int, default=2000)
    args = parser.parse_args()
    if args.what is None:
        main(args.rounds, args.many)
    elif args.what in ("forward", "usual"):
        print(json.dumps(run_forward(args.recordings, usual_threads=args.what == "usual")))
    elif args.what == "baseline":
        print(json.dumps(run_baseline(args.folder, args.recordings)))
    else:
        print(json.dumps(run_inference(args.folder, args.recordings, shipped=args.what == "shipped")))
