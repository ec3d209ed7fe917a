"""The rehearsal of the inference: the pushed file on a hidden test, its submission judged as Kaggle would judge it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kernel.constants import COMPETITION, PRIOR, VOTES
from kernel.main import BUNDLE_NAME
from kernel.submission import read_submission
from kernel.table import read_ids, read_votes
from rehearsal.run import Findings, KernelRun, mount, run_kernel
from rehearsal.simulated import draw_hidden_test

SUBMISSION = "submission.csv"


def rehearse_inference(
    source: Path | None,
    out: Path,
    data_set: Path,
    *,
    dist: Path,
    code_file: Path,
    layout: str = "flat",
    quick: bool = False,
    recordings: int | None = None,
    seed: int = 0,
    budget: float | None = None,
    **options: Any,
) -> Findings:
    """Run the inference's pushed file on a hidden test with the network cut, and judge its submission.

    `source` has `test.csv` and `test_eegs/`, and `train.csv` or `test_votes.csv` where it shall be scored; None
    simulates one of `recordings` below `dist`. `budget` is the seconds that the kernel may take. The others are as in
    `Job.rehearse` and `rehearsal.run.run_kernel`.
    """
    if source is None:
        source = draw_hidden_test(dist, recordings or (8 if quick else 64), seed)
    for path in (source / "test.csv", source / "test_eegs"):
        if not path.exists():
            raise FileNotFoundError(f"{path}: not found; a rehearsal needs test.csv and test_eegs/")
    ids = read_ids(source / "test.csv")
    (out / SUBMISSION).unlink(missing_ok=True)
    competition = mount("competition", COMPETITION, layout)
    mounts = {
        mount("dataset", f"owner/{BUNDLE_NAME}", layout): data_set,
        f"{competition}/test.csv": source / "test.csv",
        f"{competition}/test_eegs": source / "test_eegs",
    }
    arguments = ["--budget", str(budget)] if budget is not None else []
    run = run_kernel(code_file, mounts, out, arguments=arguments, **options)
    return describe(run, out / SUBMISSION, score(read_submission(out / SUBMISSION, ids), source))


def describe(run: KernelRun, submission: Path, scores: dict[str, float]) -> Findings:
    """Return what was found: counts, times, and scores where there are votes."""
    report = run.report
    lines = [
        f"{submission}: {report['rows']} rows, {report['fallbacks']} answered with the prior",
        f"{report['ms_per_recording']:.0f} ms a recording, {run.seconds:.1f} s in all with loading",
    ]
    if scores:
        lines.append("KL {kl:.3f}; uniform {kl_uniform:.3f}, prior {kl_prior:.3f}".format(**scores))
    names = ("rows", "fallbacks", "partial", "reduced", "ms_per_recording", "peak_rss_mb")
    data = {name: report[name] for name in names} | {"seconds": round(run.seconds, 3)}
    return Findings(lines, {**data, **scores, "network": run.network, "submission": str(submission)})


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
