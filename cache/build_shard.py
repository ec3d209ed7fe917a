"""One shard of a store, checked and written anew where it must be: the unit of work, on this machine or another.

Called by `cache.py`, in its own process, in joblib's or in a Dask worker's.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cache.shard import Source, Window, read_sources, write_shard
from kernel.inputs import InputConfig, build_input
from kernel.recording import build_channels, read_electrodes


@dataclass(frozen=True)
class Job:
    """One shard of one store: all that a worker needs, on this machine or another that sees the folders."""

    eegs: Path
    folder: Path
    index: int
    config: InputConfig
    keys: np.ndarray


@dataclass(frozen=True)
class Outcome:
    """What became of a shard."""

    windows: int
    written: bool
    error: str = ""


def mend_shard(job: Job) -> Outcome:
    """Check one shard and the recordings behind it, and write it anew unless all is as it should be."""
    try:
        if _is_current(job):
            return Outcome(len(job.keys), written=False)
        write_shard(job.folder, job.index, job.config, len(job.keys), _build_windows(job))
    except (ValueError, FileNotFoundError) as error:
        return Outcome(len(job.keys), written=False, error=str(error))
    return Outcome(len(job.keys), written=True)


def _is_current(job: Job) -> bool:
    try:
        sources = read_sources(job.folder, job.index, job.config, job.keys)
    except (FileNotFoundError, ValueError):
        return False
    stored = dict(zip(job.keys[:, 0].tolist(), sources, strict=True))
    paths = {eeg_id: job.eegs / f"{eeg_id}.parquet" for eeg_id in stored}
    # A recording that is gone cannot be computed again: what is stored of it stays.
    return all(read_source(path) == stored[eeg_id] for eeg_id, path in paths.items() if path.exists())


def _build_windows(job: Job) -> Iterator[Window]:
    """Yield a shard's windows, each recording read once for its windows in a row."""
    for eeg_id, group in itertools.groupby(job.keys.tolist(), key=lambda key: key[0]):
        path = job.eegs / f"{eeg_id}.parquet"
        electrodes = read_electrodes(path)
        source = read_source(path)
        for _, start in group:
            try:
                channels = build_channels(electrodes, start)
            except ValueError as error:
                raise ValueError(f"{path}: {error}, as train.csv says; copy both again") from None
            yield Window((eeg_id, start), build_input(channels, job.config), source)


def read_source(path: Path) -> Source:
    """Return size and checksum of a recording's file; its date says nothing, copies have others."""
    size = crc32 = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            size, crc32 = size + len(block), zlib.crc32(block, crc32)
    return Source(size, crc32)
