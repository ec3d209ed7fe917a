"""Simulated beside real: the figures measure what they say, the discriminator finds differences, pages are drawn."""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kernel.constants import ELECTRODES, VOTES
from simulator import compare
from simulator.compare import compare_recordings, discriminate, read_voted, show_gallery, tabulate
from simulator.features import measure_features

REAL = [Path(__file__).resolve().parents[2] / "shared" / name for name in ("iiic", "vecams")]


def test_figures_of_a_known_signal():
    t = np.arange(2000) / 200
    rng = np.random.default_rng(0)
    channels = 20 * np.sqrt(2) * np.sin(2 * np.pi * 2 * t) + rng.normal(0, 0.1, (18, 2000))
    found = measure_features(channels)
    assert found["amplitude_median_uv"] == pytest.approx(20, rel=0.01)
    assert found["dominant_hz"] == pytest.approx(2, abs=0.13)
    assert found["delta_share"] > 0.95
    assert found["neighbour_correlation"] > 0.99
    assert found["left_right_asymmetry"] < 0.01


def test_periodicity_index_tells_a_train_from_noise():
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 5, (18, 2000))
    train = noise.copy()
    for at in range(50, 1950, 200):
        train[:, at : at + 20] += 150 * np.hanning(20)
    assert measure_features(train)["periodicity_index"] > measure_features(noise)["periodicity_index"] + 0.2


def test_rhythm_is_measured():
    rng = np.random.default_rng(4)
    t = np.arange(2000) / 200
    noise = rng.normal(0, 2, (18, 2000))
    wave = 20 * np.sin(2 * np.pi * 1.4 * t) + 20 * 0.3 * np.sin(2 * np.pi * 2.8 * t + 1)
    steady = measure_features(noise + wave)
    assert steady["delta_hz"] == pytest.approx(1.4, abs=0.06)
    assert steady["second_harmonic"] == pytest.approx(0.09, rel=0.1)
    assert steady["rhythm_over_rest"] > 5
    assert steady["rhythm_filling"] > 0.9
    assert steady["first_component"] > 0.95
    assert steady["fronto_polar_share"] == pytest.approx(2 / 18, rel=0.05)
    assert steady["frontal_share"] == pytest.approx(4 / 18, rel=0.05)
    assert steady["centro_parietal_share"] == pytest.approx(3 / 18, rel=0.05)
    halved = measure_features(noise + wave * (t < 5))
    assert halved["rhythm_filling"] == pytest.approx(0.5, abs=0.1)
    assert measure_features(noise)["rhythm_over_rest"] < 1


def test_discharges_are_measured():
    rng = np.random.default_rng(5)
    channels = rng.normal(0, 0.5, (18, 2000))
    for at in range(60, 1940, 160):  # 1.25 Hz
        channels[:6, at : at + 60] += 100 * np.hanning(60)  # half of its height for half of its length
    found = measure_features(channels)
    assert found["discharge_width_s"] == pytest.approx(0.15, abs=0.02)
    assert found["discharge_hz"] == pytest.approx(1.25, rel=0.05)
    assert found["effective_channels"] == pytest.approx(6, rel=0.05)


def test_discriminator_is_fair():
    rng = np.random.default_rng(2)
    classes = np.arange(60) % 6
    same = discriminate(rng.normal(size=(60, 5)), rng.normal(size=(300, 5)), classes)
    apart = discriminate(rng.normal(1.5, 1, (60, 5)), rng.normal(size=(300, 5)), classes)
    assert all(0.35 < auc < 0.65 for auc in same)
    assert all(auc > 0.9 for auc in apart)
    with pytest.raises(ValueError, match="all of one class"):
        discriminate(np.ones((2, 5)), np.ones((4, 5)), np.array([1, 1]))
    table = tabulate(pd.DataFrame({"figure": [2.0, 3.0]}), pd.DataFrame({"figure": [0.0, 1.0]}))
    assert table["AUC"].to_list() == [1]


def test_gallery_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(compare, "draw_classes", partial(compare.draw_classes, each=1))
    show_gallery(tmp_path / "pages.png", None, 0)
    assert (tmp_path / "pages.png").read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in tmp_path.iterdir()] == ["pages.png"]


def test_a_folder_without_a_table_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"train\.csv: no such file"):
        show_gallery(None, [tmp_path], 0)


def write_recording(folder, eeg_id, n_times, marked, votes):
    """Write a recording that is silent but for two seconds of 10 Hz in the samples `marked`."""
    (folder / "test_eegs").mkdir(parents=True)
    samples = np.zeros((n_times, len(ELECTRODES)), dtype=np.float32)
    samples[marked, 0] = 50 * np.sin(2 * np.pi * 10 * np.arange(400) / 200)
    pd.DataFrame(samples, columns=list(ELECTRODES)).to_parquet(folder / "test_eegs" / f"{eeg_id}.parquet")
    row = {
        "eeg_id": eeg_id,
        "patient_id": 1,
        "eeg_label_offset_seconds": 2.0 * (n_times > 10_000),
        **dict(zip(VOTES, votes, strict=True)),
    }
    pd.DataFrame([row]).to_csv(folder / "train.csv", index=False)


@pytest.mark.parametrize(("n_times", "first"), [(3_000, 500), (2_000, 0), (10_000, 4_000), (12_000, 4_400)])
def test_the_labelled_part_of_any_length_is_compared(tmp_path, n_times, first):
    write_recording(tmp_path / "a", 7, n_times, slice(first + 800, first + 1200), [0, 0, 3, 0, 0, 1])
    (voted,) = read_voted([tmp_path / "a"])
    assert voted.channels.shape == (18, 2_000)
    assert list(voted.votes) == [0, 0, 3, 0, 0, 1]
    energy = (voted.channels[0] ** 2).reshape(5, 400).sum(axis=1)
    assert energy[2] > 0.95 * energy.sum()


def test_real_recordings_are_compared(capsys):
    if not all(folder.exists() for folder in REAL):
        pytest.skip(f"{REAL[0]} or {REAL[1]} is not here: no real recordings to compare with")
    real = read_voted(REAL)
    assert len(real) == 48
    aucs = compare_recordings(real, each=1)
    printed = capsys.readouterr().out
    assert all(printed.count(name) == 2 for name in measure_features(real[0].channels))  # over all, and by class
    assert "Seizure (8)" in printed
    for auc in aucs:
        assert f"{auc:.3f}" in printed
        assert 0.5 < auc < 0.9
