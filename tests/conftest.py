"""What many tests need: a quiet TensorFlow, signals, recordings on disk, and the real recordings where they are.

What takes a while to make is made once for the whole run, however many processes share the tests, and must not be
changed by a test (copy it first: `shutil.copytree`):

| fixture | what |
|---|---|
| `simulated_set` | a training set of 16 simulated recordings in the competition's layout, with 2 more in `test_eegs` |
| `hidden_test` | two sound recordings and one without a file, `test.csv` and `test_votes.csv` |
| `tiny_weights` | a folder as `weights/`, with one fold of a tiny network on the raw signal; its answers differ |
| `tiny_bundle` | the bundle that is built of `kernel/` and the tiny weights: loads in a fraction of a second |

`tiny_model()` builds that network, untrained; `TINY` is its configuration.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# What `make test ARGS=...` hands down would reach the make that tests call.
for _name in ("MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS"):
    os.environ.pop(_name, None)
# Tests run side by side, one process a core: each keeps to one thread.
for _name in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kernel.constants import ELECTRODES, VOTES, WINDOW_SAMPLES
from kernel.inputs import RawConfig, build_raw
from kernel.model import ModelConfig, build_model, write_config, write_weights
from kernel.recording import build_channels

ROOT = Path(__file__).resolve().parent.parent
REAL = ROOT.parent / "shared" / "iiic"
TINY = ModelConfig(
    "raw_1d", (RawConfig(),), {"filters": (4,), "width": 4, "central_samples": 400, "depth": 1, "stem_stride": 8}
)


SLOWEST = (
    *("test_training", "test_training_session", "test_walkthrough", "test_publish_kill", "test_publish_faults"),
    *("test_training_ship", "test_rehearse_jobs", "test_eda_page", "test_rehearse", "test_tour", "test_turns"),
    *("test_cache_training", "test_backbone", "test_simulator_generate", "test_predict", "test_networks", "test_eda"),
)
"""The files that take longest, which begin: a process keeps to a file, and none is left with a long one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: SLOWEST.index(item.path.stem) if item.path.stem in SLOWEST else len(SLOWEST))


def make_eeg(n_times: int = WINDOW_SAMPLES, seed: int = 0) -> np.ndarray:
    """A 1/f signal of some 30 microvolts with a 10 Hz rhythm at the back, (20, n_times) float32, another each seed."""
    rng = np.random.default_rng(seed)
    spectrum = np.fft.rfft(rng.standard_normal((len(ELECTRODES), n_times)))
    spectrum /= np.maximum(1, np.arange(spectrum.shape[1]) * 200 / n_times)
    eeg = np.fft.irfft(spectrum, n_times)
    eeg *= 30 / eeg.std()
    eeg[[7, 18]] += 20 * np.sin(2 * np.pi * 10 * np.arange(n_times) / 200)
    return eeg.astype(np.float32)


def write_recording(path: Path, eeg: np.ndarray, columns: tuple[str, ...] = ELECTRODES) -> Path:
    """Write a recording as the competition does."""
    pq.write_table(pa.table(dict(zip(columns, eeg, strict=True))), path)
    return path


def tiny_model() -> Any:
    """Build the tiny network with random weights that make its answers differ between recordings."""
    import keras

    keras.utils.set_random_seed(0)
    network = build_model(TINY)
    logits = network.get_layer("logits")
    channels = [build_channels(make_eeg(seed=seed)) for seed in range(8)]
    features = keras.Model(network.input, logits.input)
    found = features.predict_on_batch([np.stack([build_raw(one, TINY.inputs[0]) for one in channels])])
    weights = np.random.default_rng(0).standard_normal(logits.kernel.shape)
    weights /= (found @ weights).std(axis=0)
    logits.kernel.assign(weights)
    logits.bias.assign(-(found @ weights).mean(axis=0))
    return network


Make = Callable[[str, Callable[[Path], Any]], Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Make a folder by a function unless a process of this run has; return it."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent

    def make(name: str, write: Callable[[Path], Any]) -> Path:
        folder, part = base / f"shared-{name}", base / f"shared-{name}.part"
        with (base / f"shared-{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                shutil.rmtree(part, ignore_errors=True)
                write(part)
                part.rename(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def simulated_set(once: Make) -> Path:
    from simulator.dataset import write_data_set

    return once(
        "simulated", lambda folder: write_data_set(folder, recordings=16, test_recordings=2, seed=1, progress=False)
    )


@pytest.fixture(scope="session")
def hidden_test(once: Make) -> Path:
    return once("hidden", write_hidden)


def write_hidden(folder: Path) -> None:
    (folder / "test_eegs").mkdir(parents=True)
    ids = [101, 102, 103]
    for eeg_id in ids[:2]:
        write_recording(folder / "test_eegs" / f"{eeg_id}.parquet", make_eeg(seed=eeg_id))
    pd.DataFrame({"spectrogram_id": ids, "eeg_id": ids, "patient_id": 1}).to_csv(folder / "test.csv", index=False)
    votes = pd.DataFrame(np.eye(6, dtype=int)[[0, 3, 5]] * 12, columns=list(VOTES))
    votes.insert(0, "eeg_id", ids[::-1])
    votes.to_csv(folder / "test_votes.csv", index=False)


@pytest.fixture(scope="session")
def tiny_weights(once: Make) -> Path:
    def write(folder: Path) -> None:
        model = folder / "tiny"
        model.mkdir(parents=True)
        write_config(TINY, model / "config.json")
        write_weights(tiny_model(), model / "fold_0.weights.h5", "float32")
        (model / "metrics.json").write_text(json.dumps({"folds": {"0": {"kl": 1.0}}}))

    return once("weights", write)


@pytest.fixture(scope="session")
def tiny_bundle(once: Make, tiny_weights: Path) -> Path:
    from dataset_builder.bundle import build_bundle

    def write(folder: Path) -> None:
        root = folder / "checkout"
        shutil.copytree(ROOT / "kernel", root / "kernel", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(tiny_weights, root / "weights")
        build_bundle(folder / "dataset", root=root)

    return once("bundle", write) / "dataset"


@pytest.fixture(scope="session")
def real_recordings() -> Path:
    if not REAL.is_dir():
        pytest.skip(f"{REAL} is not here: the real recordings are not part of the project")
    return REAL
