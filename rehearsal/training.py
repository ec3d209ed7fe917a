"""The rehearsal of the training's job: the pushed file on a small training set, and the weights that it leaves.

The recipe is the one that will be pushed, with the same changes, but made small: one epoch of a few windows for each
stage, two folds of which one is trained, small pictures. The ImageNet weights are stood in for by random ones in the
same files.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from dataset_builder.metadata import CODE_SLUG
from kernel.constants import COMPETITION
from kernel.networks import NETWORKS
from rehearsal.job import TRAINING, read_arguments
from rehearsal.run import mount, run_kernel

BATCH, WINDOWS = 2, 4
SMALL = {"pool_freqs": 10, "pool_frames": 25, "zoom_pool_frames": 10, "size": 64, "width": 8}
"""Options that make a network's work small, where it has them."""


@dataclass(frozen=True)
class TrainingRehearsal:
    """What a rehearsal of the training found."""

    folder: Path
    network: str
    """How the network was cut."""
    report: dict[str, Any]
    """The kernel's end marker."""
    seconds: float
    """Of the whole process, imports included."""

    def lines(self) -> list[str]:
        """Return the findings for people."""
        return [
            f"{self.folder}: {self.report['epochs']} of {self.report['of_epochs']} epochs of a small training in "
            f"{self.seconds:.0f} s; its weights load, and answer as they did in the kernel"
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the machine-readable last line of `build.py rehearse`."""
        return {
            **{name: self.report[name] for name in ("epochs", "of_epochs", "complete", "broken", "kl")},
            "seconds": round(self.seconds, 3),
            "network": self.network,
            "folder": str(self.folder),
        }


def rehearse(
    source: Path | None,
    out: Path,
    code: Path,
    *,
    dist: Path,
    code_file: Path,
    log: Callable[[str], None] = print,
    layout: str = "nested",
    isolation: str = "auto",
    recordings: int = 16,
    seed: int = 1,
    budget: float | None = None,
    earlier: Path | None = None,
    options: tuple[str, ...] = (),
) -> TrainingRehearsal:
    """Run the training's pushed file on a small training set with the network cut, and verify what it leaves.

    Parameters
    ----------
    source : Path, optional
        A training set in the competition's layout; None simulates one of `recordings` below `dist`.
    out : Path
        Becomes `/kaggle/working`; what lay there is removed.
    code : Path
        The built data set of the code.
    code_file, layout, isolation, log
        As in `rehearsal.run`.
    budget : float, optional
        Seconds that the kernel may take.
    earlier : Path, optional
        The output of an earlier run, to be mounted as a notebook's.
    options : tuple of str
        More options for the pushed file.

    Returns
    -------
    rehearsal : TrainingRehearsal
        Its end marker and its time.

    Raises
    ------
    FileNotFoundError, ValueError
        As `run_kernel`; if the kernel left weights that do not load, or that answer otherwise here.
    """
    from training.recipe import read_recipe
    from training.session import verify_session

    asked = read_arguments(code_file)
    model = asked.get("model", "scalogram_b2")
    config, recipe = read_recipe(model, asked.get("set", "").split())
    source = source or training_set(dist, recordings=recordings, seed=seed)
    if out.is_dir():
        shutil.rmtree(out)
    mounts = {
        mount("dataset", f"owner/{CODE_SLUG}", layout): code,
        mount("competition", COMPETITION, layout): source,
    }
    if earlier is not None:
        mounts[mount("notebook", "owner/hms-scalogram-training", layout)] = earlier
    if NETWORKS[config.network].has_efficientnet and asked.get("backbone") != "none":
        attached = TRAINING.read_metadata().get("model_sources") or []
        if not attached:
            raise ValueError(
                f"{TRAINING.metadata} attaches no model, and {model} starts from ImageNet's weights: restore its "
                "model_sources from git, or ask for --backbone none"
            )
        mounts[mount("model", attached[0], layout)] = preset(dist)
    # With this seed both folds of the simulated set have rows with many votes, on which a fold is validated.
    changes = ["recipe.seed=0", "recipe.folds=2", f"recipe.batch_size={BATCH}", "recipe.validation_windows=4"]
    for number in range(len(recipe.stages)):
        changes += [f"recipe.stages.{number}.{change}" for change in ("epochs=1", f"windows={WINDOWS}", "min_votes=1")]
    known = {field.name for field in fields(NETWORKS[config.network].options)}
    changes += [f"model.options.{name}={value}" for name, value in SMALL.items() if name in known]
    hours = ["--hours", str(budget / 3600)] if budget is not None else []
    small = ["--device", "cpu", "--fold", "0", "--set", " ".join(changes), *hours, *options]
    run = run_kernel(code_file, mounts, out, options=small, isolation=isolation, log=log)
    if run.report["complete"]:
        verify_session(out)
    return TrainingRehearsal(out, run.network, run.report, run.seconds)


def training_set(dist: Path, *, recordings: int, seed: int) -> Path:
    """Return a folder below `dist` with a simulated training set, drawn where it is not there yet."""
    from simulator.dataset import write_data_set

    folder = dist / f"training_set_{recordings}_{seed}"
    write_data_set(folder, recordings=recordings, seed=seed)
    return folder


def preset(dist: Path) -> Path:
    """Return a folder below `dist` with random weights in the files of the ImageNet model, made where not there yet."""
    from training.preset import write_preset

    folder = dist / "random_preset"
    if not (folder / "metadata.json").is_file():
        write_preset(folder)
    return folder
