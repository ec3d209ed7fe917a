"""The training's session: one long run or several give the same; broken input, full disks, no GPU, time that ends."""

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from kernel.constants import COMPETITION, VOTES
from kernel.main import find_competition
from rehearsal.isolation import find_isolation
from rehearsal.run import LAYOUTS, mount
from tests.conftest import ROOT, make_eeg, write_recording
from training.budget import Budget, OutOfTime
from training.estimate import GFLOP, estimate
from training.recipe import read_recipe, recipe_names
from training.run import run_session
from training.session import Request, find_runs, read_session, verify_session
from training.state import read_progress

needs_namespaces = pytest.mark.skipif(find_isolation() is not None, reason="no namespaces here")

RECIPE = {
    "model": {
        "network": "raw_1d",
        "inputs": [{"kind": "raw"}],
        "options": {"filters": [4], "width": 4, "central_samples": 400, "depth": 1, "stem_stride": 8},
    },
    "recipe": {
        "stages": [{"name": "all", "epochs": 2, "learning_rate": 0.01}],
        "augmentation": {"mirror": 0.5, "mixup": 0.5},
        "batch_size": 4,
        "folds": 2,
    },
}


def write_training_set(folder: Path, n: int = 12) -> None:
    """Write recordings in the competition's layout, one of each patient, of two classes that are easy to tell."""
    (folder / "train_eegs").mkdir(parents=True)
    rows = []
    for i in range(n):
        eeg = make_eeg(11_000, seed=i)
        eeg += np.outer(np.linspace(-300, 300, 20), np.sin(np.arange(11_000) / 15)) * (i % 2)
        write_recording(folder / "train_eegs" / f"{100 + i}.parquet", eeg.astype(np.float32))
        for sub, offset in enumerate((0.0, 2.0)):
            row = {"eeg_id": 100 + i, "eeg_sub_id": sub, "eeg_label_offset_seconds": offset, "patient_id": i}
            rows.append({**row, **dict.fromkeys(VOTES, 0), VOTES[4 + i % 2]: 12})
    pd.DataFrame(rows).to_csv(folder / "train.csv", index=False)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.json"
    path.write_text(json.dumps(RECIPE))
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / COMPETITION
    write_training_set(folder)
    return folder


def mounted(root: Path, layout: str, data: Path, earlier: Path | None = None) -> Path:
    """Link what a kernel is given, as Kaggle mounts it; return the input's folder."""
    sources = [("competition", COMPETITION, data)]
    sources += [("notebook", "someone/hms-scalogram-training", earlier)] if earlier else []
    for kind, ref, folder in sources:
        link = root / mount(kind, ref, layout).removeprefix("/kaggle/")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(folder)
    return root / "input"


class Until:
    """A clock that stands still until a fold has done so many epochs, and then is far past any budget."""

    def __init__(self, working: Path, fold: int, epochs: int) -> None:
        self.state, self.epochs = working / ".unfinished" / f"fold_{fold}", epochs

    def __call__(self) -> float:
        progress = read_progress(self.state)
        return 1e9 if progress.total >= self.epochs else 0.0


@pytest.fixture(scope="module")
def runs(tmp_path_factory, recipe, data):
    """Train in one long run, and in three that each take over what the one before left; return their folders."""
    root = tmp_path_factory.mktemp("runs")
    request = Request(str(recipe), device="cpu")
    whole = root / "whole"
    run_session(request, mounted(root / "0", "flat", data), whole, root / "scratch")
    earlier, folders, ends = None, [], []
    for number, stop in enumerate(((0, 1), (1, 1), (1, 99))):
        working = root / f"part_{number}"
        mounts = mounted(root / f"{number + 1}", LAYOUTS[number % 2], data, earlier)
        clock = Until(working, *stop)
        ends.append(run_session(request, mounts, working, root / "scratch", clock=clock))
        earlier = working
        folders.append(working)
    return whole, folders, ends


def arrays(path: Path) -> list[np.ndarray]:
    with h5py.File(path) as file:
        return [np.asarray(file[name]) for name in sorted(file)]


def test_several_runs_train_the_same_weights_as_one_long_one(runs):
    whole, folders, ends = runs
    assert [end["complete"] for end in ends] == [False, False, True]
    assert [end["epochs"] for end in ends] == [1, 3, 4]
    assert [end["next"] for end in ends] == [{"fold": 0, "epoch": 2}, {"fold": 1, "epoch": 2}, None]
    for fold in (0, 1):
        for found, expected in zip(
            *(arrays(folder / f"fold_{fold}.weights.h5") for folder in (folders[-1], whole)), strict=True
        ):
            np.testing.assert_array_equal(found, expected)
    for name in ("out_of_fold.csv", "folds.csv", "config.json"):
        assert (folders[-1] / name).read_bytes() == (whole / name).read_bytes()
    metrics = [json.loads((folder / "metrics.json").read_text()) for folder in (folders[-1], whole)]
    for one in metrics:
        for fold in one["folds"].values():
            del fold["sha256"]  # names of variables in the file count up within a process
    assert metrics[0] == metrics[1]
    assert read_session(folders[-1])["runs"] == 3


def test_a_run_that_is_out_of_time_leaves_what_can_be_used(runs):
    folder = runs[1][0]
    session = read_session(folder)
    names = {"config.json", "fold_0.weights.h5", "metrics.json", "out_of_fold.csv", "folds.csv", "curves.png"}
    checkpoint = {"checkpoint/fold_0/state.h5", "checkpoint/fold_0/best.weights.h5"}
    assert set(session["files"]) == names | checkpoint | {"check.npz"}
    assert len(json.loads((folder / "metrics.json").read_text())["folds"]["0"]["history"]) == 1
    assert len(pd.read_csv(folder / "out_of_fold.csv")) == 6
    with pytest.raises(ValueError, match="did 1 of 4 epochs; push the training again"):
        verify_session(folder)


def test_what_a_complete_run_left_is_verified(runs, tmp_path):
    folder = tmp_path / "tiny"
    shutil.copytree(runs[1][-1], folder)
    assert verify_session(folder).metrics["folds"].keys() == {"0", "1"}
    assert not (folder / "checkpoint").exists()
    (folder / "folds.csv").write_text("")
    with pytest.raises(ValueError, match=r"folds\.csv: damaged, its sha256 differs"):
        verify_session(folder)
    (folder / "folds.csv").unlink()
    with pytest.raises(ValueError, match=r"folds\.csv: missing"):
        verify_session(folder)
    shutil.copyfile(runs[1][-1] / "folds.csv", folder / "folds.csv")

    # The hashes are right, but the code computes something else than the kernel's did.
    with np.load(folder / "check.npz") as check:
        content = dict(check)
    content["answers"][0, 0] += 2e-4
    np.savez(folder / "check.npz", **content)
    session = json.loads((folder / "session.json").read_text())
    session["files"]["check.npz"] = hashlib.sha256((folder / "check.npz").read_bytes()).hexdigest()
    (folder / "session.json").write_text(json.dumps(session))
    with pytest.raises(ValueError, match="answers the stored window otherwise than the kernel"):
        verify_session(folder)
    (folder / "session.json").write_text("[]")
    with pytest.raises(ValueError, match="not the record of a run"):
        verify_session(folder)
    with pytest.raises(FileNotFoundError, match="the record of a run"):
        read_session(tmp_path)


def test_a_damaged_or_another_earlier_run_is_not_gone_on_with(runs, recipe, tmp_path):
    request = Request(str(recipe), device="cpu")
    assert [folder.name for folder, _ in find_runs(runs[0].parent, request)][:2] == ["part_2", "whole"]
    assert find_runs(runs[0].parent, replace(request, changes=["recipe.seed=1"])) == []
    (tmp_path / "session.json").write_text('{"request": 3}')
    assert find_runs(tmp_path, request) == []


def test_broken_recordings_are_left_out_and_counted(recipe, tmp_path):
    folder = tmp_path / COMPETITION
    write_training_set(folder, 16)
    eegs = folder / "train_eegs"
    (eegs / "101.parquet").unlink()
    (eegs / "103.parquet").write_bytes((eegs / "104.parquet").read_bytes()[:-100])
    content = bytearray((eegs / "106.parquet").read_bytes())
    content[4 : len(content) // 2 * 2 - 8000] = bytes(len(content) // 2 * 2 - 8004)
    (eegs / "106.parquet").write_bytes(content)
    write_recording(eegs / "108.parquet", make_eeg(300))
    changes = ["recipe.stages.0.epochs=1"]
    lines: list[str] = []
    end = run_session(
        Request(str(recipe), "0", changes, device="cpu"),
        mounted(tmp_path / "kaggle", "nested", folder),
        tmp_path / "out",
        tmp_path / "scratch",
        say=lines.append,
    )
    assert (end["complete"], end["broken"]) == (True, 4)
    assert any("4 broken recordings are left out: 101, 103, 106, 108" in line for line in lines)
    assert read_session(tmp_path / "out")["broken"] == [101, 103, 106, 108]
    seen = pd.read_csv(tmp_path / "out" / "out_of_fold.csv")["eeg_id"]
    assert not seen.isin([101, 103, 106, 108]).any()
    assert len(pd.read_csv(tmp_path / "out" / "folds.csv")) == 16, "a broken recording's patient keeps its fold"
    verify_session(tmp_path / "out")


FULL = """
import sys
from dataclasses import replace
from pathlib import Path
from training.run import run_session
from training.session import Request
recipe, data = sys.argv[1:]
end = run_session(
    Request(recipe, device="cpu"), Path(data), Path("/mnt/working"), Path("/mnt/scratch"), say=lambda line: print(line)
)
print("END", end)
"""


@needs_namespaces
def test_full_disks_cost_what_they_must_and_no_more(recipe, data):
    """No room for the cache: it is read from the recordings. No room for the third epoch's files: two are kept."""
    size = 300_000
    full = (
        f"mount -t tmpfs -o size=8M tmpfs /mnt && mkdir /mnt/working /mnt/scratch && "
        f"mount -t tmpfs -o size={size} tmpfs /mnt/working && mount -t tmpfs -o size=100k tmpfs /mnt/scratch && "
        'exec "$@"'
    )
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", full, "sh"]
    command += [sys.executable, "-c", FULL, str(recipe), str(data.parent)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert "END" in done.stdout, f"exit status {done.returncode}: {done.stdout}{done.stderr}"
    assert "the cache is not whole" in done.stdout
    assert "no space left to write /mnt/working" in done.stdout
    assert "'complete': False" in done.stdout


def test_no_gpu_stops_at_once_and_says_what_to_do(recipe, tmp_path):
    with pytest.raises(ValueError, match="Kaggle granted no GPU: look at the week's quota"):
        run_session(Request(str(recipe)), tmp_path, tmp_path / "out", tmp_path / "scratch")
    assert not (tmp_path / "out").exists()
    assert Request("scalogram_b2").read()[1].precision == "mixed_float16"
    assert Request("scalogram_b2", changes=["recipe.precision=float32"]).read()[1].precision == "float32"
    assert Request("scalogram_b2", device="cpu").read()[1].precision == "float32"
    for request, message in (
        (Request("scalogram_b2", hours=12.0), "up to 11.5 hours"),
        (Request("scalogram_b2", "0,7"), "--fold 0,7: no fold 7; it has 0, 1, 2, 3, 4"),
        (Request("scalogram_b2", "some"), "expected a fold's number"),
        (Request("scalogram_b2", changes=["recipe.colour=1"]), "no field colour"),
    ):
        with pytest.raises(ValueError, match=message):
            request.read()


def test_missing_data_and_missing_weights_are_told_before_training(data, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder below .* holds train\.csv and train_eegs"):
        find_competition(tmp_path, "train.csv", "train_eegs")
    mounts = mounted(tmp_path, "nested", data)
    with pytest.raises(ValueError, match=r"no ImageNet weights .* are mounted .*accepted on its page"):
        run_session(Request("scalogram_b2", device="cpu"), mounts, tmp_path / "out", tmp_path / "scratch")
    model = mounts / "models" / "keras" / "efficientnetv2" / "keras" / "efficientnetv2_b2_imagenet" / "2"
    model.mkdir(parents=True)
    (model / "model.weights.h5").write_bytes(b"no HDF5")
    with pytest.raises(ValueError, match=r"model\.weights\.h5: does not fit EfficientNetV2-B2"):
        run_session(Request("scalogram_b2", device="cpu"), mounts, tmp_path / "out", tmp_path / "scratch")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_budget_projects_and_ends():
    clock, lines = Clock(), []
    budget = Budget(1000.0, 3000, lines.append, clock)

    def run_epoch(batches: int, seconds: float) -> None:
        budget.begin_epoch(batches * 10)
        clock.now += 30  # the first batch compiles
        budget.end_batch(10)
        for _ in range(batches - 1):
            clock.now += seconds
            budget.end_batch(10)
        budget.end_epoch()

    run_epoch(50, 4)  # after 120 seconds it is clear that 3,000 windows need more than what is left
    assert lines[0] == "projection: 2.5 windows/s; 0.30 h for the 2,690 windows that are left, 0.24 h of this run: " + (
        "1 more run after this one"
    )
    assert budget.windows == 2500
    run_epoch(50, 4)
    run_epoch(50, 4)
    with pytest.raises(OutOfTime, match="5 minutes are left"):
        run_epoch(100, 4)
    run_epoch(20, 4)
    with pytest.raises(OutOfTime):  # a pace that breaks down in the middle of an epoch
        run_epoch(20, 40)


def test_an_epoch_longer_than_a_run_is_told_at_once():
    clock = Clock()
    budget = Budget(1000.0, 30_000, print, clock)
    budget.begin_epoch(10_000)

    def run_batches() -> None:
        for _ in range(200):
            clock.now += 10
            budget.end_batch(10)

    with pytest.raises(ValueError, match=r"takes about 2\.78 h, and a run has 0\.28 h.*windows=500"):
        run_batches()
    assert clock.now < 300


def test_every_recipe_has_an_estimate():
    networks = {read_recipe(name)[0].network for name in recipe_names()}
    assert GFLOP.keys() == networks
    for name in recipe_names():
        one, all_folds = estimate(name, fold="0"), estimate(name)
        assert all_folds.windows == 5 * one.windows
        assert all_folds.hours > one.hours > 0
        assert "as measured" in one.line() or "as assumed, none was measured" in one.line()
        assert "CPU hours" in estimate(name, device="cpu").line()
        assert estimate(name, device="cpu").hours > all_folds.hours
    long = estimate("scalogram_b2", ["recipe.stages.0.epochs=1000"])
    assert long.runs > 1
    assert f"{long.runs} runs" in long.line()
    short = estimate("scalogram_b2", ["recipe.stages.0.windows=32", "recipe.stages.1.windows=32"], "0")
    assert short.windows == 10 * 32 + 5 * 32
