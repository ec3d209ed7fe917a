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

from cache.config import CONFIG, check_config, create_cache, read_config, read_pieces
from cache.plan import find_blocks, find_windows
from cache.shard import (
    BLOCK,
    HEADER,
    Content,
    Piece,
    pieces_per_shard,
    read_sources,
    record_type,
    shard_path,
    write_shard,
)
from kernel.inputs import KINDS, build_input
from kernel.montage import build_montage
from kernel.recording import build_channels, read_electrodes
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
    folder: Path
    index: int
    content: Content
    keys: np.ndarray


def choose_folder(root: Path, content: Content) -> Path:
    """Return where under `root` a cache lies or will lie: `channels`, `scalogram`, `scalogram_2`, ..."""
    kind = next((name for name, type_ in KINDS.items() if isinstance(content, type_)), "channels")
    folders = (root / (kind if number == 1 else f"{kind}_{number}") for number in itertools.count(1))
    return next(one for one in folders if not (one / CONFIG).exists() or read_config(one)[0] == content)


def build_cache(
    data: Path,
    folder: Path,
    content: Content = None,
    *,
    per_pattern: int | None = None,
    jobs: int = -1,
    scheduler: str | None = None,
    leave_out: Collection[int] = (),
    progress: bool = True,
) -> Summary:
    """Bring a cache up to date with a data set, whatever state it is in; what is stored is never thrown away.

    It stores the input `content`, or the channels where that is None, of the windows that `find_windows` finds, without
    the recordings `leave_out`; with so many processes as `jobs` says, -1 for one a core, or on the workers of a Dask
    `scheduler`, which must see both folders.

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
    wanted = windows if content else find_blocks(windows, eegs)
    folder.mkdir(parents=True, exist_ok=True)
    per_shard = pieces_per_shard(content)
    with _locked(folder):
        for part in folder.glob(".*.part"):
            part.unlink(missing_ok=True)
        keys = _plan(folder, content, wanted)
        shards = [keys[first : first + per_shard] for first in range(0, len(keys), per_shard)]
        _check_space(folder, content, shards)
        create_cache(folder, content, keys)
        work = [Job(eegs, folder, index, content, shard) for index, shard in enumerate(shards)]
        try:
            outcomes = _run(work, jobs, scheduler, progress)
        finally:
            for part in folder.glob(".*.part"):
                part.unlink(missing_ok=True)
    failed = [error for _, error in outcomes if error]
    if failed:
        more = f" (and {len(failed) - 3} more)" if len(failed) > 3 else ""
        raise ValueError(
            f"{'; '.join(failed[:3])}{more}: {len(failed)} of {len(shards)} shards "
            "are not written; repair the files or take their rows out of train.csv, then run the same command again"
        )
    size = sum(path.stat().st_size for path in folder.iterdir())
    written = sum(one for one, _ in outcomes)
    return Summary(folder, len(windows), len(np.unique(keys[:, 0])), len(shards), written, size)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep a second builder out of the folder; a killed one's lock ends with it."""
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{folder}: another `cache` command is building it; wait for it, or stop it") from None
        yield


def _plan(folder: Path, content: Content, wanted: np.ndarray) -> np.ndarray:
    """Return the cache's pieces, (n, 2): those planned before in their places, then what is wanted beside them."""
    if not (folder / CONFIG).exists():
        return wanted
    check_config(folder, content)
    planned = read_pieces(folder)
    known = set(map(tuple, planned.tolist()))
    fresh = [key for key in map(tuple, wanted.tolist()) if key not in known]
    if len(planned) and len(fresh) == len(wanted):
        raise ValueError(f"{folder}: holds windows of another data set only; remove it, or choose another --out")
    return np.concatenate([planned, np.array(fresh, np.int64).reshape(-1, 2)])


def _check_space(folder: Path, content: Content, shards: list[np.ndarray]) -> None:
    """Compare the bytes that are still to be written with the free ones."""
    size = record_type(content).itemsize
    sizes = {shard_path(folder, index): HEADER + len(keys) * size for index, keys in enumerate(shards)}
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
        write_shard(job.folder, job.index, job.content, len(job.keys), _build_pieces(job))
    except (ValueError, FileNotFoundError) as error:
        return False, str(error)
    return True, ""


def _is_current(job: Job) -> bool:
    try:
        sources = read_sources(job.folder, job.index, job.content, job.keys)
    except (FileNotFoundError, ValueError):
        return False
    stored = dict(zip(job.keys[:, 0].tolist(), sources, strict=True))
    paths = {eeg_id: job.eegs / f"{eeg_id}.parquet" for eeg_id in stored}
    # A recording that is gone cannot be computed again: what is stored of it stays.
    return all(read_source(path) == stored[eeg_id] for eeg_id, path in paths.items() if path.exists())


def _build_pieces(job: Job) -> Iterator[Piece]:
    """Yield a shard's pieces, each recording read once for its pieces in a row."""
    for eeg_id, group in itertools.groupby(job.keys.tolist(), key=lambda key: key[0]):
        path = job.eegs / f"{eeg_id}.parquet"
        electrodes = read_electrodes(path)
        source = (*read_source(path), electrodes.shape[1])
        for _, start in group:
            try:
                values = _build_values(electrodes, start, job.content)
            except ValueError as error:
                raise ValueError(f"{path}: {error}, as train.csv says; copy both again") from None
            yield Piece((eeg_id, start), values, *source)


def _build_values(electrodes: np.ndarray, start: int, content: Content) -> np.ndarray:
    """Return a window's input, or one block of channels (18, BLOCK), NaN after the recording's end."""
    if content:
        return build_input(build_channels(electrodes, start), content)
    block = build_montage(electrodes[:, start : start + BLOCK])
    return np.pad(block, ((0, 0), (0, BLOCK - block.shape[1])), constant_values=np.nan)


def read_source(path: Path) -> tuple[int, int]:
    """Return size and checksum of a recording's file; its date says nothing, copies have others."""
    content = path.read_bytes()
    return len(content), zlib.crc32(content)
