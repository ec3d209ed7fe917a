"""Builds a store of inputs over a whole data set: every distinct labelled window, on all cores or on a Dask cluster.

Called by `build.py cache`; the format and the reading are `cache/cache.py`'s. The unit of work is a shard: it is
checked from end to end, together with the recordings it came from, and written anew where it is missing, damaged or
out of date. So one command builds, goes on after a kill, adds new recordings, redoes changed ones and mends damage;
and since a shard's windows are fixed in `windows.npy` before the work begins, the bytes are the same whoever wrote
them, in whatever order.
"""

from __future__ import annotations

import fcntl
import itertools
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from tqdm import tqdm

from cache.build_shard import Job, Outcome, mend_shard
from cache.cache import (
    CONFIG,
    WINDOWS_PER_SHARD,
    check_config,
    create_cache,
    read_config,
    read_windows,
)
from cache.labelled import find_recordings, find_windows
from cache.shard import HEADER, record_type, shard_path
from kernel.inputs import KINDS, InputConfig

LOCK = ".lock"


@dataclass(frozen=True)
class Summary:
    """What a store holds after a run, and how much of it the run wrote."""

    folder: Path
    windows: int
    recordings: int
    shards: int
    written: int
    size: int


def choose_folder(root: Path, config: InputConfig) -> Path:
    """Return where under `root` the store of a configuration lies or will lie: `scalogram`, `scalogram_2`, ..."""
    kind = next(name for name, type_ in KINDS.items() if isinstance(config, type_))
    for number in itertools.count(1):
        folder = root / (kind if number == 1 else f"{kind}_{number}")
        if not (folder / CONFIG).exists() or read_config(folder)[0] == config:
            return folder
    raise AssertionError


def build_cache(
    data: Path,
    folder: Path,
    config: InputConfig,
    *,
    per_pattern: int | None = None,
    jobs: int = -1,
    scheduler: str | None = None,
    progress: bool = True,
) -> Summary:
    """Bring a store up to date with a data set, whatever state it is in; stored windows are never thrown away.

    Parameters
    ----------
    data : Path
        A folder in the competition's layout.
    folder : Path
        The store.
    config : ScalogramConfig or RawConfig
        What to store.
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
        What the store holds and what was written.

    Raises
    ------
    FileNotFoundError, ValueError
        As `find_windows`; if the folder holds another configuration's store; if a recording cannot be read, once
        everything else is stored.
    OSError
        If the disk is too small, found before the work begins, or full; what is stored stays usable.
    """
    data, folder = data.resolve(), folder.resolve()
    wanted, eegs = find_windows(data, per_pattern), find_recordings(data)
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        for part in folder.glob(".*.part"):
            part.unlink(missing_ok=True)
        keys = _plan(folder, config, wanted)
        shards = [keys[first : first + WINDOWS_PER_SHARD] for first in range(0, len(keys), WINDOWS_PER_SHARD)]
        _check_space(folder, config, shards)
        create_cache(folder, config, keys)
        work = [Job(eegs, folder, index, config, shard) for index, shard in enumerate(shards)]
        try:
            outcomes = _run(work, jobs, scheduler, tqdm(total=len(keys), unit="window", disable=not progress))
        finally:
            for part in folder.glob(".*.part"):
                part.unlink(missing_ok=True)
    errors = [outcome.error for outcome in outcomes if outcome.error]
    if errors:
        more = f" (and {len(errors) - 3} more)" if len(errors) > 3 else ""
        held = sum(outcome.windows for outcome in outcomes if outcome.error)
        raise ValueError(
            f"{'; '.join(errors[:3])}{more}: {held} windows beside them are not stored, all others are; mend the "
            "files or take their rows out of train.csv, then run the same command again"
        )
    size = sum(path.stat().st_size for path in folder.iterdir())
    written = sum(outcome.written for outcome in outcomes)
    return Summary(folder, len(keys), len(np.unique(keys[:, 0])), len(shards), written, size)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder against a second builder; a killed one's lock ends with it."""
    with (folder / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{folder}: another `cache` command is building it; wait for it, or stop it") from None
        yield


def _plan(folder: Path, config: InputConfig, wanted: np.ndarray) -> np.ndarray:
    """Return the store's windows, (n, 2): those planned before in their places, then what is wanted beside them."""
    if not (folder / CONFIG).exists():
        return wanted
    check_config(folder, config)
    planned = read_windows(folder)
    known = set(map(tuple, planned.tolist()))
    fresh = [key for key in map(tuple, wanted.tolist()) if key not in known]
    if len(planned) and len(fresh) == len(wanted):
        raise ValueError(f"{folder}: holds windows of another data set only; remove it, or choose another --out")
    return np.concatenate([planned, np.array(fresh, np.int64).reshape(-1, 2)])


def _check_space(folder: Path, config: InputConfig, shards: list[np.ndarray]) -> None:
    """Hold the bytes that are still to be written against the free ones."""
    needed = 0
    for index, keys in enumerate(shards):
        path, size = shard_path(folder, index), HEADER + len(keys) * record_type(config).itemsize
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

        done = map_on_cluster(scheduler, mend_shard, work)
    elif effective_n_jobs(jobs) == 1:
        done = map(mend_shard, work)
    else:
        done = Parallel(jobs, return_as="generator_unordered", batch_size=1)(delayed(mend_shard)(job) for job in work)
    with bar:
        for outcome in done:
            outcomes.append(outcome)
            bar.update(outcome.windows)
    return outcomes
