"""Training: recipes, folds, windows, smoothing, and a fit that goes on after an interruption to the same weights."""

import dataclasses
import json
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tqdm import tqdm

from build import main
from kernel.constants import EEG_ELECTRODES, PRIOR, VOTES
from kernel.inputs import RawConfig
from kernel.model import ModelConfig, load_model, read_model_config
from kernel.recording import build_channels, read_channels
from kernel.table import read_patterns
from simulator.dataset import write_data_set
from training.augmentation import AUGMENTATIONS
from training.batches import TrainingBatches, predict_windows, smooth
from training.commands import FIELDS
from training.cross_validation import train_model
from training.drawn import DrawnWindows, draw_windows, keep_pool, simulate
from training.fitting import Watch, fit_fold
from training.folds import assign_folds, choose_folds
from training.metric import kl_per_row
from training.recipe import Recipe, Stage, read_recipe, recipe_names
from training.state import Progress
from training.windows import FolderWindows, read_folder

ROOT = Path(__file__).parents[1]
TINY = ModelConfig(
    "raw_1d", (RawConfig(),), {"filters": (4,), "width": 4, "central_samples": 400, "depth": 1, "stem_stride": 8}
)
STAGES = (Stage("all", 2, 0.01, weight_by_votes=True), Stage("many", 1, 0.001, min_votes=10))
RECIPE = Recipe(STAGES, {"mirror": 0.5, "gain": 0.5, "mixup": 0.5}, batch_size=4, folds=2, shift_seconds=2.0)


def draw(index, many=False):
    """Draw a window whose votes can be read from it: a slow wave for one class, noise for the other."""
    rng = np.random.default_rng([7, index])
    samples = rng.normal(0, 20, (20, 10_000)).astype(np.float32)
    voted = 4 if index % 2 else 5
    if voted == 4:
        samples += np.outer(np.linspace(-800, 800, 20), np.sin(np.arange(10_000) / 15)).astype(np.float32)
    votes = np.zeros(6)
    votes[voted] = 12 if many or index % 4 < 2 else 3
    return samples, votes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Write a data set of 16 recordings in the competition's layout, two of each patient, some with many rows."""
    path = tmp_path_factory.mktemp("data")
    (path / "train_eegs").mkdir()
    rows = []
    for i in range(16):
        samples, votes = draw(i)
        votes = votes / votes.sum() * (3 if i in (5, 10) else 12)
        samples = np.concatenate([samples, samples[:, :2000]], axis=1)
        table = {name: samples[e] for e, name in enumerate(EEG_ELECTRODES)}
        pq.write_table(pa.table(table), path / "train_eegs" / f"{100 + i}.parquet")
        for sub, offset in enumerate((0.0, 2.0, 6.0)[: 1 + i % 3]):
            rows.append({"eeg_id": 100 + i, "eeg_sub_id": sub, "eeg_label_offset_seconds": offset})
            rows[-1] |= {
                "patient_id": i // 2,
                "expert_consensus": "x",
                **dict(zip(VOTES, votes.astype(int), strict=True)),
            }
    pd.DataFrame(rows).to_csv(path / "train.csv", index=False)
    return path


def weights_of(model):
    return [np.asarray(w) for w in model.weights]


def test_a_recipe_is_read_with_changes_and_refused_by_name(tmp_path):
    config, recipe = read_recipe("raw_1d", ["recipe.batch_size=7", "recipe.stages.0.epochs=3", "model.temperature=1.5"])
    assert (recipe.batch_size, recipe.stages[0].epochs, config.temperature) == (7, 3, 1.5)
    for change, message in (
        (
            "recipe.colour=1",
            "--set recipe.colour=1: recipe has no field colour; there are stages, augmentation, batch_size",
        ),
        ("recipe.batch_size=abc", 'recipe.batch_size must be int, found "abc"'),
        ("recipe.batch_size=2.5", "recipe.batch_size must be int, found 2.5"),
        ("recipe.folds=true", "recipe.folds must be int"),
        ("recipe.validation_windows=many", "must be int | None"),
        ("recipe.augmentation.mirror=often", "recipe.augmentation must be dict[str, float]"),
        ("recipe.stages.1.epoch=2", "recipe.stages.1 has no field epoch; there are name, epochs"),
        ("recipe.stages=[{}]", "recipe.stages.0 lacks epochs, learning_rate, name"),
        ("recipe.stages=3", "recipe.stages must be tuple[Stage, ...], found 3"),
        ("model.options.width=wide", "model.options.width must be int"),
        ("model.options.filters=[1.5]", "model.options.filters must be tuple[int, ...]"),
        ("model.inputs.0.colour=1", "model.inputs.0 has no field colour; there are f_min, f_max"),
        ("model.inputs.0.clip=-1", "clip and unit must be positive"),
        ("model.colour=1", "model has no field colour; there are network, inputs"),
        ("colour.bright=1", "has the two fields model and recipe"),
        ("recipe.augmentation.blur=0.5", "unknown augmentation blur"),
        ("recipe.stages.9.epochs=1", "expected a field"),
        ("model.network=other", "unknown network 'other'"),
        ("recipe.precision=float8", "precision must be"),
        ("recipe.stages.0.epochs=0", "must be positive"),
        ("nonsense", "expected a field"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)) as error:
            read_recipe("raw_1d", [change])
        assert f"--set {change}" in str(error.value)
    with pytest.raises(FileNotFoundError, match="absent"):
        read_recipe("absent")
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(ValueError, match=r"x\.json: not JSON"):
        read_recipe(str(tmp_path / "x.json"))


def test_the_help_lists_every_field_that_can_be_set(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    listed = re.sub(r"\s+", " ", capsys.readouterr().out)
    for type_ in (Recipe, Stage, ModelConfig):
        for field in dataclasses.fields(type_):
            assert re.search(rf"\b{field.name}\b", FIELDS), field.name
    assert set(AUGMENTATIONS) <= set(re.findall(r"\w+", FIELDS))
    assert re.sub(r"\s+", " ", FIELDS) in listed
    assert ", ".join(recipe_names()) in listed


def test_a_cache_that_is_named_must_exist(folder, tmp_path, capsys):
    assert main(["train", "--model", "raw_1d", "--data", str(folder), "--cache", str(tmp_path / "nope")]) == 1
    assert f"{tmp_path / 'nope'}: no such folder" in capsys.readouterr().err


def test_the_device_waits_from_a_batchs_end_until_the_next_is_ready():
    batches = TrainingBatches(DrawnWindows(draw, 12, "a test"), TINY.inputs, RECIPE, STAGES[0], 0)
    before = time.monotonic()
    assert batches[1][1].shape == (4, 6)
    assert before < batches.ready[1] < time.monotonic()
    with tqdm(disable=True) as bar:
        watch = Watch(bar, Progress(), batches)
        batches.ready = {0: watch.free + 2.0, 1: watch.free - 1.0}
        watch.on_train_batch_end(0, {"loss": 1.0})
        watch.on_train_batch_end(1, {"loss": 1.0})
    assert watch.waited == pytest.approx(2.0)
    assert 0 < watch.seconds < 2.0


def test_folds_keep_patients_whole_and_classes_even():
    rng = np.random.default_rng(0)
    patients = rng.integers(0, 120, 900)
    classes = (patients + rng.integers(0, 2, 900)) % 6
    rows = pd.DataFrame(np.eye(6, dtype=int)[classes] * 5, columns=list(VOTES)).assign(patient_id=patients)
    folds = assign_folds(rows, 5, seed=1)
    assert set(folds) == set(range(5))
    assert pd.Series(folds).groupby(patients).nunique().max() == 1
    for fold in range(5):
        shares = np.bincount(classes[folds == fold], minlength=6) / (folds == fold).sum()
        np.testing.assert_allclose(shares, np.bincount(classes) / 900, atol=0.1)
    np.testing.assert_array_equal(folds, assign_folds(rows, 5, seed=1))
    assert (folds != assign_folds(rows, 5, seed=2)).any()
    with pytest.raises(ValueError, match="at least as many patients, found 3"):
        assign_folds(rows[rows.patient_id < 3], 5)
    fewest = rows.groupby(rows[list(VOTES)].to_numpy().argmax(axis=1)).head(4)
    with pytest.raises(ValueError, match=r"9 folds need at least as many rows of one class, found 4"):
        assign_folds(fewest.assign(patient_id=range(len(fewest))), 9)


def test_smoothing_adds_the_priors_votes():
    votes = np.array([0, 3.0, 0, 0, 0, 0])
    np.testing.assert_allclose(smooth(votes, 0), votes / 3)
    np.testing.assert_allclose(smooth(votes, 1)[1], (3 + PRIOR[1]) / 4)
    np.testing.assert_allclose(smooth(votes, 1e9), PRIOR, atol=1e-8)
    assert smooth(votes * 5, 1)[1] > smooth(votes, 1)[1]


def test_rows_are_one_per_recording_and_vote_pattern(folder):
    rows = read_patterns(folder)
    assert len(rows) == 16
    assert rows.set_index("eeg_id").loc[102, "starts"] == (0, 400, 1200)
    assert set(rows["n_votes"]) == {3, 12}
    source = FolderWindows(rows)
    assert len(source.choose(Stage("many", 1, 0.1, min_votes=10))) == 14
    with pytest.raises(ValueError, match="no row has at least 13 votes"):
        source.choose(Stage("more", 1, 0.1, min_votes=13))


def test_windows_shift_inside_the_recording_and_the_same_way_each_time(folder):
    rows = read_patterns(folder)
    source = FolderWindows(rows, seed=3, shift_seconds=2.0)
    place = int(np.flatnonzero(rows["eeg_id"] == 102)[0])
    seen = [source.read(place, epoch)[0] for epoch in range(6)]
    assert len({window.tobytes() for window in seen}) > 2
    np.testing.assert_array_equal(seen[4], source.read(place, 4)[0])
    middle, votes = replace(source, shift_seconds=None).read(place, 0)
    np.testing.assert_array_equal(middle, read_channels(rows["path"][place], 400))
    np.testing.assert_array_equal(votes, rows.loc[place, list(VOTES)].to_numpy(float))


def test_an_epoch_is_decided_by_its_number_alone():
    source = DrawnWindows(draw, 12, "a test")
    first, again, other = (TrainingBatches(source, TINY.inputs, RECIPE, STAGES[0], epoch) for epoch in (1, 1, 2))
    order = [2, 0, 1]
    batches = {i: again[i] for i in order}
    for i in range(3):
        for a, b in zip(first[i], batches[i], strict=True):
            np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0][0], other[0][0])
    _, shares, weights = first[0]
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)
    assert set(weights.astype(float).round(3)) <= {0.6, 0.15}


def test_drawn_windows_are_fresh_in_training_and_fixed_in_validation():
    fresh, fixed = (
        DrawnWindows(draw, 4, "a test", first=10),
        DrawnWindows(draw, 4, "a test", first=10, many=True, fresh=False),
    )
    assert not np.array_equal(fresh.read(0, 0)[0], fresh.read(0, 1)[0])
    np.testing.assert_array_equal(fixed.read(0, 0)[0], fixed.read(0, 1)[0])
    assert fixed.read(3, 0)[1].sum() == 12
    assert fresh.choose(STAGES[1]).many
    assert not fresh.choose(STAGES[0]).many
    with pytest.raises(ValueError, match="min_top_share"):
        fresh.choose(Stage("ideal", 1, 0.1, min_top_share=0.9))


def test_windows_drawn_ahead_by_other_processes_are_the_same():
    drawn = draw_windows(6, seed=3, votes="expected", workers=1)
    ahead, _, _ = drawn.split(1, RECIPE)
    try:
        for epoch, index in ((0, 0), (0, 1), (0, 5), (1, 0), (0, 2)):
            channels, votes = ahead.read(index, epoch)
            samples, expected = simulate(3, "expected", ahead.first + 6 * epoch + index, many=False)
            np.testing.assert_array_equal(channels, build_channels(samples))
            np.testing.assert_array_equal(votes, expected)
        assert votes.sum() == pytest.approx(round(votes.sum()))
        assert (votes % 1).any()
    finally:
        keep_pool(1).shutdown(cancel_futures=True)
        keep_pool.cache_clear()


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """Simulate four recordings in the competition's layout."""
    path = tmp_path_factory.mktemp("simulated")
    write_data_set(path, recordings=4, seed=1, progress=False)
    return path


def test_a_simulated_folder_knows_the_expected_votes(simulated, folder):
    cast, expected = (read_folder(simulated, votes=votes) for votes in ("cast", "expected"))
    truth, rows = pd.read_parquet(simulated / "truth.parquet"), pd.read_csv(simulated / "train.csv")
    for index in range(len(cast)):
        shift_free = [replace(source, shift_seconds=0.0) for source in (cast, expected)]
        (channels, votes), (same, shares) = (source.read(index, 3) for source in shift_free)
        np.testing.assert_array_equal(channels, same)
        assert shares.sum() == pytest.approx(votes.sum())
        own = rows[rows["eeg_id"] == cast.patterns["eeg_id"][index]].merge(truth, on=["eeg_id", "eeg_sub_id"])
        known = own[[f"expected_{vote}" for vote in VOTES]].to_numpy() * votes.sum()
        assert np.isclose(known, shares).all(axis=1).any()
    assert expected.description.endswith("expected votes")
    with pytest.raises(FileNotFoundError, match=r"truth\.parquet: no such file; only a simulated folder"):
        read_folder(folder, votes="expected")


class Interrupted:
    """A source that is stopped from outside once, in the middle of an epoch."""

    def __init__(self, source, epoch):
        self.source, self.epoch = source, epoch

    def __len__(self):
        return len(self.source)

    def read(self, index, epoch):
        if epoch == self.epoch and index == 5:
            raise RuntimeError("stopped")  # in a thread of Keras' an interrupt would end that thread alone
        return self.source.read(index, epoch)

    def order(self, rng):
        return self.source.order(rng)

    def choose(self, stage):
        return Interrupted(self.source.choose(stage), self.epoch)


SOURCES = DrawnWindows(draw, 12, "a test"), DrawnWindows(draw, 4, "a test", first=1000, many=True, fresh=False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Fit once without a break."""
    model, progress = fit_fold(TINY, RECIPE, *SOURCES, tmp_path_factory.mktemp("whole"))
    return weights_of(model), progress.history


@pytest.mark.parametrize("epoch", [1, 2])
def test_an_interrupted_fit_goes_on_to_the_same_weights(tmp_path, whole, epoch):
    """Bit by bit: on one machine and with one number of threads the operations are the same ones in the same order."""
    training, validation = SOURCES
    with pytest.raises(BaseException, match=r".*"):  # Keras wraps what a data thread raises
        fit_fold(TINY, RECIPE, Interrupted(training, epoch), validation, tmp_path)
    resumed, progress = fit_fold(TINY, RECIPE, training, validation, tmp_path)
    assert [entry["stage"] for entry in progress.history] == ["all", "all", "many"]
    assert progress.history == whole[1]
    for a, b in zip(weights_of(resumed), whole[0], strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="another recipe or model"):
        fit_fold(TINY, replace(RECIPE, seed=5), training, validation, tmp_path)


def test_an_interrupted_fit_in_mixed_precision_keeps_its_loss_scale(tmp_path):
    recipe = replace(RECIPE, stages=STAGES[:1], precision="mixed_float16")
    training, validation = SOURCES
    whole, history = fit_fold(TINY, recipe, training, validation, tmp_path / "whole")
    with pytest.raises(BaseException, match=r".*"):
        fit_fold(TINY, recipe, Interrupted(training, 1), validation, tmp_path / "part")
    resumed, again = fit_fold(TINY, recipe, training, validation, tmp_path / "part")
    assert again.history == history.history
    for a, b in zip(weights_of(resumed), weights_of(whole), strict=True):
        np.testing.assert_array_equal(a, b)


def test_training_on_a_folder_learns_and_leaves_all_its_files(folder, tmp_path):
    config = replace(TINY, options={**TINY.options, "width": 8, "dropout": 0.0})
    recipe = replace(RECIPE, stages=(Stage("all", 8, 0.02),), augmentation={})
    recipe = replace(recipe, prior_votes=0.1, ema_momentum=0.5)
    metrics = train_model(config, recipe, read_folder(folder), [0, 1], tmp_path)
    assert metrics["out_of_fold"]["rows"] == 14
    assert metrics["out_of_fold"]["kl"] < 0.4 < metrics["out_of_fold"]["uniform_kl"]
    names = {path.name for path in tmp_path.iterdir()}
    expected = {"config.json", "metrics.json", "out_of_fold.csv", "folds.csv", "curves.png"}
    assert names == expected | {"fold_0.weights.h5", "fold_1.weights.h5"}
    assert json.loads((tmp_path / "metrics.json").read_text()) == json.loads(json.dumps(metrics))
    for fold in metrics["folds"].values():
        assert fold["kl"] == min(entry["kl"] for entry in fold["history"])
        assert len(fold["history"]) == 8

    # What lies on disk gives the out-of-fold table again, float16 and all.
    table = pd.read_csv(tmp_path / "out_of_fold.csv")
    rows = read_patterns(folder)
    for fold in (0, 1):
        part = table[table["fold"] == fold].reset_index(drop=True)
        source = FolderWindows(rows[rows["eeg_id"].isin(part["eeg_id"])])
        model = load_model(read_model_config(tmp_path / "config.json"), tmp_path / f"fold_{fold}.weights.h5")
        shares, found = predict_windows(model, config, source, 4)
        np.testing.assert_allclose(found, part.filter(like="_predicted"), atol=1e-3)
        assert kl_per_row(shares, found).mean() == pytest.approx(metrics["folds"][str(fold)]["kl"], abs=0.02)

    # A second run finds everything done; another recipe is not mixed in.
    before, folds = (tmp_path / "fold_0.weights.h5").stat().st_mtime_ns, (tmp_path / "folds.csv").read_bytes()
    (tmp_path / "folds.csv").unlink()
    train_model(config, recipe, read_folder(folder), [0, 1], tmp_path)
    assert (tmp_path / "fold_0.weights.h5").stat().st_mtime_ns == before
    assert (tmp_path / "folds.csv").read_bytes() == folds
    with pytest.raises(ValueError, match="folds trained with other values of batch_size"):
        train_model(config, replace(recipe, batch_size=2), read_folder(folder), [0], tmp_path)
    with pytest.raises(ValueError, match="no fold 2; it has 0, 1"):
        choose_folds("2", range(recipe.folds))


def test_windows_drawn_on_the_fly_train_too(tmp_path):
    recipe = replace(RECIPE, stages=STAGES[1:], validation_windows=4)
    metrics = train_model(TINY, recipe, DrawnWindows(draw, 8, "a test"), [1], tmp_path)
    assert metrics["data"] == "8 windows an epoch, drawn from a test"
    assert metrics["out_of_fold"]["rows"] == 4


TWO_DEVICES = """
import sys, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from pathlib import Path
from tests.test_training import fit_without_dropout
from training.fitting import spread_over_devices
with spread_over_devices()():
    assert tf.distribute.get_strategy().num_replicas_in_sync == 2
fit_without_dropout(Path(sys.argv[1]))
"""


def fit_without_dropout(folder):
    """Fit on all devices there are, which would draw different units to drop; write what comes out."""
    config = replace(TINY, options={**TINY.options, "dropout": 0.0})
    recipe = replace(RECIPE, stages=RECIPE.stages[:1], ema_momentum=0.5)
    model, progress = fit_fold(config, recipe, DrawnWindows(draw, 8, "a test"), SOURCES[1], folder)
    np.savez(folder / "weights.npz", *weights_of(model), kl=[entry["kl"] for entry in progress.history])


def test_two_devices_give_one_devices_result(tmp_path):
    fit_without_dropout(tmp_path / "one")
    command = [sys.executable, "-c", TWO_DEVICES, str(tmp_path / "two")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = (np.load(tmp_path / count / "weights.npz") for count in ("one", "two"))
    for name in one.files:
        np.testing.assert_allclose(two[name], one[name], atol=2e-4, err_msg=name)
