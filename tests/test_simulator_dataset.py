"""The data set on disk: the competition's layout, same bytes for any number of workers, resumed, never half-written."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from kernel.constants import ELECTRODES, VOTES
from simulator.dataset import TEST_COLUMNS, write_data_set, write_hidden_test

ROOT = Path(__file__).resolve().parents[1]
TRAIN_COLUMNS = (
    *("eeg_id", "eeg_sub_id", "eeg_label_offset_seconds", "spectrogram_id", "spectrogram_sub_id"),
    *("spectrogram_label_offset_seconds", "label_id", "patient_id", "expert_consensus", *VOTES),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("simulated") / "data"
    write_data_set(path, recordings=6, test_recordings=2, seed=3, progress=False)
    return path


def read_all(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_layout_is_the_competitions(folder):
    train = pd.read_csv(folder / "train.csv")
    assert tuple(train.columns) == TRAIN_COLUMNS
    assert train["eeg_id"].nunique() == 6
    assert train["label_id"].is_unique
    test = pd.read_csv(folder / "test.csv")
    assert tuple(test.columns) == TEST_COLUMNS
    votes = pd.read_csv(folder / "test_votes.csv")
    assert list(votes.columns) == ["eeg_id", *VOTES]
    assert list(votes["eeg_id"]) == list(test["eeg_id"])
    assert votes[list(VOTES)].sum(axis=1).min() >= 10
    for split, ids in (("train", train["eeg_id"].unique()), ("test", test["eeg_id"])):
        for eeg_id in ids:
            table = pq.read_table(folder / f"{split}_eegs" / f"{eeg_id}.parquet")
            assert tuple(table.column_names) == ELECTRODES
            assert {str(t) for t in table.schema.types} == {"float"}
            longest = train.loc[train["eeg_id"] == eeg_id, "eeg_label_offset_seconds"].max() if split == "train" else 0
            assert table.num_rows >= (longest + 50) * 200
    assert not list(folder.rglob("*.part"))
    assert not (folder / ".unfinished").exists()


def test_truth_knows_every_window(folder):
    truth = pd.read_parquet(folder / "truth.parquet")
    train = pd.read_csv(folder / "train.csv")
    assert len(truth) == len(train) + 2
    np.testing.assert_allclose(truth[[f"expected_{v}" for v in VOTES]].sum(axis=1), 1)
    merged = train.merge(truth[truth["split"] == "train"], on=["eeg_id", "eeg_sub_id"])
    assert len(merged) == len(train)


def test_workers_do_not_change_a_byte(folder, tmp_path):
    write_data_set(tmp_path / "two", recordings=6, test_recordings=2, seed=3, workers=2, progress=False)
    assert read_all(tmp_path / "two") == read_all(folder)


def begin(out, workers):
    """Start a run that is on its way; recordings 0 to 5 of seed 3, as in `folder`."""
    command = [sys.executable, "build.py", "simulate", "--out", str(out), "--recordings", "6"]
    command += ["--test-recordings", "2", "--seed", "3", "--workers", str(workers)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)
    until = time.time() + 120
    while len(list(out.glob(".unfinished/*.json"))) < 2 and time.time() < until:
        time.sleep(0.02)
    return process


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_run_goes_on(folder, tmp_path, workers):
    out = tmp_path / "cut"
    process = begin(out, workers)
    process.send_signal(signal.SIGINT)
    error = process.communicate()[1].decode()
    if process.returncode == 130:  # else it was through before the signal came
        assert "run the same command again to go on" in error
        assert "Traceback" not in error
        assert not (out / "train.csv").exists()
    kept = {p: p.stat().st_mtime_ns for p in out.glob("train_eegs/*.parquet")}
    write_data_set(out, recordings=6, test_recordings=2, seed=3, progress=False)
    assert read_all(out) == read_all(folder)
    done = [p for p, at in kept.items() if p.stat().st_mtime_ns == at]
    assert len(done) >= len(kept) - 1


def test_no_process_outlives_a_run_that_was_killed(tmp_path):
    process = begin(tmp_path / "killed", 2)
    process.stderr.close()
    asked = ["ps", "-o", "pid=", "--ppid", str(process.pid)]
    children = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
    assert len(children) >= 2
    process.kill()
    process.wait()
    until = time.time() + 30
    while (left := [pid for pid in children if is_running(int(pid))]) and time.time() < until:
        time.sleep(0.1)
    assert not left


def is_running(pid):
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return found.stdout.strip()[:1] not in ("", "Z")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recordings": -1, "seed": 0}, "recordings must be at least 0, not -1"),
        ({"recordings": 2, "seed": -1}, "seed must be at least 0, not -1"),
        ({"recordings": 2, "seed": 0, "workers": 0}, "workers must be at least 1"),
        ({"recordings": 2, "seed": 0, "test_recordings": 0}, "test_recordings must be at least 1"),
    ],
)
def test_bad_arguments_are_named(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        write_data_set(tmp_path / "x", progress=False, **options)
    assert not (tmp_path / "x").exists()


def test_another_data_set_is_not_overwritten(folder, tmp_path):
    with pytest.raises(ValueError, match="seed is 3 there, 4 was asked"):
        write_data_set(folder, recordings=6, test_recordings=2, seed=4, progress=False)
    (tmp_path / "train.csv").write_text("mine\n")
    with pytest.raises(ValueError, match="not simulated"):
        write_data_set(tmp_path, recordings=1, seed=0, progress=False)


def test_a_full_disk_is_said_and_leaves_nothing_half_written(tmp_path):
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    out = tmp_path / "full"
    command = [sys.executable, "build.py", "simulate", "--out", str(out), "--recordings", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, preexec_fn=limit, env={**os.environ})
    assert done.returncode == 1
    assert "no space left to write" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(out.glob("*_eegs/*"))


def test_hidden_test_is_only_the_test(tmp_path):
    write_hidden_test(tmp_path / "hidden", recordings=3, seed=1, progress=False)
    names = {p.name for p in (tmp_path / "hidden").iterdir()}
    assert names == {"simulator.json", "test.csv", "test_eegs", "test_votes.csv"}
    assert len(pd.read_csv(tmp_path / "hidden" / "test_votes.csv")) == 3
