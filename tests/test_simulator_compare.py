"""Simulated beside real: the figures measure what they say, the discriminator finds differences, pages are drawn."""

from pathlib import Path

import numpy as np
import pytest

from simulator.compare import compare_recordings, compute_auc, discriminate
from simulator.features import FEATURES, compute_features
from simulator.gallery import show_gallery

REAL = Path(__file__).resolve().parents[2] / "shared" / "iiic"


def test_figures_of_a_known_signal():
    t = np.arange(2000) / 200
    rng = np.random.default_rng(0)
    channels = 20 * np.sqrt(2) * np.sin(2 * np.pi * 2 * t) + rng.normal(0, 0.1, (18, 2000))
    found = dict(zip(FEATURES, compute_features(channels), strict=True))
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
    k = FEATURES.index("periodicity_index")
    assert compute_features(train)[k] > compute_features(noise)[k] + 0.2


def test_discriminator_is_fair():
    rng = np.random.default_rng(2)
    same = discriminate(rng.normal(size=(60, 5)), rng.normal(size=(300, 5)))
    apart = discriminate(rng.normal(1.5, 1, (60, 5)), rng.normal(size=(300, 5)))
    assert 0.35 < same < 0.65
    assert apart > 0.9
    assert compute_auc(np.array([0.0, 1.0]), np.array([2.0, 3.0])) == 1


def test_gallery_is_drawn(tmp_path):
    show_gallery(tmp_path / "pages.png", None, 0)
    assert (tmp_path / "pages.png").read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in tmp_path.iterdir()] == ["pages.png"]


def test_a_folder_without_a_table_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"train\.csv: no such file"):
        show_gallery(None, tmp_path, 0)


def test_real_recordings_are_compared(capsys):
    if not REAL.exists():
        pytest.skip(f"{REAL} is not here: no real recordings to compare with")
    auc = compare_recordings(REAL, each=3)
    printed = capsys.readouterr().out
    assert all(name in printed for name in FEATURES)
    assert f"{auc:.3f}" in printed
    assert 0 <= auc <= 1
