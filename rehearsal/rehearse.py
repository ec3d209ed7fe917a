"""The rehearsal of the inference: the pushed file on a hidden test, its submission judged as Kaggle would judge it.

What came out is held against the kernel's own rules, and scored where the input has votes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kernel.constants import COMPETITION, PRIOR, VOTES
from kernel.main import BUNDLE_NAME
from kernel.submission import read_submission
from kernel.table import read_ids, read_votes
from rehearsal.run import ROOT, mount, run_kernel

SUBMISSION = "submission.csv"


@dataclass(frozen=True)
class Rehearsal:
    """What a rehearsal of the inference found."""

    submission: Path
    network: str
    """How the network was cut."""
    report: dict[str, Any]
    """The kernel's end marker."""
    seconds: float
    """Of the whole process, imports and loading included."""
    scores: dict[str, float]
    """KL of the submission, of the uniform and of the prior prediction; empty without votes."""

    def lines(self) -> list[str]:
        """Return the findings for people."""
        lines = [
            f"{self.submission}: {self.report['rows']} rows, {self.report['fallbacks']} answered with the prior",
            f"{self.report['ms_per_recording']:.0f} ms a recording, {self.seconds:.1f} s in all with loading",
        ]
        if self.scores:
            lines.append("KL {kl:.3f}; uniform {kl_uniform:.3f}, prior {kl_prior:.3f}".format(**self.scores))
        return lines

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
    """Run the inference's pushed file on a hidden test with the network cut, and judge its submission.

    Parameters
    ----------
    source : Path
        A folder with `test.csv` and `test_eegs/`; votes in `train.csv` or `test_votes.csv` make it scored.
    out : Path
        Becomes `/kaggle/working`; the log goes to `kernel.log` in it.
    bundle : Path
        A built bundle.
    code_file, layout, isolation, log
        As in `rehearsal.run`.
    budget : float, optional
        Seconds that the kernel may take.

    Returns
    -------
    rehearsal : Rehearsal
        Counts, times, scores.

    Raises
    ------
    FileNotFoundError
        If the input or the bundle lacks a file.
    ValueError
        As `rehearsal.run.run_kernel`; also if `test.csv` is no such table, or the kernel wrote what the metric would
        reject.
    """
    for path in (source / "test.csv", source / "test_eegs", bundle / "manifest.json"):
        if not path.exists():
            raise FileNotFoundError(f"{path}: not found; a rehearsal needs test.csv, test_eegs/ and a built bundle")
    ids = read_ids(source / "test.csv")
    if out.is_dir():
        (out / SUBMISSION).unlink(missing_ok=True)
    competition = mount("competition", COMPETITION, layout)
    mounts = {
        mount("dataset", f"owner/{BUNDLE_NAME}", layout): bundle,
        f"{competition}/test.csv": source / "test.csv",
        f"{competition}/test_eegs": source / "test_eegs",
    }
    options = ["--budget", str(budget)] if budget is not None else []
    run = run_kernel(code_file, mounts, out, options=options, isolation=isolation, log=log)
    submission = read_submission(out / SUBMISSION, ids)
    return Rehearsal(out / SUBMISSION, run.network, run.report, run.seconds, score(submission, source))


def hidden_test(dist: Path, *, recordings: int, seed: int) -> Path:
    """Return a folder below `dist` with a simulated hidden test, drawn where it is not there yet."""
    from simulator.dataset import write_hidden_test

    folder = dist / f"hidden_test_{recordings}_{seed}"
    if not (folder / "test_votes.csv").exists():
        write_hidden_test(folder, recordings=recordings, seed=seed)
    return folder


def score(submission: pd.DataFrame, source: Path) -> dict[str, float]:
    """Return the KL of a submission beside that of the uniform and the prior prediction; empty without votes."""
    votes = read_votes(source, submission["eeg_id"].to_numpy())
    if votes is None:
        return {}
    from training.metric import competition_score

    predictions = {"kl": submission}
    for name, row in (("kl_uniform", np.full(len(VOTES), 1 / len(VOTES))), ("kl_prior", np.array(PRIOR))):
        predictions[name] = submission.assign(**dict(zip(VOTES, row, strict=True)))
    return {name: round(competition_score(votes.copy(), table.copy()), 6) for name, table in predictions.items()}
