"""From nothing to a score as the README tells it: every command, on a checkout of its own, with a Kaggle that runs it.

Nothing is played but Kaggle's service itself: the commands are those of the README, the kernels that they push are
executed with the network cut on what is attached to them, and the score is the metric of the submission that they made.
Only the data are few, and the network and its training are small.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kernel.constants import COMPETITION, VOTES
from kernel.model import shrink_weights
from rehearsal.simulated import draw_training_set
from simulator.dataset import write_hidden_test
from tests.conftest import ROOT
from tests.kaggle_runs import Executor
from tests.kaggle_server import USER, Kaggle
from tests.test_make import make

SECTION = (ROOT / "README.md").read_text().split("## From nothing to a score")[1].split("\n## ")[0]
COMMANDS = [
    line.split("#")[0].strip() for block in re.findall(r"```sh\n(.*?)```", SECTION, re.S) for line in block.splitlines()
]
BUNDLE, INFERENCE = f"{USER}/hms-scalogram-bundle", f"{USER}/hms-scalogram-inference"
TRAINING, REPORT = f"{USER}/hms-scalogram-training", f"{USER}/hms-scalogram-report"
LEFT_OUT = {".git", ".venv", "dist", "tests", "benchmarks", ".pytest_cache", ".mypy_cache", ".ruff_cache"}
PACE = ("--interval", "0.2", "--timeout", "30", "--patience", "300")
NETWORK = "raw_1d"
"""Instead of the README's: minutes of processor time less, and every command takes the one as the other."""
SMALL = " ".join(
    [
        *("recipe.seed=0", "recipe.folds=2", "recipe.batch_size=2", "recipe.validation_windows=4"),
        *(f"recipe.stages.{n}.{field}" for n in (0, 1) for field in ("epochs=1", "windows=4", "min_votes=1")),
        "model.options.width=8",
    ]
)
ADDED = {
    "push --job training": ("--fold", "0", "--device", "cpu", "--set", SMALL),
    "push --job report": ("--sample", "4"),
    "status": ("--watch",),
    "pull-weights": ("--yes",),
}
"""What the test adds to the README's commands: a training as small as can be, and answers to what is asked."""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this checkout with nothing built in it, and training data as the rehearsals draw them."""
    folder = tmp_path_factory.mktemp("walk") / "checkout"
    shutil.copytree(
        ROOT, folder, ignore=lambda where, names: LEFT_OUT & set(names) if Path(where) == ROOT else {"__pycache__"}
    )
    return folder


@pytest.fixture(scope="module")
def server(checkout: Path) -> Iterator[Kaggle]:
    """Kaggle with the competition's data: a training set, and a hidden test of other recordings."""
    data, hidden = draw_training_set(checkout / "dist"), checkout.parent / "hidden"
    write_hidden_test(hidden, recordings=6, seed=5, progress=False)
    server = Kaggle()
    names = {name: data / name for name in ("train.csv", "train_eegs")}
    names |= {name: hidden / name for name in ("test.csv", "test_eegs")}
    Executor(server, checkout.parent / "runs", {COMPETITION: names})
    server.judge = lambda submission: f"{score(submission, hidden):.6f}"
    server.score_polls = 2
    yield server
    server.close()


def score(submission: bytes, hidden: Path) -> float:
    """The mean KL divergence of the votes' shares from a submission, as the competition defines it."""
    answers = pd.read_csv(io.BytesIO(submission)).set_index("eeg_id")
    votes = pd.read_csv(hidden / "test_votes.csv").set_index("eeg_id").loc[answers.index, list(VOTES)].to_numpy()
    shares = votes / votes.sum(axis=1, keepdims=True)
    predicted = np.clip(answers[list(VOTES)].to_numpy(), 1e-15, 1 - 1e-15)
    return float(np.where(shares > 0, shares * np.log(np.where(shares > 0, shares, 1) / predicted), 0).sum(1).mean())


def run(command: str, checkout: Path, server: Kaggle) -> str:
    """Run a command of the README as make would, but for `make setup`; return what it shows."""
    words = shlex.split(re.sub(r"MODEL=\w+", f"MODEL={NETWORK}", command))
    lines = make("--dry-run", *words[1:]).stdout.splitlines()
    (argv,) = (shlex.split(line)[2:] for line in lines if "build.py" in line)
    about = " ".join(argv)
    added = next((extra for start, extra in ADDED.items() if about.startswith(start)), ())
    environment = server.environment(checkout.parent / "home", TF_CPP_MIN_LOG_LEVEL="3")
    done = subprocess.run(
        [sys.executable, "build.py", *argv, *added, *PACE],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def test_from_nothing_to_a_score(checkout: Path, server: Kaggle) -> None:
    assert 5 <= len(COMMANDS) <= 8
    shown = {command: run(command, checkout, server) for command in COMMANDS}

    # What the training's kernel wrote is, in eight bits, what the inference's bundle holds and what answered.
    (trained,), (answered,) = server.kernels[TRAINING], server.kernels[INFERENCE]
    assert trained.outputs is not None
    assert answered.outputs is not None
    pulled = checkout.parent / "pulled.h5"
    pulled.write_bytes(trained.outputs["fold_0.weights.h5"])
    shrink_weights(pulled)
    weights = pulled.read_bytes()
    bundle = server.datasets[BUNDLE].versions[-1].files
    assert bundle["weights/raw_1d/fold_0.weights.h5"] == weights
    assert [name for name in bundle if name.endswith(".weights.h5")] == ["weights/raw_1d/fold_0.weights.h5"]
    manifest = json.loads(bundle["manifest.json"])
    assert {
        "path": "weights/raw_1d/fold_0.weights.h5",
        "sha256": hashlib.sha256(weights).hexdigest(),
    }.items() <= (next(file for file in manifest["files"] if file["path"].endswith(".weights.h5")).items())
    assert f'"tree_sha256": "{manifest["tree_sha256"]}"' in json.loads(answered.log)[-1]["data"]
    assert "raw_1d/fold_0" in json.loads(answered.log)[-1]["data"]

    # The score that is shown is the metric of that submission.
    metric = score(answered.outputs["submission.csv"], checkout.parent / "hidden")
    assert 0 < metric < 5
    assert f"public score {metric:.6f}" in shown[COMMANDS[-1]]

    # The report's page is there, and all that was published is private, without the internet.
    assert (checkout / "dist" / "report" / "output" / "report.html").stat().st_size > 10_000
    assert all(dataset.private for dataset in server.datasets.values())
    for ref in (TRAINING, INFERENCE, REPORT):
        assert all(one.request["isPrivate"] and not one.request.get("enableInternet") for one in server.kernels[ref])
