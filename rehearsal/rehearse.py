"""The rehearsal: the pushed file against the built bundle, under Kaggle's paths, with the network cut.

Called by `build.py rehearse` and by the push, which goes no further when this fails. What came out is judged with the
kernel's own rules, and scored where the input has votes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kernel.constants import COMPETITION, PRIOR, VOTES
from kernel.main import BUNDLE_NAME
from kernel.submission import read_ids, read_submission
from rehearsal.isolation import Sandbox, find_isolation, guarded, isolated
from simulator.dataset import write_hidden_test
from training.metric import competition_score

ROOT = Path(__file__).resolve().parent.parent

MOUNTS = {
    "flat": (f"/kaggle/input/{BUNDLE_NAME}", f"/kaggle/input/{COMPETITION}"),
    "nested": (f"/kaggle/input/datasets/owner/{BUNDLE_NAME}", f"/kaggle/input/competitions/{COMPETITION}"),
}
"""Where Kaggle mounts the data set and the competition: both layouts have been seen."""


@dataclass(frozen=True)
class Rehearsal:
    """What a rehearsal found."""

    submission: Path
    network: str
    """How the network was cut."""
    report: dict[str, Any]
    """The kernel's end marker."""
    seconds: float
    """Of the whole process, imports and loading included."""
    scores: dict[str, float]
    """KL of the submission, of the uniform and of the prior prediction; empty without votes."""

    def to_json(self) -> dict[str, Any]:
        """Return the machine-readable last line of `build.py rehearse`."""
        names = ("rows", "fallbacks", "partial", "reduced", "ms_per_recording", "peak_rss_mb")
        return {
            **{name: self.report[name] for name in names},
            "seconds": round(self.seconds, 3),
            **self.scores,
            "network": self.network,
            "submission": str(self.submission),
        }


def rehearse(
    source: Path,
    out: Path,
    *,
    bundle: Path,
    code_file: Path = ROOT / "kernel" / "main.py",
    layout: str = "flat",
    isolation: str = "auto",
    budget: float | None = None,
    log: Callable[[str], None] = print,
) -> Rehearsal:
    """Run the pushed file on a hidden test with the network cut, and judge its submission.

    Parameters
    ----------
    source : Path
        A folder with `test.csv` and `test_eegs/`; votes in `train.csv` or `test_votes.csv` make it scored.
    out : Path
        Becomes `/kaggle/working`; the log goes to `kernel.log` in it.
    bundle : Path
        A built bundle.
    code_file : Path
        The one file that is pushed.
    layout : str
        `flat` or `nested`: where Kaggle mounts things.
    isolation : str
        `namespace`, `guard`, or `auto`: the first where it can be had.
    budget : float, optional
        Seconds that the kernel may take.
    log : callable
        Takes each line as the kernel prints it.

    Returns
    -------
    rehearsal : Rehearsal
        Counts, times, scores.

    Raises
    ------
    FileNotFoundError
        If the input or the bundle lacks a file.
    ValueError
        If the kernel failed, did not reach its end marker, or wrote what the metric would reject; or if `isolation`
        is `namespace` and this host has none.
    """
    for path in (source / "test.csv", source / "test_eegs", bundle / "manifest.json", code_file):
        if not path.exists():
            raise FileNotFoundError(f"{path}: not found; a rehearsal needs test.csv, test_eegs/ and a built bundle")
    why_not = find_isolation() if isolation != "guard" else "asked for the guard"
    if why_not and isolation == "namespace":
        raise ValueError(f"the network cannot be cut by a namespace: {why_not}; use --isolation guard")
    out.mkdir(parents=True, exist_ok=True)
    (out / "submission.csv").unlink(missing_ok=True)
    with ExitStack() as stack:
        extra = ["--budget", str(budget)] if budget is not None else []
        environment = _kaggle_environment(stack.enter_context(tempfile.TemporaryDirectory(prefix="rehearsal-home-")))
        if why_not is None:
            network = "cut: a network namespace without interfaces"
            script = "/kaggle/src/script.py"
            sandbox = _sandbox(source, out, bundle, code_file, layout, script)
            command = stack.enter_context(isolated([sys.executable, script, *extra], sandbox))
        else:
            network = f"guarded: Python's sockets refuse, the rest of the machine is open ({why_not})"
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rehearsal-")))
            command = [sys.executable, *_lay_out(folder, source, bundle, code_file, layout), *extra]
            command += ["--working", str(out.resolve())]
            environment = stack.enter_context(guarded(environment))
        log(f"network {network}")
        started = time.monotonic()
        report = _run(command, environment, out / "kernel.log", log)
        seconds = time.monotonic() - started
    ids = read_ids(source / "test.csv")
    submission = read_submission(out / "submission.csv", ids)
    return Rehearsal(out / "submission.csv", network, report, seconds, score(submission, source))


def hidden_test(dist: Path, *, recordings: int, seed: int) -> Path:
    """Return a folder below `dist` with a simulated hidden test, drawn where it is not there yet."""
    folder = dist / f"hidden_test_{recordings}_{seed}"
    write_hidden_test(folder, recordings=recordings, seed=seed)
    return folder


def _sandbox(source: Path, out: Path, bundle: Path, code_file: Path, layout: str, script: str) -> Sandbox:
    bundle_mount, competition_mount = MOUNTS[layout]
    read_only = {
        bundle_mount: bundle,
        f"{competition_mount}/test.csv": source / "test.csv",
        f"{competition_mount}/test_eegs": source / "test_eegs",
        script: code_file,
    }
    # The checkout's own code and weights are hidden: what runs must come from the bundle.
    hidden = [path for path in (ROOT / "kernel", ROOT / "weights") if path.is_dir() and path not in bundle.parents]
    return Sandbox({name: path.resolve() for name, path in read_only.items()}, {"/kaggle/working": out}, hidden)


def _lay_out(folder: Path, source: Path, bundle: Path, code_file: Path, layout: str) -> list[str]:
    """Link Kaggle's layout below a folder; return the arguments of Python that run the pushed file on it."""
    bundle_mount, competition_mount = (folder / mount.removeprefix("/kaggle/") for mount in MOUNTS[layout])
    for link, target in (
        (bundle_mount, bundle),
        (competition_mount / "test.csv", source / "test.csv"),
        (competition_mount / "test_eegs", source / "test_eegs"),
    ):
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target.resolve())
    script = folder / "src" / "script.py"
    script.parent.mkdir()
    shutil.copyfile(code_file, script)
    return [str(script), "--input", str(folder / "input")]


def _kaggle_environment(home: str) -> dict[str, str]:
    """Return what a scored run sees: nothing of the user's environment, above all no credential."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": home,
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "KAGGLE_IS_COMPETITION_RERUN": "1",
        "KAGGLE_KERNEL_RUN_TYPE": "Batch",
    }


def _run(command: list[str], environment: dict[str, str], log_file: Path, log: Callable[[str], None]) -> dict[str, Any]:
    """Run the kernel, passing its lines on; return its end marker."""
    end: dict[str, Any] | None = None
    last = ""
    with (
        log_file.open("w") as file,
        subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as process,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                file.write(line)
                log("  " + line.rstrip())
                last = line.strip() or last
                if line.startswith("HMS-END "):
                    end = json.loads(line.removeprefix("HMS-END "))
        except BaseException:
            process.terminate()
            raise
    if process.returncode or end is None:
        raise ValueError(f"the kernel failed with status {process.returncode}: {last}; its log is {log_file}")
    return end


def score(submission: pd.DataFrame, source: Path) -> dict[str, float]:
    """Return the KL of a submission beside that of the uniform and the prior prediction; empty without votes."""
    votes = read_votes(source, submission["eeg_id"].to_numpy())
    if votes is None:
        return {}
    predictions = {"kl": submission}
    for name, row in (("kl_uniform", np.full(len(VOTES), 1 / len(VOTES))), ("kl_prior", np.array(PRIOR))):
        predictions[name] = submission.assign(**dict(zip(VOTES, row, strict=True)))
    return {name: round(competition_score(votes.copy(), table.copy()), 6) for name, table in predictions.items()}


def read_votes(source: Path, ids: np.ndarray) -> pd.DataFrame | None:
    """Return the shares of the votes for the ids, in their order; None where the folder lacks votes for some."""
    for name in ("test_votes.csv", "train.csv"):
        path = source / name
        if path.is_file():
            table = pd.read_csv(path)
            if not {"eeg_id", *VOTES} <= set(table.columns):
                continue
            counts = table.groupby("eeg_id")[list(VOTES)].sum()
            if set(ids) <= set(counts.index):
                shares = counts.loc[ids].div(counts.loc[ids].sum(axis=1), axis=0)
                return shares.reset_index()
    return None
