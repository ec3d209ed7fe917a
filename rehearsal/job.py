"""A job: a kernel that we push, with the data set that we build for it and the rehearsal before its push.

To add one: write its pushed file and a `kernel-metadata.json` beside it, and enter it in `JOBS`. Rehearsal, push,
status, submit, output and doctor then know it as `--job NAME`. The pushed file keeps to the manners of `rehearsal.run`;
what it is called with, `Job.options`, is written into its line `ARGUMENTS = {}`: Kaggle passes a script no arguments.
"""

from __future__ import annotations

import ast
import json
import pkgutil
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataset_builder.metadata import CODE_SLUG
from kernel.main import BUNDLE_NAME

if TYPE_CHECKING:
    from rehearsal.run import Findings

ROOT = Path(__file__).resolve().parent.parent
DEFAULT = "inference"
ARGUMENTS = re.compile(r"^(ARGUMENTS\b.*= )\{\}$", re.MULTILINE)


def lazily(name: str) -> Callable[..., Any]:
    """Return the function `module:name`, which is imported when it is called."""
    return lambda *arguments, **options: pkgutil.resolve_name(name)(*arguments, **options)


@dataclass(frozen=True)
class Job:
    """One kernel that we push."""

    name: str
    metadata: Path
    """Its `kernel-metadata.json`; the pushed file is the `code_file` in it, relative to this file."""
    slug: str
    """Of the data set with the job's code, which is published before the kernel; a run is known by its hash."""
    build: Callable[..., dict[str, Any]]
    """Takes the data set's folder and `owner=`, the user's name on Kaggle; builds it, and returns its manifest."""
    rehearse: Callable[..., Findings]
    """Takes (input or None, working folder, the built data set), dist= (below which an input is simulated),
    code_file=, log=, layout=, isolation=, quick= (as small as can be), and options of its own."""
    leaves: str
    """The output without which a run is of no use."""
    submitted: bool = False
    """Whether its output is submitted to the competition."""
    options: dict[str, str] = field(default_factory=dict)
    """What the pushed file can be called with: name -> help."""
    goes_on: bool = False
    """Whether a run may end before all is done, for the next one to go on with what it `leaves`, a JSON file."""
    estimate: Callable[[dict[str, str]], str] | None = None
    """Takes what the pushed file is called with; returns what it is expected to cost, in one line for people."""
    verify: Callable[[Path], object] = lambda folder: None
    """Takes the folder with all that a finished run left; raises where it is damaged or does not fit the code here."""

    def folder(self, dist: Path) -> Path:
        """Return the job's own folder below `dist`: its data set, its record, its outputs."""
        return dist if self.name == DEFAULT else dist / self.name

    @property
    def make_option(self) -> str:
        """Return what a `make` command takes to be about this job."""
        return "" if self.name == DEFAULT else f" JOB={self.name}"

    def read_metadata(self) -> dict[str, Any]:
        """Read the kernel's metadata as it stands in the repository."""
        path = self.metadata
        try:
            metadata = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise FileNotFoundError(
                f"{path} is missing: it says what the kernel asks of Kaggle; restore it from git"
            ) from None
        except ValueError as error:
            raise ValueError(f"{path} is not JSON ({error}): fix it, or restore it from git") from None
        if not isinstance(metadata, dict):
            raise ValueError(f"{path} must hold a JSON object, found {type(metadata).__name__}")
        return metadata

    def read_code(self, arguments: dict[str, str] | None = None) -> str:
        """Return the text of the pushed file, with what it is called with written into it."""
        path = self.metadata.parent / self.read_metadata().get("code_file", "")
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file; {self.metadata} names it as the code_file")
        code = path.read_text(encoding="utf-8").replace("\r\n", "\n")
        if not arguments:
            return code
        unknown = sorted(arguments.keys() - self.options.keys())
        if unknown:
            raise ValueError(f"the job {self.name} has no option {', '.join(unknown)}")
        code, count = ARGUMENTS.subn(lambda match: match[1] + repr(arguments), code)
        if count != 1:
            raise ValueError(
                f"{path}: expected one line `ARGUMENTS = {{}}` for what the job is called with, found {count}"
            )
        return code

    def build_data_set(self, dist: Path, owner: str | None = None) -> tuple[Path, dict[str, Any]]:
        """Build the job's data set; return its folder and its manifest."""
        from kernel.files import naming_full_disk

        folder = self.folder(dist) / "dataset"
        with naming_full_disk(folder):
            return folder, self.build(folder, owner=owner)


INFERENCE = Job(
    "inference",
    ROOT / "kernel-metadata.json",
    BUNDLE_NAME,
    lazily("dataset_builder.bundle:build_bundle"),
    lazily("rehearsal.inference:rehearse_inference"),
    leaves="submission.csv",
    submitted=True,
)
BUILD_CODE = lazily("dataset_builder.bundle:build_code_data_set")


def estimate_training(arguments: dict[str, str]) -> str:
    """Say how many runs and GPU hours a training will take."""
    from training.estimate import estimate

    return estimate(
        arguments.get("model", "scalogram_b2"),
        arguments.get("set", "").split(),
        arguments.get("fold", "all"),
        float(arguments.get("hours", 11)),
        device=arguments.get("device", "gpu"),
    ).line()


TRAINING = Job(
    "training",
    ROOT / "training" / "kernel-metadata.json",
    CODE_SLUG,
    BUILD_CODE,
    lazily("rehearsal.training_set:rehearse_training"),
    leaves="session.json",
    options={
        "model": "training: a recipe's name [scalogram_b2]",
        "fold": "training: a fold's number, several with commas, or all [all]",
        "set": "training: changes to the recipe, as of `train`: recipe.batch_size=64 ...",
        "hours": "training: what one run may take, of Kaggle's 12 [11]",
        "device": "training: gpu, or cpu for a kernel without one [gpu]",
        "backbone": "training: imagenet, the attached model's weights, or none [imagenet]",
    },
    goes_on=True,
    estimate=estimate_training,
    verify=lazily("training.session:verify_session"),
)
REPORT = Job(
    "report",
    ROOT / "eda" / "kernel-metadata.json",
    CODE_SLUG,
    BUILD_CODE,
    lazily("rehearsal.training_set:rehearse_report"),
    leaves="report.html",
    options={"sample": "report: recordings whose signals are read [600]"},
)

JOBS = {job.name: job for job in (INFERENCE, TRAINING, REPORT)}


def read_arguments(code_file: Path) -> dict[str, str]:
    """Return what a pushed file is called with, as `Job.read_code` wrote it there."""
    match = re.search(r"^ARGUMENTS\b.*= (\{.*\})$", code_file.read_text(encoding="utf-8"), re.MULTILINE)
    return dict(ast.literal_eval(match[1])) if match else {}
