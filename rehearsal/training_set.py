"""The rehearsals of the jobs that work on a training set: the training and the report.

The training's recipe is the one that will be pushed, with the same changes, but made small: one epoch of a few windows
for each stage, two folds of which one is trained, small pictures. Random weights in the same files stand in for
ImageNet's.
"""

from __future__ import annotations

import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

from dataset_builder.metadata import CODE_SLUG
from kernel.constants import COMPETITION
from kernel.networks import NETWORKS
from rehearsal.job import REPORT, TRAINING, read_arguments
from rehearsal.run import Findings, mount, run_kernel
from rehearsal.simulated import draw_training_set

BATCH, WINDOWS = 2, 4
SMALL = {"pool_freqs": 10, "pool_frames": 25, "zoom_pool_frames": 10, "size": 64, "width": 8}
"""Options that make a network's work small, where it has them."""


def mount_training_set(source: Path | None, code: Path, dist: Path, layout: str) -> dict[str, Path]:
    """Return the mounts of the code and of a training set: the given one, or a simulated one below `dist`."""
    return {
        mount("dataset", f"owner/{CODE_SLUG}", layout): code,
        mount("competition", COMPETITION, layout): source or draw_training_set(dist),
    }


def rehearse_report(
    source: Path | None,
    out: Path,
    data_set: Path,
    *,
    dist: Path,
    code_file: Path,
    layout: str = "nested",
    quick: bool = False,
    **options: Any,
) -> Findings:
    """Run the report's pushed file on a training set, or a small simulated one; it must leave a page."""
    mounts = mount_training_set(source, data_set, dist, layout)
    page = out / REPORT.leaves
    page.unlink(missing_ok=True)
    run = run_kernel(code_file, mounts, out, **options)
    if not page.is_file() or b"</html>" not in page.read_bytes()[-200:]:
        raise ValueError(f"{page}: the kernel ended well and left no whole page there; its log is {out / 'kernel.log'}")
    data = {name: run.report[name] for name in ("files", "seconds")} | {"network": run.network, "page": str(page)}
    line = f"{page}: {page.stat().st_size / 1e6:.1f} MB, {data['files']} files in {data['seconds']:.0f} s"
    return Findings([line], data)


def rehearse_training(
    source: Path | None,
    out: Path,
    data_set: Path,
    *,
    dist: Path,
    code_file: Path,
    layout: str = "nested",
    quick: bool = False,
    earlier: Path | None = None,
    more: tuple[str, ...] = (),
    **options: Any,
) -> Findings:
    """Run the training's pushed file on a small training set with the network cut, and verify what it leaves.

    `earlier` is the output of an earlier run, mounted as a notebook's; `more` are more options for the pushed file. The
    others are as in `Job.rehearse`; what lay in `out` is removed.
    """
    from training.recipe import read_recipe
    from training.session import verify_session

    asked = read_arguments(code_file)
    model = asked.get("model", "scalogram_b2")
    config, recipe = read_recipe(model, asked.get("set", "").split())
    mounts = mount_training_set(source, data_set, dist, layout)
    shutil.rmtree(out, ignore_errors=True)
    if earlier is not None:
        mounts[mount("notebook", "owner/hms-scalogram-training", layout)] = earlier
    if NETWORKS[config.network].has_efficientnet and asked.get("backbone") != "none":
        attached = TRAINING.read_metadata().get("model_sources") or []
        if not attached:
            raise ValueError(
                f"{TRAINING.metadata} attaches no model, and {model} starts from ImageNet's weights: restore its "
                "model_sources from git, or ask for --backbone none"
            )
        mounts[mount("model", attached[0], layout)] = _write_preset(dist)
    # With this seed both folds of the simulated set have rows with many votes, on which a fold is validated.
    changes = ["recipe.seed=0", "recipe.folds=2", f"recipe.batch_size={BATCH}", "recipe.validation_windows=4"]
    for number in range(len(recipe.stages)):
        changes += [f"recipe.stages.{number}.{change}" for change in ("epochs=1", f"windows={WINDOWS}", "min_votes=1")]
    known = {field.name for field in fields(NETWORKS[config.network].options)}
    changes += [f"model.options.{name}={value}" for name, value in SMALL.items() if name in known]
    arguments = ["--device", "cpu", "--fold", "0", "--set", " ".join(changes), *more]
    run = run_kernel(code_file, mounts, out, arguments=arguments, **options)
    if "error" in run.report:
        raise ValueError(f"{run.report['error']} (the training ended early; its log is {out / 'kernel.log'})")
    if run.report["complete"]:
        verify_session(out)
    line = (
        f"{out}: {run.report['epochs']} of {run.report['of_epochs']} epochs of a small training in {run.seconds:.0f} "
        "s; its weights load, and answer as they did in the kernel"
    )
    data = {name: run.report[name] for name in ("epochs", "of_epochs", "complete", "broken", "kl")}
    return Findings([line], {**data, "seconds": round(run.seconds, 3), "network": run.network, "folder": str(out)})


def _write_preset(dist: Path) -> Path:
    """Return a folder below `dist` with random weights in the files of the ImageNet model, made where not there yet."""
    from training.preset import write_preset

    folder = dist / "random_preset"
    if not (folder / "metadata.json").is_file():
        write_preset(folder)
    return folder
