"""One run of the training's kernel: from what is mounted to weights, and always to an end of its own.

Kaggle keeps nothing of a session that it ends, so whatever happens, an epoch that would not fit, a broken recording, a
full disk, this ends by itself with what is usable so far, in the working folder:

config.json, fold_k.weights.h5, metrics.json, out_of_fold.csv, folds.csv, curves.png
                a model's folder (`training.trained`); a fold under way is there with its best epoch, and marked
checkpoint/     the states of folds under way, from which the next run goes on to the same weights
check.npz       one window's channels, and what each fold answers to it
session.json    the request, whether all is done, what comes next, the hash of each file; written last

The next run gets this folder as a notebook's output, and does not repeat what is done.

The scalogram is computed on the host, from cached channels. Ahead of the training it cannot be: noise, band-stop, mixup
and cropping change the channels of more than half of all windows, so only channels serve every epoch (`cache.cache`).
On a busy machine a window of `scalogram_b2` takes 11 ms of a core, from cached channels through the augmentations to
the scalogram, 7 of them the scalogram, and one of `raw_1d` 7: 360 and 570 windows a second on Kaggle's four cores. Two
T4 are assumed to train `scalogram_b2` on 300 a second. No GPU was measured, neither that nor the scalogram as Keras
operations there: a log whose share of waiting stays above a third says that it should be.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cache.build import build_cache
from cache.cache import Cache, open_cache
from kernel.efficientnet import read_backbone
from kernel.files import replacing
from kernel.inputs import build_input
from kernel.main import find_competition
from kernel.model import ModelConfig, build_model, count_gpus, fold_files, read_model_config, read_weights
from kernel.networks import NETWORKS
from kernel.recording import read_channels, read_electrodes, read_length
from training.budget import Budget, OutOfTime
from training.cross_validation import count_epochs, is_finished, keep_unfinished, train_model
from training.folds import choose_folds
from training.mounts import SESSION, find_presets, find_runs
from training.recipe import Recipe, read_recipe
from training.state import read_progress
from training.trained import METRICS, UNFINISHED, TrainedModel, fold_number, hash_file, read_metrics, verify_model
from training.windows import FolderWindows, read_folder

CHECKPOINT, CHECK, RESERVE = "checkpoint", "check.npz", ".reserve"
RESERVED = 200 * 10**6
"""Bytes of the working disk that are kept for the end, so that a full one still takes the last files."""
LONGEST = 11.5
"""Hours of Kaggle's twelve that may be asked for: the end needs its time too."""
QUOTA = "https://www.kaggle.com/settings"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """What a run is asked for."""

    model: str
    fold: str = "all"
    changes: list[str] = dataclasses.field(default_factory=list)
    hours: float = 11.0
    device: str = "gpu"
    backbone: str = "imagenet"

    def read(self) -> tuple[ModelConfig, Recipe, list[int]]:
        """Return configuration, recipe and folds: on GPUs in mixed precision, unless a change says otherwise."""
        config, recipe = read_recipe(self.model, self.changes)
        if self.device == "gpu" and not any(change.startswith("recipe.precision=") for change in self.changes):
            recipe = replace(recipe, precision="mixed_float16")
        if not 0 < self.hours <= LONGEST:
            raise ValueError(f"--hours {self.hours:g}: a run may take up to {LONGEST:g} hours; Kaggle ends it after 12")
        return config, recipe, choose_folds(self.fold, recipe.folds)


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

    Parameters
    ----------
    request : Request
        What to train.
    mounts, working, scratch : Path
        Kaggle's input, its output, and a folder for the cache.
    tree_sha256 : str
        The hash of the code, which goes into the record.
    say : callable
        Takes each line of the log.
    clock : callable
        Returns seconds.

    Returns
    -------
    end : dict
        complete, next, epochs, of_epochs, kl of each fold, seconds.

    Raises
    ------
    ValueError, FileNotFoundError
        Before anything is trained: no GPU, no data, a wrong request, weights that do not fit. Later, if nothing usable
        came out of the run.
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
    before = _take_over(request, mounts, working, say)
    error = ""
    with _reserve(working):
        source = _prepare_windows(data, scratch, before.get("broken", []), say)
        epochs = _count_done(working, recipe, folds)
        left = [n for fold in folds for n in _plan_epochs(source, recipe, fold)[epochs[fold] :]]
        budget = Budget(request.hours * 3600 - (time.monotonic() - started), sum(left), say, clock)
        label = Path(request.model).stem
        try:
            train_model(config, recipe, source, folds, working, backbone=backbone, budget=budget, label=label)
        except OutOfTime as stop:
            say(f"out of time: {stop}; the next run goes on")
        except Exception as failure:  # whatever it was, the epochs done so far are worth keeping
            if not any(read_progress(state) for state in _states(working)) and not fold_files(working):
                raise
            error = _describe(failure)
            say(f"note: the training stopped, and what it did so far is kept: {error}")
    try:
        keep_unfinished(config, recipe, source, working)
        _write_check(working, source, say)
    except Exception as failure:  # the checkpoint is there all the same, and the record must be
        error = error or _describe(failure)
        say(f"note: not all could be written, and the next run goes on from the checkpoint: {_describe(failure)}")
    end = _finish(request, recipe, folds, working, before, tree_sha256, sorted(source.broken), error, started)
    shutil.rmtree(scratch, ignore_errors=True)
    return end


def _find_backbone(config: ModelConfig, request: Request, mounts: Path) -> Path | None:
    """Return the mounted ImageNet weights, once they fit; None where none are wanted."""
    if request.backbone == "none" or not NETWORKS[config.network].has_efficientnet:
        return None
    presets, problems = find_presets(mounts), []
    for preset in presets:
        try:
            read_backbone(preset)
            return preset
        except ValueError as problem:
            problems.append(str(problem))
    raise ValueError(
        "no ImageNet weights of EfficientNetV2-B2 are mounted "
        f"({'; '.join(problems) or f'no model.weights.h5 below {mounts}'}): attach the model that "
        "training/kernel-metadata.json names, after its licence is accepted on its page, or ask for --backbone none"
    )


def _take_over(request: Request, mounts: Path, working: Path, say: Say) -> dict[str, Any]:
    """Copy what an earlier run left into the working folder; return its record, empty where there is none."""
    for folder, session in find_runs(mounts, dataclasses.asdict(request)):
        try:
            _check_files(folder, session)
        except ValueError as problem:
            say(f"note: an earlier run cannot be gone on with: {problem}")
            continue
        for name in session["files"]:
            target = working / (name.replace(CHECKPOINT, UNFINISHED, 1) if name.startswith(f"{CHECKPOINT}/") else name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, target)
        say(f"going on after {session['epochs']} of {session['of_epochs']} epochs of the run in {folder}")
        return session
    return {}


def _check_files(folder: Path, session: dict[str, Any]) -> None:
    """Compare a run's files with the hashes in its record."""
    for name, sha256 in session["files"].items():
        path = folder / name
        if not path.is_file():
            raise ValueError(f"{path}: missing; {SESSION} names it")
        if hash_file(path) != sha256:
            raise ValueError(f"{path}: damaged, its sha256 differs from {SESSION}")


@contextmanager
def _reserve(working: Path) -> Iterator[None]:
    """Keep some of the working disk free for the end."""
    path = working / RESERVE
    try:
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, min(RESERVED, shutil.disk_usage(working).free // 4))
    except OSError:
        path.unlink(missing_ok=True)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _prepare_windows(data: Path, scratch: Path, known: list[int], say: Say) -> FolderWindows:
    """Open the data for training: broken recordings found and left out, the rest cached as far as the disk allows."""
    source = read_folder(data)
    patterns = source.patterns
    recordings = dict(zip(patterns["eeg_id"].tolist(), patterns["path"], strict=True))
    latest = patterns["starts"].map(max).groupby(patterns["eeg_id"]).max().to_dict()
    broken = {*known} | {one for one in _map(lambda item: _miss(item, latest), recordings.items()) if one is not None}
    caches: tuple[Cache, ...] = ()
    for per_pattern in (None, 1):
        started = time.monotonic()
        try:
            build_cache(data, scratch / "channels", per_pattern=per_pattern, leave_out=broken, progress=False)
        except Exception as problem:  # a small disk, short memory, a broken recording: what is cached is used
            say(f"note: the cache is not whole: {_describe(problem)}")
        if (scratch / "channels" / "config.json").is_file():
            caches = (open_cache(scratch / "channels", None),)
            break
    if caches:
        say(f"{len(caches[0]):,} pieces of 10 s are cached in {time.monotonic() - started:.0f} s")
    cached = set(caches[0].keys[:, 0].tolist()) if caches else set()
    rest = {eeg_id: path for eeg_id, path in recordings.items() if eeg_id not in cached and eeg_id not in broken}
    broken |= {one for one in _map(_fail, rest.items()) if one is not None}
    if broken:
        say(f"{len(broken)} broken recordings are left out: {', '.join(map(str, sorted(broken)[:10]))}")
    return replace(source, caches=caches, broken=frozenset(broken))


def _map(work: Callable[[Any], int | None], items: Any) -> Iterator[int | None]:
    with ThreadPoolExecutor(16) as pool:
        yield from pool.map(work, items)


def _miss(item: tuple[int, Path], latest: dict[int, int]) -> int | None:
    """Return a recording's id where its file cannot be opened, or ends before a window of it starts."""
    try:
        return item[0] if latest[item[0]] >= read_length(item[1]) else None
    except (ValueError, OSError):
        return item[0]


def _fail(item: tuple[int, Path]) -> int | None:
    """Return a recording's id where its samples cannot be read."""
    try:
        read_electrodes(item[1])
    except (ValueError, OSError):
        return item[0]
    return None


def _plan_epochs(source: FolderWindows, recipe: Recipe, fold: int) -> list[int]:
    """Return the number of training windows of each epoch of a fold."""
    training = source.split(fold, recipe)[0]
    counts = []
    for stage in recipe.stages:
        windows = min(len(training.choose(stage)), stage.windows or len(training))
        counts += [windows // recipe.batch_size * recipe.batch_size] * stage.epochs
    return counts


def _describe(error: Exception) -> str:
    """Return an error as one line."""
    return f"{type(error).__name__}: {(str(error).splitlines() or ['no reason given'])[0]}"


def _states(working: Path) -> list[Path]:
    return sorted((working / UNFINISHED).glob("fold_*"))


def _count_done(working: Path, recipe: Recipe, folds: list[int]) -> dict[int, int]:
    """Return how many epochs of each fold are done."""
    metrics = read_metrics(working) if (working / METRICS).is_file() else {"folds": {}}
    done = {}
    for fold in folds:
        progress = read_progress(working / UNFINISHED / f"fold_{fold}")
        done[fold] = count_epochs(recipe) if is_finished(metrics, fold) else progress.total if progress else 0
    return done


def _write_check(working: Path, source: FolderWindows, say: Say) -> None:
    """Write one window's channels and what each fold's weights answer to it, as they lie on disk."""
    files = fold_files(working)
    if not files:
        return
    usable = source.patterns[~source.patterns["eeg_id"].isin(source.broken)]
    row = usable.iloc[len(usable) // 2]
    channels = read_channels(row["path"], row["starts"][0])
    answers = answer_window(working, channels)
    with replacing(working / CHECK) as part, part.open("wb") as file:
        np.savez_compressed(file, channels=channels, answers=answers, folds=[fold_number(one) for one in files])
    say(f"the check's window is of recording {row['eeg_id']}")


def answer_window(folder: Path, channels: np.ndarray) -> np.ndarray:
    """Return what each fold of a model answers to a window's channels, before calibration: (n_folds, 6), float32."""
    config = read_model_config(folder / "config.json")
    model = build_model(config)
    inputs = [build_input(channels, one)[None] for one in config.inputs]
    answers = []
    for file in fold_files(folder):
        read_weights(model, file)
        answers.append(np.asarray(model.predict_on_batch(inputs))[0])
    return np.array(answers, np.float32)


def _finish(
    request: Request,
    recipe: Recipe,
    folds: list[int],
    working: Path,
    before: dict[str, Any],
    tree_sha256: str,
    broken: list[int],
    error: str,
    started: float,
) -> dict[str, Any]:
    """Write the record of the run; return the end marker."""
    done, each = _count_done(working, recipe, folds), count_epochs(recipe)
    if (working / UNFINISHED).is_dir():
        (working / UNFINISHED).rename(working / CHECKPOINT)
    under_way = [fold for fold in folds if done[fold] < each]
    metrics = read_metrics(working) if (working / METRICS).is_file() else {"folds": {}}
    end = {
        "complete": not under_way and not error,
        "next": {"fold": under_way[0], "epoch": done[under_way[0]] + 1} if under_way else None,
        "epochs": sum(done.values()),
        "of_epochs": each * len(folds),
        "kl": {fold: entry["kl"] for fold, entry in metrics["folds"].items()},
        "broken": len(broken),
        **({"error": error} if error else {}),
        "seconds": round(time.monotonic() - started, 1),
        "tree_sha256": tree_sha256,
    }
    names = sorted(path.relative_to(working).as_posix() for path in working.rglob("*") if path.is_file())
    kept = [name for name in names if name not in (SESSION, "kernel.log") and not Path(name).name.startswith(".")]
    record = {
        **end,
        "request": dataclasses.asdict(request),
        "runs": before.get("runs", 0) + 1,
        "broken": broken,
        "files": {name: hash_file(working / name) for name in kept},
    }
    with replacing(working / SESSION) as part:
        part.write_text(json.dumps(record, indent=1) + "\n")
    return end


def read_session(path: Path) -> dict[str, Any]:
    """Read `session.json`.

    Raises
    ------
    FileNotFoundError, ValueError
        If it is missing or not a run's record.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; a run that ended by itself leaves one")
    try:
        session = json.loads(path.read_text())
        if session.keys() >= {"complete", "next", "request", "files", "epochs", "of_epochs"}:
            return dict(session)
        reason = f"has the fields {', '.join(session)}"
    except (ValueError, AttributeError) as error:
        reason = str(error)
    raise ValueError(f"{path}: not the record of a run ({reason}); fetch it again")


def model_files(session: dict[str, Any]) -> list[str]:
    """Return which of a run's files are a model's folder: all but the check and the states of folds under way."""
    return [name for name in session["files"] if name != CHECK and not name.startswith(f"{CHECKPOINT}/")]


def verify_session(folder: Path) -> TrainedModel:
    """Verify what a complete run left: the files' hashes, the model, and its answers to the stored window.

    Raises
    ------
    FileNotFoundError, ValueError
        If a file is missing or damaged, the run is not complete, or this code answers otherwise than the kernel did.
    """
    session = read_session(folder / SESSION)
    if not session["complete"]:
        raise ValueError(
            f"{folder}: the run did {session['epochs']} of {session['of_epochs']} epochs; push the training again"
        )
    _check_files(folder, session)
    model = verify_model(folder)
    with np.load(folder / CHECK) as check:
        expected, found = check["answers"], answer_window(folder, check["channels"])
    if expected.shape != found.shape or not np.allclose(expected, found, rtol=0, atol=1e-4):
        off = float(np.abs(expected - found).max()) if expected.shape == found.shape else float("inf")
        raise ValueError(
            f"{folder / CHECK}: this code answers the stored window otherwise than the kernel, by up to {off:.2g}: it "
            "was trained with other code; pull with the checkout that was pushed"
        )
    return model
