"""Writes simulated recordings to disk in the competition's layout.

Every recording is drawn from (seed, index) alone, so the files are the same whatever the number of workers, and an
interrupted run goes on where it stopped: a recording counts as done once its rows lie in `.unfinished/`, which is
written after the parquet file and removed when the tables are complete. Files appear under their final names whole.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from kernel.constants import CLASS_NAMES, ELECTRODES, VOTES
from kernel.files import replacing
from simulator.generate import STREAMS, Recording, simulate_recording, simulate_window
from simulator.workers import open_pool

EXPECTED = [f"expected_{vote}" for vote in VOTES]
TEST_COLUMNS = ("spectrogram_id", "eeg_id", "patient_id")
CONFIG, UNFINISHED = "simulator.json", ".unfinished"


def write_data_set(
    folder: Path,
    *,
    recordings: int,
    seed: int,
    workers: int = 1,
    test_recordings: int | None = None,
    progress: bool = True,
) -> None:
    """Write a data set: train.csv, train_eegs/, test.csv, test_eegs/, test_votes.csv and truth.parquet.

    `test_recordings` is a tenth of `recordings` (at least one) where it is not given. Raises ValueError for counts
    below one or a folder that holds another data set, OSError where the disk is full or not writable.
    """
    folder = Path(folder)
    if test_recordings is None:
        test_recordings = max(1, recordings // 10)
    config = {"recordings": recordings, "test_recordings": test_recordings, "seed": seed}
    _check(folder, config, workers)
    if (folder / ("train.csv" if recordings else "test_votes.csv")).exists():
        return
    unfinished = folder / UNFINISHED
    for name in (UNFINISHED, "test_eegs", *(("train_eegs",) if recordings else ())):
        (folder / name).mkdir(parents=True, exist_ok=True)
    with replacing(folder / CONFIG) as path:
        path.write_text(json.dumps(config, indent=1) + "\n")
    jobs = [("train", i) for i in range(recordings)] + [("test", i) for i in range(test_recordings)]
    waiting = [job for job in jobs if not (unfinished / _name_rows(job)).exists()]
    finished, hidden = len(jobs) - len(waiting), None if progress else True
    with tqdm(desc="simulate", total=len(jobs), initial=finished, unit="rec", disable=hidden) as bar:
        for _ in _run(partial(_write_recording, folder, seed), waiting, workers):
            bar.update()
    rows = [{"split": job[0]} | row for job in jobs for row in json.loads((unfinished / _name_rows(job)).read_text())]
    _write_tables(folder, pd.DataFrame(rows))
    shutil.rmtree(unfinished)


def write_hidden_test(folder: Path, *, recordings: int = 64, seed: int = 0, progress: bool = True) -> None:
    """Write only a hidden test: test.csv, test_eegs/ and test_votes.csv, each recording with at least 10 votes."""
    write_data_set(folder, recordings=0, test_recordings=recordings, seed=seed, progress=progress)


def _run(write: Callable[[tuple[str, int]], None], jobs: list[tuple[str, int]], workers: int) -> Iterator[None]:
    if workers == 1 or len(jobs) < 2:
        yield from map(write, jobs)
        return
    pool = open_pool(min(workers, len(jobs)))
    try:
        yield from pool.map(write, jobs, chunksize=4)
    finally:
        pool.shutdown(cancel_futures=True)


def _name_rows(job: tuple[str, int]) -> str:
    return "{}-{}.json".format(*job)


def _write_recording(folder: Path, seed: int, job: tuple[str, int]) -> None:
    split, index = job
    eeg_id = _identifier(seed, STREAMS["test" if split == "test" else "recording"], index)
    if split == "test":
        window = simulate_window(seed, index, population="many", stream="test")
        recording = Recording(window.samples, index, [(0, window.votes, window.truth)])
    else:
        recording = simulate_recording(seed, index)
    with replacing(folder / f"{split}_eegs" / f"{eeg_id}.parquet") as path:
        pq.write_table(pa.table(list(recording.samples), names=list(ELECTRODES)), path)
    rows = []
    for sub, (offset, votes, truth) in enumerate(recording.labels):
        expected = dict(zip(EXPECTED, truth.pop("expected").tolist(), strict=True))
        row = {
            "eeg_id": eeg_id,
            "eeg_sub_id": sub,
            "eeg_label_offset_seconds": float(offset),
            "spectrogram_id": eeg_id,
            "spectrogram_sub_id": sub,
            "spectrogram_label_offset_seconds": float(offset),
            "label_id": _identifier(seed, 3, index * 1009 + sub),
            "patient_id": recording.patient,
            "expert_consensus": CLASS_NAMES[int(np.argmax(votes))],
            **dict(zip(VOTES, votes.tolist(), strict=True)),
        }
        rows.append(row | {"truth": truth | expected})
    with replacing(folder / UNFINISHED / _name_rows(job)) as path:
        path.write_text(json.dumps(rows))


def _write_tables(folder: Path, rows: pd.DataFrame) -> None:
    """Write the tables, `train.csv` or else `test_votes.csv` last: it says that all is there."""
    test, train = rows[rows["split"] == "test"], rows[rows["split"] == "train"]
    tables = {"test.csv": test[list(TEST_COLUMNS)], "test_votes.csv": test[["eeg_id", *VOTES]]}
    if len(train):
        truth = rows[["split", "eeg_id", "eeg_sub_id"]].join(pd.DataFrame(list(rows["truth"])))
        with replacing(folder / "truth.parquet") as path:
            truth.to_parquet(path, index=False)
        tables["train.csv"] = train.drop(columns=["split", "truth"])
    for name, table in tables.items():
        with replacing(folder / name) as path:
            table.to_csv(path, index=False)


def _check(folder: Path, config: dict[str, int], workers: int) -> None:
    """Refuse counts that make no sense, and a folder that holds something else."""
    for name, value in (*config.items(), ("workers", workers)):
        least = 0 if name in ("recordings", "seed") else 1
        if value < least:
            raise ValueError(f"{name} must be at least {least}, not {value}")
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file, not a folder: choose another --out")
    if not (folder / CONFIG).exists():
        if any((folder / name).exists() for name in ("train.csv", "test.csv")):
            raise ValueError(f"{folder} holds data that was not simulated (no {CONFIG}): choose another --out")
        return
    found = json.loads((folder / CONFIG).read_text())
    for name, value in config.items():
        if found.get(name) != value:
            raise ValueError(
                f"{folder} holds another simulated data set ({name} is {found.get(name)} there, {value} was asked): "
                "choose another --out, or remove it first"
            )


def _identifier(seed: int, stream: int, index: int) -> int:
    """Return an id below 2**32 that no other index of the same seed and stream has (an odd factor is a bijection)."""
    start = int(np.random.SeedSequence([seed, stream]).generate_state(1)[0])
    return (start + index * 2654435761) % 2**32
