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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from tqdm import tqdm

from cache.config import CONFIG, check_config, create_cache, read_config, read_pieces
from cache.plan import find_blocks, find_windows
from cache.shard import (
    BLOCK,
    HEADER,
    Content,
    Piece,
    Source,
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


@dataclass(frozen=True)
class Outcome:
    """What became of a shard."""

    pieces: int
    written: bool
    error: str = ""


def choose_folder(root: Path, content: Content) -> Path:
    """Return where under `root` a cache lies or will lie: `channels`, `scalogram`, `scalogram_2`, ..."""
    kind = next((name for name, type_ in KINDS.items() if isinstance(content, type_)), "channels")
    for number in itertools.count(1):
        folder = root / (kind if number == 1 else f"{kind}_{number}")
        if not (folder / CONFIG).exists() or read_config(folder)[0] == content:
            return folder
    raise AssertionError


def build_cache(
    data: Path,
    folder: Path,
    content: Content = None,
    *,
    per_pattern: int | None = None,
    jobs: int = -1,
    scheduler: str | None = None,
    progress: bool = True,
) -> Summary:
    """Bring a cache up to date with a data set, whatever state it is in; what is stored is never thrown away.

    Parameters
    ----------
    data : Path
        A folder in the competition's layout.
    folder : Path
        The cache.
    content : ScalogramConfig or RawConfig, optional
        The input to store; the channels by default.
    per_pattern : int, optional
        As `find_windows`.
    jobs : int
        Processes, -1 for one a core.
    scheduler : str, optional
        Address of a Dask scheduler whose workers see both folders; then `jobs` is not used.
    progress : bool
        Show a progress bar.

    Returns
    -------
    summary : Summary
        What the cache holds and what was written.

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
            outcomes = _run(work, jobs, scheduler, tqdm(total=len(keys), unit="piece", disable=not progress))
        finally:
            for part in folder.glob(".*.part"):
                part.unlink(missing_ok=True)
    failed = [outcome for outcome in outcomes if outcome.error]
    if failed:
        more = f" (and {len(failed) - 3} more)" if len(failed) > 3 else ""
        raise ValueError(
            f"{'; '.join(outcome.error for outcome in failed[:3])}{more}: {len(failed)} of {len(shards)} shards "
            "are not written; repair the files or take their rows out of train.csv, then run the same command again"
        )
    size = sum(path.stat().st_size for path in folder.iterdir())
    written = sum(outcome.written for outcome in outcomes)
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
    needed = 0
    for index, keys in enumerate(shards):
        path, size = shard_path(folder, index), HEADER + len(keys) * record_type(content).itemsize
        needed += size if not path.exists() or path.stat().st_size != size else 0
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(
            f"{folder}: needs {needed / 1e6:,.1f} MB more, the disk has {free / 1e6:,.1f} MB free; free some, choose "
            "another --out, or keep fewer windows with --per-pattern N"
        )


def _run(work: list[Job], jobs: int, scheduler: str | None, bar: tqdm) -> list[Outcome]:
    outcomes: list[Outcome] = []
    done: Iterator[Outcome]
    if scheduler:
        from cache.cluster import map_on_cluster

        done = map_on_cluster(scheduler, update_shard, work)
    elif effective_n_jobs(jobs) == 1:
        done = map(update_shard, work)
    else:
        done = Parallel(jobs, return_as="generator_unordered", batch_size=1)(delayed(update_shard)(job) for job in work)
    with bar:
        for outcome in done:
            outcomes.append(outcome)
            bar.update(outcome.pieces)
    return outcomes


def update_shard(job: Job) -> Outcome:
    """Check one shard and the recordings behind it, and write it anew unless all is as it should be."""
    try:
        if _is_current(job):
            return Outcome(len(job.keys), written=False)
        write_shard(job.folder, job.index, job.content, len(job.keys), _build_pieces(job))
    except (ValueError, FileNotFoundError) as error:
        return Outcome(len(job.keys), written=False, error=str(error))
    return Outcome(len(job.keys), written=True)


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
        source = Source(*read_source(path), electrodes.shape[1])
        for _, start in group:
            try:
                values = _build_values(electrodes, start, job.content)
            except ValueError as error:
                raise ValueError(f"{path}: {error}, as train.csv says; copy both again") from None
            yield Piece((eeg_id, start), values, source)


def _build_values(electrodes: np.ndarray, start: int, content: Content) -> np.ndarray:
    """Return a window's input, or one block of channels (18, BLOCK), NaN after the recording's end."""
    if content:
        return build_input(build_channels(electrodes, start), content)
    block = build_montage(electrodes[:, start : start + BLOCK])
    return np.pad(block, ((0, 0), (0, BLOCK - block.shape[1])), constant_values=np.nan)


def read_source(path: Path) -> tuple[int, int]:
    """Return size and checksum of a recording's file; its date says nothing, copies have others."""
    size = crc32 = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            size, crc32 = size + len(block), zlib.crc32(block, crc32)
    return size, crc32
