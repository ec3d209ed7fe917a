"""The run that must never stop: broken recordings, a short budget, failing networks, and no neighbour's influence."""

import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kernel.constants import ELECTRODES, PRIOR
from kernel.ensemble import (
    CPU_BATCH,
    GPU_BATCH,
    Member,
    build_inputs,
    choose_batch,
    load_ensemble,
    read_model_weights,
)
from kernel.inputs import RawConfig
from kernel.model import ModelConfig, load_model
from kernel.predict import predict, predict_recording
from kernel.scalogram import ScalogramConfig
from kernel.submission import write_submission
from tests.conftest import ROOT, TINY, make_eeg, write_recording

ROUNDING = 1e-5
"""In probability: a processor's kernels may round the first and the last rows of a batch differently."""


@pytest.fixture(scope="module")
def member(tiny_weights) -> Member:
    return Member("tiny/fold_0", TINY, load_model(TINY, tiny_weights / "tiny" / "fold_0.weights.h5"), 1.0)


def write_bytes(content: bytes):
    return lambda path: path.write_bytes(content)


def write_eeg(change, n_times: int = 10_000):
    def write(path: Path) -> None:
        eeg = make_eeg(n_times)
        changed = change(eeg)
        write_recording(path, eeg if changed is None else changed)

    return write


def truncated(path: Path) -> None:
    write_recording(path, make_eeg())
    path.write_bytes(path.read_bytes()[:100_000])


def overwritten_middle(path: Path) -> None:
    write_recording(path, make_eeg())
    content = bytearray(path.read_bytes())
    content[20_000:400_000] = b"\xff" * 380_000
    path.write_bytes(bytes(content))


def only_columns(*names: str):
    return lambda path: write_recording(path, make_eeg()[: len(names)], names)


def text_columns(values: list[str], columns: tuple[str, ...] = ELECTRODES):
    def write(path: Path) -> None:
        table = {name: pa.array(row) for name, row in zip(ELECTRODES, make_eeg(len(values)), strict=True)}
        table.update({name: pa.array(values) for name in columns})
        pq.write_table(pa.table(table), path)

    return write


def no_rows(path: Path) -> None:
    write_recording(path, make_eeg(10)[:, :0])


def csv_named_parquet(path: Path) -> None:
    path.write_text("Fp1,F3\n1,2\n")


def a_folder(path: Path) -> None:
    path.mkdir()


def without_read(path: Path) -> None:
    path.symlink_to("/nonexistent/recording.parquet")


def nested_lists(path: Path) -> None:
    pq.write_table(pa.table({name: pa.array([[1.0], [2.0]]) for name in ELECTRODES}), path)


def booleans(path: Path) -> None:
    pq.write_table(pa.table({name: pa.array([True, False] * 5_000) for name in ELECTRODES}), path)


def times(path: Path) -> None:
    pq.write_table(pa.table({name: pa.array(np.arange(10_000), pa.timestamp("ms")) for name in ELECTRODES}), path)


def set_nan(rows, columns):
    def change(eeg: np.ndarray) -> None:
        eeg[rows, columns] = np.nan

    return change


PRIOR_ANSWERS = {
    "missing": lambda path: None,
    "empty file": write_bytes(b""),
    "not parquet": write_bytes(b"PAR1 this is no parquet file PAR1"),
    "csv": csv_named_parquet,
    "truncated": truncated,
    "a folder": a_folder,
    "a dangling link": without_read,
    "no rows": no_rows,
    "no electrodes": only_columns("Resp", "SpO2"),
    "only the EKG": only_columns("EKG"),
    "one electrode": only_columns("Cz"),
    "all NaN": write_eeg(set_nan(slice(None), slice(None))),
    "all infinite": write_eeg(lambda eeg: np.full_like(eeg, np.inf)),
    "flat": write_eeg(lambda eeg: np.full_like(eeg, 7.0)),
    "all electrodes alike": write_eeg(lambda eeg: np.repeat(eeg[:1], 20, axis=0)),
    "one second": write_eeg(lambda eeg: None, n_times=200),
    "one sample": write_eeg(lambda eeg: None, n_times=1),
    "text everywhere": text_columns(["abc"] * 10_000),
    "lists": nested_lists,
    "times": times,
    "booleans": booleans,
    "a second between NaN": write_eeg(set_nan(slice(None), np.r_[0:4_000, 4_200:10_000])),
}
NETWORK_ANSWERS = {
    "overwritten middle": overwritten_middle,
    "some electrodes": only_columns("Fp1", "F3", "C3", "P3", "O1"),
    "one electrode NaN": write_eeg(set_nan(4, slice(None))),
    "NaN at the start": write_eeg(set_nan(slice(None), slice(0, 4_000))),
    "NaN at the end": write_eeg(set_nan(slice(None), slice(7_000, None))),
    "scattered NaN": write_eeg(set_nan(slice(None), slice(None, None, 97))),
    "text in one column": text_columns(["1.5", "n/a"] * 5_000, ("T3",)),
    "numbers as text": text_columns([str(i % 50) for i in range(10_000)], ("T3", "T4")),
    "ten seconds": write_eeg(lambda eeg: None, n_times=2_000),
    "ten minutes": write_eeg(lambda eeg: None, n_times=120_000),
    "a spike of 1e30": write_eeg(lambda eeg: np.where(np.arange(10_000) == 5_000, 1e30, eeg)),
    "one flat electrode": write_eeg(lambda eeg: np.where(np.arange(20)[:, None] == 3, 0, eeg)),
    "thousands of microvolts": write_eeg(lambda eeg: 300 * eeg),
}


@pytest.mark.parametrize("broken", [*PRIOR_ANSWERS, *NETWORK_ANSWERS])
def test_a_broken_recording_costs_nobody_else_anything(tmp_path, member, broken):
    names = {11: "sound", 12: "broken", 13: "sound"}
    for eeg_id, what in names.items():
        path = tmp_path / f"{eeg_id}.parquet"
        if what == "sound":
            write_recording(path, make_eeg(seed=eeg_id))
        else:
            {**PRIOR_ANSWERS, **NETWORK_ANSWERS}[broken](path)
    lines: list[str] = []
    answers, report = predict(np.array(list(names)), tmp_path, [member], workers=2, log=lines.append)
    assert np.isfinite(answers).all()
    assert (answers > 0).all()
    np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-12)
    for row in (0, 2):
        alone = predict_recording(tmp_path / f"{[*names][row]}.parquet", [member])
        np.testing.assert_allclose(answers[row], alone, rtol=0, atol=ROUNDING)
    if broken in PRIOR_ANSWERS:
        np.testing.assert_allclose(answers[1], PRIOR)
        assert report.fallbacks == 1
        assert any(line.startswith("12: answered with the prior: ") for line in lines)
    else:
        assert report.fallbacks == 0
        assert np.abs(answers[1] - PRIOR).max() > 1e-3
    assert report.rows == 3


def test_bytes_overwritten_at_random_never_stop_the_run(tmp_path, member):
    rng = np.random.default_rng(0)
    content = write_recording(tmp_path / "0.parquet", make_eeg(3_000)).read_bytes()
    for i in range(1, 200):
        broken = bytearray(content)
        # Half of them in the footer, which says where everything is.
        first = len(broken) - 4_000 if i % 2 else 0
        for position in rng.integers(first, len(broken), 20):
            broken[position] = rng.integers(256)
        (tmp_path / f"{i}.parquet").write_bytes(bytes(broken))
    answers, report = predict(np.arange(200), tmp_path, [member], workers=2, log=lambda line: None)
    assert report.rows == 200
    np.testing.assert_allclose(answers.sum(axis=1), 1, rtol=1e-12)


def test_the_shipped_networks_answer_among_many_as_alone_and_again_the_same_file(tmp_path):
    members = load_ensemble(ROOT / "weights")
    ids = np.arange(CPU_BATCH + 3)
    for eeg_id in ids:
        write_recording(tmp_path / f"{eeg_id}.parquet", make_eeg(seed=int(eeg_id)))
    for name in ("first.csv", "again.csv"):
        among, _ = predict(ids, tmp_path, members, workers=2, log=lambda line: None)
        write_submission(tmp_path / name, ids, among)
    assert (tmp_path / "first.csv").read_bytes() == (tmp_path / "again.csv").read_bytes()
    assert len(np.unique(among.round(4), axis=0)) > len(ids) // 2, "the answers must differ for this test to mean much"
    order = np.random.default_rng(0).permutation(ids)
    shuffled, _ = predict(order, tmp_path, members, workers=1, log=lambda line: None)
    np.testing.assert_allclose(shuffled, among[order], rtol=0, atol=ROUNDING)
    for eeg_id in ids[::4]:
        alone = predict_recording(tmp_path / f"{eeg_id}.parquet", members)
        np.testing.assert_allclose(alone, among[eeg_id], rtol=0, atol=ROUNDING)


class Keeping:
    """A network that keeps a copy of what it is given."""

    def __init__(self) -> None:
        self.rows: list[np.ndarray] = []
        self.batches: list[int] = []

    def predict_on_batch(self, arrays: list[np.ndarray]) -> np.ndarray:
        self.rows.extend(arrays[0].copy())
        self.batches.append(len(arrays[0]))
        return np.full((len(arrays[0]), 6), 1 / 6)


@pytest.mark.parametrize("config", [ScalogramConfig(), RawConfig()])
def test_the_inputs_are_equal_to_the_bit_whatever_the_neighbours(tmp_path, config):
    ids = np.arange(CPU_BATCH + 3)
    for eeg_id in ids:
        write_recording(tmp_path / f"{eeg_id}.parquet", make_eeg(seed=int(eeg_id)))

    def inputs_of(order: np.ndarray) -> np.ndarray:
        keeping = Keeping()
        member = Member("keeping", ModelConfig("scalogram_b2", (config,)), keeping, 1.0)
        predict(order, tmp_path, [member], workers=1, log=lambda line: None)
        return np.stack(keeping.rows[: len(order)])

    among = inputs_of(ids)
    np.testing.assert_array_equal(inputs_of(ids[::-1]), among[::-1])
    for eeg_id in ids[::4]:
        np.testing.assert_array_equal(inputs_of(ids[eeg_id : eeg_id + 1])[0], among[eeg_id])


@pytest.fixture
def clock(monkeypatch):
    """A clock that only slow networks move."""
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now, strftime=time.strftime, gmtime=time.gmtime)
    monkeypatch.setattr("kernel.predict.time", clock)
    return clock


class Slow:
    """A network that takes a while by a clock, or fails."""

    def __init__(self, clock=None, seconds=0.0, error: Exception | None = None, value: float = 1 / 6) -> None:
        self.clock, self.seconds, self.error, self.value = clock, seconds, error, value

    def predict_on_batch(self, arrays: list[np.ndarray]) -> np.ndarray:
        if self.clock:
            self.clock.now += self.seconds
        if self.error:
            raise self.error
        return np.full((len(arrays[0]), 6), self.value)


RAW = ModelConfig("scalogram_b2", (RawConfig(),))


def stand_in(weight: float, **options) -> Member:
    return Member("stand-in", RAW, Slow(**options), weight)


def write_many(folder: Path, n: int) -> np.ndarray:
    first = write_recording(folder / "0.parquet", make_eeg(2_000))
    for i in range(1, n):
        shutil.copyfile(first, folder / f"{i}.parquet")
    return np.arange(n)


def test_a_budget_drops_networks_first_then_answers_with_the_prior(tmp_path, clock):
    ids = write_many(tmp_path, 160)
    slow = [stand_in(0.5, clock=clock, seconds=0.05), stand_in(0.5, clock=clock, seconds=0.4)]
    lines: list[str] = []
    answers, report = predict(ids, tmp_path, slow, workers=1, budget=3.0, log=lines.append)
    assert report.rows == 160
    assert report.reduced > 0
    assert report.fallbacks == 0
    assert report.seconds < 3.5
    assert any("1 of 2 networks" in line for line in lines)
    np.testing.assert_allclose(answers.sum(axis=1), 1)
    answers, report = predict(ids, tmp_path, slow, workers=1, budget=0.0, log=lines.append)
    assert report.fallbacks == 160
    np.testing.assert_allclose(answers, np.tile(PRIOR, (160, 1)))
    assert report.seconds == 0


def test_enough_time_asks_every_network(tmp_path):
    _, report = predict(write_many(tmp_path, 40), tmp_path, [stand_in(1.0)], workers=2, log=lambda line: None)
    assert (report.reduced, report.fallbacks) == (0, 0)


@pytest.mark.parametrize("bad", [{"error": MemoryError("no memory left")}, {"value": np.nan}])
def test_a_failing_network_leaves_the_answer_to_the_others(tmp_path, bad):
    ids = write_many(tmp_path, 3)
    lines: list[str] = []
    answers, report = predict(ids, tmp_path, [stand_in(0.9, **bad), stand_in(0.1)], workers=1, log=lines.append)
    np.testing.assert_allclose(answers, 1 / 6)
    assert report.reduced == 3
    assert any("stand-in failed" in line for line in lines)
    answers, report = predict(ids, tmp_path, [stand_in(1.0, **bad)], workers=1, log=lines.append)
    np.testing.assert_allclose(answers, np.tile(PRIOR, (3, 1)))
    assert report.fallbacks == 3


def test_progress_reads_well_in_a_log(tmp_path):
    lines: list[str] = []
    predict(write_many(tmp_path, 20), tmp_path, [stand_in(1.0)], workers=1, log=lines.append)
    assert lines[-1].startswith("20/20 recordings  100%")
    assert all("\r" not in line for line in lines)


def test_a_gpu_is_given_batches_of_its_own_size(tmp_path):
    assert choose_batch(0) == CPU_BATCH
    assert choose_batch(1) == choose_batch(2) == GPU_BATCH > CPU_BATCH
    ids = write_many(tmp_path, GPU_BATCH + 1)
    keeping = Keeping()
    member = Member("keeping", RAW, keeping, 1.0, GPU_BATCH)
    _, report = predict(ids, tmp_path, [member], workers=1, log=lambda line: None)
    assert keeping.batches == [GPU_BATCH, GPU_BATCH], "one batch is full, the other padded"
    assert (report.rows, report.fallbacks) == (len(ids), 0)


def test_an_ensemble_is_read_most_important_first(tmp_path, tiny_weights):
    for name in ("heavy", "light"):
        shutil.copytree(tiny_weights / "tiny", tmp_path / name)
    shutil.copyfile(tmp_path / "heavy" / "fold_0.weights.h5", tmp_path / "heavy" / "fold_1.weights.h5")
    (tmp_path / "ensemble.json").write_text('{"shares": {"light": 1, "heavy": 3}, "fitted_on": {"rows": 99}}')
    assert read_model_weights(tmp_path) == {"heavy": 0.75, "light": 0.25}
    members = load_ensemble(tmp_path)
    assert [(m.name, m.weight) for m in members] == [
        ("heavy/fold_0", 0.375),
        ("light/fold_0", 0.25),
        ("heavy/fold_1", 0.375),
    ]
    (tmp_path / "ensemble.json").write_text('{"shares": {"light": 1, "heavy": 3}, "temperature": 0.5}')
    window = build_inputs(np.random.default_rng(0).normal(0, 30, (18, 10_000)).astype(np.float32), members)
    for plain, sharp in zip(members, load_ensemble(tmp_path), strict=True):
        squared = plain.answer([window]) ** 2
        np.testing.assert_allclose(sharp.answer([window]), squared / squared.sum(), rtol=1e-5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]", "expected"),
        ("{", "expected"),
        ('{"model": 1}', "expected"),
        ('{"shares": {"absent": 1}}', "names absent"),
        ('{"shares": {"model": -1}}', "not be negative"),
        ('{"shares": {"model": 0}}', "not all zero"),
        ('{"shares": {"model": 1}, "temperature": 0}', "temperature must be positive"),
        ('{"shares": {"model": 1}, "temperature": "hot"}', "expected"),
    ],
)
def test_a_bad_ensemble_file_is_named(tmp_path, content, message):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "model" / "fold_0.weights.h5").write_bytes(b"")
    (tmp_path / "ensemble.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_model_weights(tmp_path)


def test_a_folder_without_models_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no model here"):
        load_ensemble(tmp_path)
