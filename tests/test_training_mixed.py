"""Windows of two sources: a share of recordings among others, equally often by class, the same whenever it is asked."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from build import main
from kernel.constants import PRIOR, VOTES
from kernel.model import read_model_config
from tests.test_training import RECIPE, SOURCES, STAGES, TINY, Interrupted, draw, folder, weights_of  # noqa: F401
from training.batches import TrainingBatches
from training.cross_validation import add_heard_before, train_model
from training.drawn import DrawnWindows
from training.fitting import fit_fold
from training.mixed import keep_one_side, mix_windows
from training.scoring import find_allowed_folds
from training.trained import read_folds
from training.windows import read_folder


@pytest.fixture
def mixed(folder):  # noqa: F811
    return mix_windows(DrawnWindows(draw, 60, "a test"), [folder], 0.4)


def test_the_share_is_kept_and_classes_come_equally_often(mixed):
    mixed = replace(mixed, others=replace(mixed.others, patterns=mixed.others.patterns.iloc[[0, 1, 2, 4, 6, 8, 10]]))
    assert len(mixed) == 100
    order = mixed.order(np.random.default_rng(0))
    assert sorted(order) == list(range(100))
    assert list(order[order < 60]) == list(range(60)), "drawn windows stay in their order, to be drawn ahead"
    assert 2 < (order[:20] >= 60).sum() < 15, "the others are among them, not after them"
    leading = []
    for index in range(60, 100):
        _, votes = mixed.read(index, 0)
        shares = votes / votes.sum()
        np.testing.assert_allclose(shares[:4], 0.07 * np.array(PRIOR)[:4])
        leading.append(shares.argmax())
    assert set(leading) == {4, 5}
    assert 8 <= leading.count(4) <= 32  # one recording of seven has this class
    np.testing.assert_array_equal(mixed.read(7, 3)[0], mixed.main.read(7, 3)[0])


def test_half_of_the_lateralised_windows_are_made_of_generalised_ones(folder):  # noqa: F811
    patterns = mix_windows(DrawnWindows(draw, 60, "a test"), [folder], 0.4).others.patterns.iloc[:3].copy()
    patterns[list(VOTES)] = [[0, 0, 0, 4, 0, 0], [0, 0, 0, 0, 4, 0], [0, 0, 0, 0, 0, 4]]
    source = mix_windows(DrawnWindows(draw, 60, "a test"), [folder], 0.9)
    source = replace(source, others=replace(source.others, patterns=patterns))
    shares = np.array([source.read(index, 0)[1] for index in range(60, len(source))])
    np.testing.assert_allclose(shares.sum(axis=1), 4, err_msg="a made window has as many votes as its pattern")
    shares = (shares / shares.sum(axis=1, keepdims=True) - 0.07 * np.array(PRIOR)) / 0.93
    made = np.abs(shares - [0, 0, 0, 0.85, 0, 0.15]).max(axis=1) < 1e-6
    recorded = np.abs(shares - [0, 0, 0, 1, 0, 0]).max(axis=1) < 1e-6
    assert 0.35 < made.sum() / (made | recorded).sum() < 0.65
    assert 0.25 < (made | recorded).mean() < 0.42, "classes come equally often as before"


def test_a_pattern_kept_on_one_side_leaves_the_other_to_another_recording():
    general, other = np.full((18, 4), 8, np.float32), np.full((18, 4), 1, np.float32)
    sides = set()
    for seed in range(20):
        votes = np.array([1.0, 0, 6, 0, 3, 0]), np.array([0.0, 0, 0, 0, 0, 5])
        channels, shares = keep_one_side(np.random.default_rng(seed), (general, votes[0]), (other, votes[1]))
        near = int(channels[0, 0] != 8)
        sides.add(near)
        np.testing.assert_array_equal(channels[near:16:2], 8)
        assert len(np.unique(channels[1 - near : 16 : 2])) == 1
        assert 1 <= channels[1 - near, 0] <= 1 + 0.4 * 8
        np.testing.assert_array_equal(channels[16:], 4.5)
        np.testing.assert_allclose(shares, [0.085, 0.51, 0, 0.255, 0, 0.15])
        np.testing.assert_array_equal(votes[0], [1, 0, 6, 0, 3, 0])
    assert sides == {0, 1}


def test_a_mixed_epoch_is_decided_by_its_number_alone(mixed):
    training, validation, _ = mixed.split(1, RECIPE)
    assert validation == mixed.main.split(1, RECIPE)[1]
    first, again, other = (TrainingBatches(training, TINY.inputs, RECIPE, STAGES[0], epoch) for epoch in (1, 1, 2))
    for index in (2, 0, 1):
        for a, b in zip(first[index], again[index], strict=True):
            np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0][0], other[0][0])


def test_an_interrupted_fit_on_mixed_windows_goes_on_to_the_same_weights(folder, tmp_path):  # noqa: F811
    recipe = replace(RECIPE, stages=STAGES[:1])
    training = mix_windows(SOURCES[0], [folder], 0.4).split(0, recipe)[0]
    whole, _ = fit_fold(TINY, recipe, training, SOURCES[1], tmp_path / "whole")
    with pytest.raises(BaseException, match=r".*"):
        fit_fold(TINY, recipe, Interrupted(training, 1), SOURCES[1], tmp_path / "part")
    resumed, _ = fit_fold(TINY, recipe, training, SOURCES[1], tmp_path / "part")
    for a, b in zip(weights_of(resumed), weights_of(whole), strict=True):
        np.testing.assert_array_equal(a, b)


def test_each_fold_leaves_its_part_of_what_is_mixed_in_out_and_answers_it(folder, tmp_path, capsys):  # noqa: F811
    recipe = replace(RECIPE, stages=STAGES[1:], validation_windows=4, calibrated=False)
    data = mix_windows(DrawnWindows(draw, 8, "a test"), [folder], 0.4)
    rows = read_folder(folder).patterns
    heard = [set(data.split(fold, recipe)[0].others.patterns["eeg_id"]) for fold in range(recipe.folds)]
    assert all(heard)
    assert sum(len(rows) - len(rows[rows["eeg_id"].isin(fold)]) for fold in heard) == len(rows)
    metrics = train_model(TINY, recipe, data, list(range(recipe.folds)), tmp_path)
    config = read_model_config(tmp_path / "config.json")
    assert (config.temperature, config.prior_share) == (1, 0), "as asked, and not as 4 simulated rows would have it"
    assert metrics["data"] == f"8 windows an epoch, drawn from a test, with a share of 0.4 of {folder.name}"
    allowed = find_allowed_folds(tmp_path, rows)
    assert (allowed.sum(axis=1) == 1).all()
    assert "out of fold" in capsys.readouterr().out
    for fold, answers in enumerate(allowed.T):
        assert not set(rows.loc[answers, "eeg_id"]) & heard[fold]
    assert find_allowed_folds(tmp_path, rows.assign(eeg_id=rows["eeg_id"] + 1000)).all()


def test_what_the_weights_that_a_training_starts_from_have_heard_is_left_out_too(folder, tmp_path, capsys):  # noqa: F811
    recipe, rows = replace(RECIPE, stages=STAGES[1:], validation_windows=4), read_folder(folder).patterns
    data = mix_windows(DrawnWindows(draw, 8, "a test"), [folder], 0.4)
    train_model(TINY, recipe, data, [1], tmp_path / "first")
    file, first = tmp_path / "first" / "fold_1.weights.h5", read_folds(tmp_path / "first")
    left_out = rows["eeg_id"].map(first.set_index("eeg_id")["fold"]) == 1
    train_model(TINY, recipe, data.main, [0], tmp_path / "second", start_from=[file])
    np.testing.assert_array_equal(find_allowed_folds(tmp_path / "second", rows)[:, 0], left_out)
    train_model(TINY, recipe, data.main, [0], tmp_path / "second")  # it is done, and where it began was said before
    np.testing.assert_array_equal(find_allowed_folds(tmp_path / "second", rows)[:, 0], left_out)

    assert "WARNING" not in capsys.readouterr().out
    train_model(TINY, recipe, data, [0], tmp_path / "third", start_from=[file])
    assert f"have heard {(~left_out).sum()} of the {len(rows)} recordings" in capsys.readouterr().out

    folds = data.assign_folds(recipe)
    by_fold = add_heard_before(folds, [tmp_path / "first"])
    assert (by_fold.merge(folds, on=["eeg_id", "patient_id", "fold"])["fold"] >= 0).all(), "each goes on from its own"
    assert len(by_fold) == folds["eeg_id"].nunique()
    from_one = add_heard_before(folds, [file]).set_index("eeg_id")["fold"]
    assert set(from_one) == {-1, 1}, "fold 1 has heard what the others leave out"
    np.testing.assert_array_equal(rows["eeg_id"].map(from_one) == 1, left_out)
    copy = file.rename(file.with_name("copy.h5"))
    assert set(add_heard_before(folds, [copy])["fold"]) == {-1}, "nobody knows which fold that is"


def test_two_folders_that_number_patients_alike_are_of_different_patients(folder, tmp_path):  # noqa: F811
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    mixed = mix_windows(DrawnWindows(draw, 8, "a test"), [folder, other], 0.4)
    patients = mixed.others.patterns["patient_id"].nunique()
    assert set(mixed._assign_others(replace(RECIPE, folds=patients + 1))) == set(range(patients + 1))


def test_a_training_starts_from_the_mean_of_several_files(tmp_path):
    recipe = replace(RECIPE, stages=(replace(STAGES[1], learning_rate=1e-12),), ema_momentum=0.0, weight_decay=0.0)
    models = [fit_fold(TINY, replace(recipe, seed=seed), *SOURCES, tmp_path / str(seed))[0] for seed in (1, 2)]
    files = [tmp_path / str(seed) / "best.weights.h5" for seed in (1, 2)]
    started, _ = fit_fold(TINY, recipe, *SOURCES, tmp_path / "mean", start_from=files)
    for a, b, c in zip(*map(weights_of, [*models, started]), strict=True):
        np.testing.assert_allclose(c, (a + b) / 2, atol=1e-5)


def test_wrong_mixes_are_told(folder, tmp_path, capsys):  # noqa: F811
    call = ["train", "--model", "raw_1d", "--out", str(tmp_path), "--data", str(folder), "--mix", str(folder)]
    assert main(call) == 1
    assert "is --data too" in capsys.readouterr().err
    assert main([*call, "--mix-share", "1"]) == 1
    assert "--mix-share 1: expected a share between 0 and 1" in capsys.readouterr().err
    assert main([*call[:-1], str(tmp_path / "nope")]) == 1
    assert f"{tmp_path / 'nope'}: no such folder" in capsys.readouterr().err
