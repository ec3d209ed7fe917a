"""What is said of predictions: summaries against plain arithmetic, the blend against a search, the command's output."""

import re

import numpy as np
import pandas as pd
import pytest

from kernel.constants import CLASS_NAMES, VOTES
from kernel.model import ModelConfig, calibrate
from training.blending import cross_validate, fit_answer, fit_blend, fit_calibration, fit_weights
from training.evaluation import (
    PREDICTED,
    describe,
    describe_table,
    print_summary,
    write_curves,
    write_reliability,
)
from training.folds import assign_halves
from training.metric import kl_per_row
from training.scoring import cut_parts


def draw(n=300, seed=0):
    rng = np.random.default_rng(seed)
    truth = rng.dirichlet(np.full(6, 0.4), n)
    votes = np.array([rng.multinomial(12, row) for row in truth]) / 12
    return truth, votes


def test_a_summary_agrees_with_plain_arithmetic(capsys, tmp_path):
    truth, votes = draw()
    summary = describe(votes, truth)
    kl = kl_per_row(votes, truth)
    assert summary["kl"] == pytest.approx(kl.mean(), abs=1e-4)
    assert summary["interval"][0] < summary["kl"] < summary["interval"][1]
    # The bootstrap's interval is that of the normal approximation, for this many independent rows.
    error = 1.96 * kl.std() / np.sqrt(len(kl))
    np.testing.assert_allclose(summary["interval"], kl.mean() + error * np.array([-1, 1]), atol=0.2 * error)
    confusion = np.array(summary["confusion"])
    np.testing.assert_allclose(confusion.sum(axis=1), 1, atol=1e-3)
    np.testing.assert_allclose(confusion[2], (votes[:, 2:3] * truth).sum(axis=0) / votes[:, 2].sum(), atol=1e-3)
    leading = votes.argmax(axis=1) == 3
    of_class = summary["by_class"]["LRDA"]
    assert of_class["rows"] == of_class["patients"] == leading.sum()
    assert of_class["kl"] == pytest.approx(kl[leading].mean(), abs=1e-4)
    assert of_class["interval"][0] < of_class["kl"] < of_class["interval"][1]
    assert of_class["voted_probability"] == pytest.approx(truth[leading, 3].mean(), abs=1e-4)
    assert summary["voted_probability"] == pytest.approx(truth[np.arange(300), votes.argmax(axis=1)].mean(), abs=1e-4)
    assert sum(one["number"] for one in summary["reliability"]) == 6 * len(votes)
    print_summary(summary)
    printed = capsys.readouterr().out
    assert f"KL {summary['kl']:.4f}, 95% interval" in printed
    assert all(name in printed for name in CLASS_NAMES)
    print_summary(describe(votes[:2], truth[:2]), confusion=False)
    assert re.search(r"\n  \w+ +\d +[0-9.]+ +- +[0-9.]+\n", capsys.readouterr().out)  # no interval of two patients
    write_reliability(summary, tmp_path / "reliability.png")
    history = [{"stage": stage, "loss": 1.0, "kl": 0.9} for stage in ("all", "all", "many")]
    write_curves({"0": {"history": history}}, tmp_path / "curves.png")
    for name in ("reliability.png", "curves.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_the_bootstrap_draws_patients_not_rows():
    truth, votes = draw(60)
    repeated = [np.repeat(array, 20, axis=0) for array in (votes, truth)]
    rows = describe(*repeated)["interval"]
    patients = describe(*repeated, groups=np.repeat(np.arange(60), 20))["interval"]
    assert patients[1] - patients[0] > 3 * (rows[1] - rows[0])


def test_patients_of_two_folders_with_one_number_are_two():
    truth, votes = draw(8)
    table = pd.DataFrame({"data": ["a", "b"] * 4, "patient_id": [0, 0, 1, 1, 2, 2, 3, 3]})
    table[list(VOTES)], table[list(PREDICTED)] = votes, truth
    assert describe_table(table)["patients"] == 8
    assert describe_table(table.drop(columns="data"))["patients"] == 4


def test_halves_have_the_same_classes_and_no_patient_in_common():
    truth, votes = draw(301)
    table = pd.DataFrame({"data": "a", "eeg_id": range(301), "patient_id": np.arange(301) // 2})
    table.loc[150:, "data"] = "b"
    table[list(VOTES)], table[list(PREDICTED)] = votes, truth
    halves = assign_halves(table)
    patients = table.assign(half=halves).groupby(["data", "patient_id"])
    assert patients["half"].nunique().max() == 1
    leading = patients[list(VOTES)].sum().to_numpy().argmax(axis=1)
    even = (patients["half"].first() == "even").to_numpy()
    for c in range(6):
        assert abs(even[leading == c].sum() - (~even[leading == c]).sum()) <= 1
    order = np.random.default_rng(0).permutation(301)
    np.testing.assert_array_equal(assign_halves(table.iloc[order]), halves[order])


def test_parts_are_what_differs_from_the_whole():
    table = pd.DataFrame({"data": ["a", "a", "b"], "half": ["even", "odd", "odd"], "seconds": [50.0, 60.0, 50.0]})
    parts = {title: list(part.index) for title, part in cut_parts(table, halves=True)}
    assert parts == {"a": [0, 1], "b": [2], "even half": [0], "odd half": [1, 2]}
    table["seconds"] = [50.0, 15.0, 50.0]
    parts = {title: list(part.index) for title, part in cut_parts(table[:2], halves=False)}
    assert parts == {"recordings of 50 s and more": [0], "shorter recordings": [1]}


def test_reliability_tells_calibrated_from_over_sure():
    truth, votes = draw(4000)
    sure = truth**3 / (truth**3).sum(axis=1, keepdims=True)
    honest, boasting = (describe(votes, p, resamples=10)["reliability"] for p in (truth, sure))
    assert max(abs(one["predicted"] - one["voted"]) for one in honest if one["number"] > 200) < 0.03
    assert boasting[-1]["predicted"] - boasting[-1]["voted"] > 0.03


def test_calibration_finds_what_was_done_to_the_probabilities():
    truth, votes = draw(4000)
    config = ModelConfig("raw_1d", ())
    sure = truth**2 / (truth**2).sum(axis=1, keepdims=True)
    fitted = fit_calibration(votes, sure, config)
    assert fitted.temperature == pytest.approx(2, abs=0.15)
    before, after = (kl_per_row(votes, calibrate(sure, one)).mean() for one in (config, fitted))
    assert after < before
    assert fit_calibration(votes[:99], sure[:99], config) == config  # too few rows to fit two numbers to


def test_the_blend_is_the_best_convex_one():
    truth, votes = draw(800)
    rng = np.random.default_rng(5)
    models = np.stack(
        [0.5 * truth + 0.5 * rng.dirichlet(np.full(6, 0.5), 800) for _ in range(2)] + [np.full((800, 6), 1 / 6)]
    )
    weights = fit_blend(votes, models)
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1)

    def score(w):
        return kl_per_row(votes, np.tensordot(w, models, 1)).mean()

    grid = [(a, b, 1 - a - b) for a in np.linspace(0, 1, 21) for b in np.linspace(0, 1 - a, 21)]
    assert score(weights) <= min(score(np.maximum(w, 0)) for w in grid) + 1e-6
    assert fit_blend(votes, np.stack([truth, np.full((800, 6), 1 / 6)]))[0] > 0.95


def hedge(truth, share):
    """Two networks, each unsure of what the other knows: their mean is less sure than it might be."""
    flat = np.full_like(truth, 1 / 6)
    first = np.arange(len(truth)) % 2 == 0
    return np.stack([np.where(one[:, None], truth, share * truth + (1 - share) * flat) for one in (first, ~first)])


def test_a_blend_that_is_too_unsure_is_sharpened_and_a_right_one_is_left():
    truth, votes = draw(800)
    unsure = hedge(truth, 0.3)
    weights, temperature = fit_answer(votes, unsure)
    assert weights == pytest.approx([0.5, 0.5], abs=0.1)
    assert 0.4 < temperature < 0.9
    assert cross_validate(votes, unsure, sharpen=True) < cross_validate(votes, unsure, sharpen=False)
    assert fit_answer(votes, truth[None])[1] == pytest.approx(1, abs=0.05)
    assert 1 > fit_answer(votes[:24], unsure[:, :24])[1] > temperature, "few rows move it less"


def test_few_rows_do_not_choose_between_models_and_many_drop_the_useless_one():
    truth, votes = draw(800)
    models = np.stack([truth, np.full((800, 6), 1 / 6)])
    np.testing.assert_array_equal(fit_weights(votes, models), [1, 0])
    few = fit_weights(votes[:20], np.stack([truth, truth])[:, :20])
    np.testing.assert_allclose(few, 0.5)
    assert fit_weights(votes[:20], models[:, :20])[1] > 0.05


def test_each_tenth_is_scored_by_what_the_others_fit():
    truth, votes = draw(100)
    models = np.stack([truth, np.full((100, 6), 1 / 6)])
    before = models.copy()
    kl = cross_validate(votes, models, sharpen=False)
    np.testing.assert_array_equal(models, before)
    expected = 0.0
    for one in range(10):
        scored = np.arange(100) % 10 == one
        weights = fit_weights(votes[~scored], models[:, ~scored])
        expected += kl_per_row(votes[scored], np.tensordot(weights, models[:, scored], 1)).sum() / 100
    assert kl == pytest.approx(expected, abs=1e-9)
