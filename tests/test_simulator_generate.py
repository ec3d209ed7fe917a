"""Drawing windows: the same for the same arguments, shaped as promised, its pattern really in the signal."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import spearmanr

from kernel.montage import build_montage
from simulator.electrodes import add_gaps
from simulator.generate import peek_class, simulate_recording, simulate_window
from simulator.head import compute_laterality


def test_window_is_as_promised():
    window = simulate_window(1, 2)
    assert window.samples.shape == (20, 10_000)
    assert window.samples.dtype == np.float32
    assert window.votes.shape == (6,)
    assert window.votes.sum() >= 1
    np.testing.assert_allclose(window.truth["expected"].sum(), 1)


def test_window_depends_on_its_arguments_alone():
    first = simulate_window(4, 7)
    simulate_window(4, 8)
    again = simulate_window(4, 7)
    np.testing.assert_array_equal(first.samples, again.samples)
    np.testing.assert_array_equal(first.votes, again.votes)
    for other in (simulate_window(4, 8), simulate_window(5, 7), simulate_window(4, 7, stream="test")):
        assert not np.array_equal(np.nan_to_num(first.samples), np.nan_to_num(other.samples))


@pytest.mark.parametrize(("population", "low", "high"), [("few", 1, 7), ("many", 10, 28)])
def test_population_can_be_asked_for(population, low, high):
    for i in range(12):
        assert low <= simulate_window(3, i, population=population).votes.sum() <= high


def test_every_class_occurs_and_peeking_agrees():
    windows = {i: simulate_window(9, i) for i in range(60)}
    assert len({int(w.votes.argmax()) for w in windows.values()}) == 6
    agree = [peek_class(9, i) == int(w.truth["expected"].argmax()) for i, w in windows.items()]
    assert np.mean(agree) > 0.75


def test_amplitudes_are_those_of_eeg_and_do_not_tell_the_class():
    windows = [simulate_window(2, i) for i in range(240)]
    deviations = np.array([np.nanmedian(np.nanstd(build_montage(w.samples[:, 4000:6000]), axis=1)) for w in windows])
    assert 5 < np.median(deviations) < 60
    assert np.isfinite(deviations).all()
    patterned = np.array([1 - w.truth["expected"][5] for w in windows])
    usual = np.array([w.truth["family"] not in ("suppressed", "unreadable") for w in windows])
    assert abs(spearmanr(deviations[usual], patterned[usual]).statistic) < 0.25


def test_gaps_leave_something_to_read():
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(2_000):
        samples = np.zeros((20, 1_000), dtype=np.float32)
        add_gaps(rng, samples)
        shares.append(np.isnan(samples).mean())
    assert 0.02 < np.mean(np.array(shares) > 0) < 0.1
    assert max(shares) < 0.75


def test_lateralised_patterns_are_stronger_on_their_side():
    right = 0
    seen = 0
    for i in range(400):
        if peek_class(6, i, "few") not in (1, 3):
            continue
        window = simulate_window(6, i, "few")
        if window.truth["laterality"] < 0.8 or window.truth["salience"] < 3:
            continue
        channels = np.nan_to_num(build_montage(window.samples[:, 4000:6000]))
        channels = np.clip(channels - channels.mean(axis=1, keepdims=True), -300, 300)
        right += (compute_laterality(channels) > 0) == (window.truth["hemisphere"] == "right")
        seen += 1
        if seen == 25:
            break
    assert right / seen > 0.75


def test_recordings_have_overlapping_windows_inside_them():
    lengths, counts = [], []
    for i in range(25):
        recording = simulate_recording(1, i)
        seconds = recording.samples.shape[1] / 200
        lengths.append(seconds)
        counts.append(len(recording.labels))
        offsets = [offset for offset, _, _ in recording.labels]
        assert offsets == sorted(set(offsets))
        assert all(0 <= o <= seconds - 50 for o in offsets)
    assert min(lengths) == 50
    assert max(lengths) > 80
    assert min(counts) == 1
    assert max(counts) > 3


def test_overlapping_windows_of_one_pattern_are_seen_by_the_same_raters():
    same = []
    for i in range(40):
        labels = simulate_recording(2, i).labels
        for (_, votes, truth), (_, later, after) in pairwise(labels):
            if all(truth[k] == after[k] for k in ("regularity", "evolution", "sharpness", "laterality")):
                assert votes.sum() == later.sum()
                same.append(bool((votes == later).all()))
    assert len(same) > 30
    assert np.mean(same) > 0.5
