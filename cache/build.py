"""Builds the cache of a whole data set, on all cores or on a Dask cluster.

The unit of work is a shard: it is checked from end to end, together with the recordings it came from, and written anew
where it is missing, damaged or out of date. So one command builds, goes on after a kill, adds new recordings, redoes
changed ones and repairs damage; and since a shard's pieces are fixed in `pieces.npy` before the work begins, the bytes
are the same whoever wrote them, in whatever order.
"""

from __future__ import annotations

import fcntl
import itertools
import shutil
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from tqdm import tqdm

from cache.cache import CONFIG, create_cache, read_pieces
from cache.plan import find_pieces, find_windows
from cache.shard import BLOCK, HEADER, PER_SHARD, RECORD, encode, read_shard, shard_path, write_shard
from kernel.montage import build_montage
from kernel.recording import read_electrodes
from kernel.table import find_recordings

LOCK = ".lock"


@dataclass(frozen=True)
class Summary:
    """What a cache holds after a run, and how much of it the run wrote."""

    folder: Path
    windows: int
    recordings: int
    shards: int
    written: int
    size: int


@dataclass(frozen=True)
class Job:
    """One shard of one cache: all that a worker needs, on this machine or another that sees the folders."""

    eegs: Path
    path: Path
    keys: np.ndarray


def build_cache(
    data: Path,
    folder: Path,
    *,
    per_pattern: int | None = None,
    jobs: int = -1,
    scheduler: str | None = None,
    leave_out: Collection[int] = (),
    progress: bool = True,
) -> Summary:
    """Bring a cache up to date with a data set, whatever state it is in; what is stored is never thrown away.

    It stores the channels of the windows that `find_windows` finds, without the recordings `leave_out`; with so many
    processes as `jobs` says, -1 for one a core, or on the workers of a Dask `scheduler`, which must see both folders.

    Raises
    ------
    FileNotFoundError, ValueError
        As `find_windows`; if the folder holds something else; if a recording cannot be read, once everything else is
        stored.
    OSError
        If the disk is too small, found before the work begins, or full; what is stored stays usable.
    """
    data, folder = data.resolve(), folder.resolve()
    windows, eegs = find_windows(data, per_pattern), find_recordings(data)
    windows = windows[~np.isin(windows[:, 0], list(leave_out))]
    wanted = find_pieces(windows, eegs)
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        keys = _plan(folder, wanted)
        parts = np.split(keys, range(PER_SHARD, len(keys), PER_SHARD))
        work = [Job(eegs, shard_path(folder, index), part) for index, part in enumerate(parts)]
        _check_space(folder, work)
        create_cache(folder, keys)
        try:
            outcomes = _run(work, jobs, scheduler, progress)
        finally:
            for part in folder.glob(".*.part"):  # of workers that were killed
                part.unlink(missing_ok=True)
    failed = [error for _, error in outcomes if error]
    if failed:
        more = f" (and {len(failed) - 3} more)" if len(failed) > 3 else ""
        raise ValueError(
            f"{'; '.join(failed[:3])}{more}: {len(failed)} of {len(work)} shards "
            "are not written; repair the files or take their rows out of train.csv, then run the same command again"
        )
    size = sum(path.stat().st_size for path in folder.iterdir())
    written = sum(one for one, _ in outcomes)
    return Summary(folder, len(windows), len(np.unique(keys[:, 0])), len(work), written, size)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep a second builder out of the folder; a killed one's lock ends with it."""
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{folder}: another `cache` command is building it; wait for it, or stop it") from None
        yield


def _plan(folder: Path, wanted: np.ndarray) -> np.ndarray:
    """Return the cache's pieces, (n, 2): those planned before in their places, then what is wanted beside them."""
    if not (folder / CONFIG).exists():
        return wanted
    planned = read_pieces(folder)
    known = set(map(tuple, planned.tolist()))
    fresh = [key for key in map(tuple, wanted.tolist()) if key not in known]
    if len(planned) and len(fresh) == len(wanted):
        raise ValueError(f"{folder}: holds windows of another data set only; remove it, or choose another --out")
    return np.concatenate([planned, np.array(fresh, np.int64).reshape(-1, 2)])


def _check_space(folder: Path, work: list[Job]) -> None:
    """Compare the bytes that are still to be written with the free ones."""
    sizes = {job.path: HEADER + len(job.keys) * RECORD.itemsize for job in work}
    needed = sum(size for path, size in sizes.items() if not path.exists() or path.stat().st_size != size)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(
            f"{folder}: needs {needed / 1e6:,.1f} MB more, the disk has {free / 1e6:,.1f} MB free; free some, choose "
            "another --out, or keep fewer windows with --per-pattern N"
        )


def _run(work: list[Job], jobs: int, scheduler: str | None, progress: bool) -> list[tuple[bool, str]]:
    if scheduler:
        from cache.cluster import map_on_cluster

        done = map_on_cluster(scheduler, update_shard, work)
    else:
        done = Parallel(jobs, return_as="generator_unordered", batch_size=1)(delayed(update_shard)(job) for job in work)
    return list(tqdm(done, total=len(work), unit="shard", disable=not progress))


def update_shard(job: Job) -> tuple[bool, str]:
    """Write a shard anew unless it and the recordings behind it are as they should be; return (written, error)."""
    try:
        if _is_current(job):
            return False, ""
        write_shard(job.path, len(job.keys), _build_records(job))
    except (ValueError, FileNotFoundError) as error:
        return False, str(error)
    return True, ""


def _is_current(job: Job) -> bool:
    try:
        records = read_shard(job.path, job.keys)
    except (FileNotFoundError, ValueError):
        return False
    stored = set(zip(*(records[name].tolist() for name in ("eeg_id", "source_size", "source_crc32")), strict=True))
    paths = {job.eegs / f"{eeg_id}.parquet": source for eeg_id, *source in stored}
    # A recording that is gone cannot be computed again: what is stored of it stays.
    return all(read_source(path) == tuple(source) for path, source in paths.items() if path.exists())


def _build_records(job: Job) -> Iterator[np.ndarray]:
    """Yield a shard's records, each recording read once for its pieces in a row."""
    for eeg_id, group in itertools.groupby(job.keys.tolist(), key=lambda key: key[0]):
        path = job.eegs / f"{eeg_id}.parquet"
        electrodes, source = read_electrodes(path), read_source(path)
        n_samples = electrodes.shape[1]
        for _, start in group:
            piece = build_montage(electrodes[:, start : start + BLOCK])
            piece = np.pad(piece, ((0, 0), (0, BLOCK - piece.shape[1])), constant_values=np.nan)
            yield encode((eeg_id, start), piece, source, n_samples)


def read_source(path: Path) -> tuple[int, int]:
    """Return size and checksum of a recording's file; its date says nothing, copies have others."""
    content = path.read_bytes()
    return len(content), zlib.crc32(content)
