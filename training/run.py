"""One run of the training's kernel: from what is mounted to weights, and always to an end of its own.

Kaggle keeps nothing of a session that it ends, so whatever happens, an epoch that would not fit, a broken recording, a
full disk, this ends by itself with what is usable so far, in the working folder (`training.session` lists it).

The scalogram is computed on the host, from cached channels (`cache.cache` says why). On a busy machine a window of
`scalogram_b2` takes 11 ms of a core, from cached channels through the augmentations to the scalogram, 7 of them the
scalogram, and one of `raw_1d` 7: 360 and 570 windows a second on Kaggle's four cores. Two T4 are assumed to train
`scalogram_b2` on 300 a second. No GPU was measured, neither that nor the scalogram as Keras operations there: a log
whose share of waiting stays above a third says that it should be.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from cache.build import build_cache
from cache.cache import CONFIG, Cache
from kernel.efficientnet import read_backbone
from kernel.main import find_competition, find_folders
from kernel.model import ModelConfig, count_gpus, fold_files
from kernel.networks import NETWORKS
from kernel.recording import read_channels, read_electrodes
from training.batches import count_batches
from training.budget import Budget, OutOfTime
from training.cross_validation import count_done, count_epochs, keep_unfinished, train_model
from training.recipe import Recipe
from training.session import DEPTH, Request, take_over, write_check, write_session
from training.state import read_progress
from training.trained import METRICS, UNFINISHED, read_metrics
from training.windows import FolderWindows, read_folder

RESERVED = 200 * 10**6
"""Bytes of the working disk that are kept for the end, so that a full one still takes the last files."""
QUOTA = "https://www.kaggle.com/settings"
Say = Callable[[str], None]


def run_session(
    request: Request,
    mounts: Path,
    working: Path,
    scratch: Path,
    *,
    tree_sha256: str = "",
    say: Say = print,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Any]:
    """Train until all is done or the time is over; return the end marker.

    `mounts` and `working` are Kaggle's input and output, `scratch` a folder for the cache; `tree_sha256` is the hash of
    the code, for the record; `say` takes each line of the log, `clock` returns seconds.

    It is a ValueError or a FileNotFoundError before anything is trained if there is no GPU or no data, the request is
    wrong or weights do not fit; and later, if nothing usable came out of the run.
    """
    started = time.monotonic()
    config, recipe, folds = request.read()
    gpus = count_gpus()
    if request.device == "gpu" and not gpus:
        raise ValueError(
            f"Kaggle granted no GPU: look at the week's quota and the phone verification at {QUOTA}, then push again; "
            "--device cpu trains without one, and takes many times as long"
        )
    data = find_competition(mounts, "train.csv", "train_eegs")
    backbone = _find_backbone(config, request, mounts)
    say(f"data {data}; {gpus or 'no'} GPU{'s' if gpus > 1 else ''}; {recipe.precision}; backbone {backbone or 'none'}")
    working.mkdir(parents=True, exist_ok=True)
    before = take_over(request, mounts, working, say)
    error = ""
    with _reserve(working / ".reserve"):
        source = _prepare_windows(data, scratch, before.get("broken", []), say)
        left = _count_windows_left(source, recipe, _count_done(working, folds))
        budget = Budget(request.hours * 3600 - (time.monotonic() - started), left, say, clock)
        label = Path(request.model).stem
        try:
            train_model(config, recipe, source, folds, working, backbone=backbone, budget=budget, label=label)
        except OutOfTime as stop:
            say(f"out of time: {stop}; the next run goes on")
        except Exception as failure:  # whatever it was, the epochs done so far are worth keeping
            if not any(_count_done(working, folds).values()):
                raise
            error = _describe(failure)
            say(f"note: the training stopped, and what it did so far is kept: {error}")
    try:
        keep_unfinished(config, recipe, source, working)
        if fold_files(working):
            usable = source.patterns[~source.patterns["eeg_id"].isin(source.broken)]
            row = usable.iloc[len(usable) // 2]
            write_check(working, read_channels(row["path"], row["starts"][0]))
            say(f"the check's window is of recording {row['eeg_id']}")
    except Exception as failure:  # the checkpoint is there all the same, and the record must be
        error = error or _describe(failure)
        say(f"note: not all could be written, and the next run goes on from the checkpoint: {_describe(failure)}")
    shutil.rmtree(scratch, ignore_errors=True)
    done, each = _count_done(working, folds), count_epochs(recipe)
    under_way = [fold for fold in folds if done[fold] < each]
    end = {
        "complete": not under_way and not error,
        "next": {"fold": under_way[0], "epoch": done[under_way[0]] + 1} if under_way else None,
        "epochs": sum(done.values()),
        "of_epochs": each * len(folds),
        "kl": {fold: entry["kl"] for fold, entry in _read_folds(working).items()},
        "broken": len(source.broken),
        **({"error": error} if error else {}),
        "seconds": round(time.monotonic() - started, 1),
        "tree_sha256": tree_sha256,
    }
    asked, runs = dataclasses.asdict(request), before.get("runs", 0) + 1
    write_session(working, {**end, "request": asked, "runs": runs, "broken": sorted(source.broken)})
    return end


def _find_backbone(config: ModelConfig, request: Request, mounts: Path) -> Path | None:
    """Return the mounted ImageNet weights, once they fit; None where none are wanted."""
    if request.backbone == "none" or not NETWORKS[config.network].has_efficientnet:
        return None
    problems = []
    for folder in find_folders(mounts, DEPTH):
        if (folder / "model.weights.h5").is_file():
            try:
                read_backbone(folder)
                return folder
            except ValueError as problem:
                problems.append(str(problem))
    raise ValueError(
        "no ImageNet weights of EfficientNetV2-B2 are mounted "
        f"({'; '.join(problems) or f'no model.weights.h5 below {mounts}'}): attach the model that "
        "training/kernel-metadata.json names, after its licence is accepted on its page, or ask for --backbone none"
    )


@contextmanager
def _reserve(path: Path) -> Iterator[None]:
    """Keep some of the working disk free for the end, by a file."""
    try:
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, min(RESERVED, shutil.disk_usage(path.parent).free // 4))
    except OSError:
        path.unlink(missing_ok=True)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _prepare_windows(data: Path, scratch: Path, known: list[int], say: Say) -> FolderWindows:
    """Open the data for training: broken recordings found and left out, the rest cached as far as the disk allows."""
    started, source = time.monotonic(), read_folder(data)
    recordings = source.patterns.groupby("eeg_id").agg(
        {"path": "first", "starts": lambda starts: max(map(max, starts))}
    )
    with ThreadPoolExecutor(16) as pool:
        readable = list(pool.map(_is_readable, recordings["path"], recordings["starts"]))
    broken = {*known, *(int(eeg_id) for eeg_id, fine in zip(recordings.index, readable, strict=True) if not fine)}
    if broken:
        say(f"{len(broken)} broken recordings are left out: {', '.join(map(str, sorted(broken)[:10]))}")
    folder, cache = scratch / "channels", None
    try:
        build_cache(data, folder, leave_out=broken, progress=False)
    except Exception as problem:  # a small disk, short memory: what is cached is used
        say(f"note: the cache is not whole: {_describe(problem)}")
    if (folder / CONFIG).is_file():
        cache = Cache(folder)
        say(f"{len(cache):,} pieces of 10 s are cached in {time.monotonic() - started:.0f} s")
    return replace(source, cache=cache, broken=frozenset(broken))


def _is_readable(path: Path, last_start: int) -> bool:
    """Return whether a recording can be read, and is not over before its last window starts."""
    try:
        return read_electrodes(path).shape[1] > last_start
    except (ValueError, OSError):
        return False


def _read_folds(working: Path) -> dict[str, Any]:
    folds: dict[str, Any] = read_metrics(working)["folds"] if (working / METRICS).is_file() else {}
    return folds


def _count_done(working: Path, folds: list[int]) -> dict[int, int]:
    """Return how many epochs of each fold are done."""
    kept = {"folds": _read_folds(working)}
    states = {fold: read_progress(working / UNFINISHED / f"fold_{fold}") for fold in folds}
    return {fold: max(count_done(kept, fold), state.total) for fold, state in states.items()}


def _count_windows_left(source: FolderWindows, recipe: Recipe, done: dict[int, int]) -> int:
    """Return the training windows in all epochs of some folds that are not done yet."""
    left = 0
    for fold, epochs in done.items():
        training = source.split(fold, recipe)[0]
        counts = [(count_batches(training.choose(stage), recipe, stage), stage.epochs) for stage in recipe.stages]
        left += sum([batches for batches, n_epochs in counts for _ in range(n_epochs)][epochs:])
    return left * recipe.batch_size


def _describe(error: Exception) -> str:
    """Return an error as one line."""
    return f"{type(error).__name__}: {(str(error).splitlines() or ['no reason given'])[0]}"
