"""Training through the cache: the same windows, votes and augmentations as from the recordings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import eda.show
from cache.build import build_cache
from cache.cache import Cache
from cache.plan import MARGIN
from kernel.constants import SFREQ, VOTES
from kernel.inputs import RawConfig
from kernel.recording import build_channels, read_channels
from kernel.scalogram import ScalogramConfig
from tests.conftest import make_eeg, write_recording
from tests.test_cache_build import write_data
from training.augmentation import AUGMENTATIONS
from training.batches import FixedBatches, TrainingBatches
from training.recipe import Recipe, Stage, read_recipe, recipe_names
from training.windows import FolderWindows, open_cache, read_folder

INPUTS = ScalogramConfig(n_freqs=6, f_min=2), RawConfig()
STAGE = Stage("all", 1, 0.001, weight_by_votes=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = write_data(tmp_path_factory.mktemp("data"), range(1, 7), windows=5, gap_seconds=2)
    build_cache(data, data / "cache", jobs=1, progress=False)
    return data


def read_epochs(source: FolderWindows, recipe: Recipe) -> list[tuple]:
    """Return the batches of two epochs, and the unchanged windows."""
    plans = [TrainingBatches(source, INPUTS, recipe, STAGE, epoch) for epoch in (0, 1)]
    assert [len(plan) for plan in plans] == [1, 1]
    return [*(plan[0] for plan in plans), FixedBatches(source, INPUTS, 8)[0]]


@pytest.mark.parametrize("augmentation", [{}, dict.fromkeys(AUGMENTATIONS, 0.5)])
def test_cached_channels_serve_every_epoch_and_augmentation(folder: Path, augmentation: dict[str, float]) -> None:
    recipe = Recipe((STAGE,), augmentation, batch_size=6, shift_seconds=1.0)
    cache = Cache(folder / "cache")
    live, cached = (replace(read_folder(folder, one), seed=3, shift_seconds=1.0) for one in (None, cache))
    for start in cached.patterns["starts"][0]:
        for shift in (-MARGIN, 0, 77, MARGIN):
            cache.read(1, max(0, start + shift))  # every window that training can ask for is there
    for expected, found in zip(read_epochs(live, recipe), read_epochs(cached, recipe), strict=True):
        for one, other in zip(expected[0], found[0], strict=True):
            assert 0 < np.abs(one - other).max() < 3e-3
        for one, other in zip(expected[1:], found[1:], strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_window_that_is_not_cached_is_read_from_its_recording(folder: Path, tmp_path: Path) -> None:
    source = read_folder(folder)
    build_cache(folder, tmp_path, jobs=1, progress=False, leave_out=[1])
    cache = Cache(tmp_path)
    with pytest.raises(KeyError):
        cache.read(1, 0)
    np.testing.assert_array_equal(replace(source, cache=cache).read(0, 0)[0], source.read(0, 0)[0])


def test_one_cache_serves_all_recipes() -> None:
    recipes = {name: read_recipe(name)[1] for name in recipe_names()}
    assert len(recipes) >= 8
    assert all(recipe.shift_seconds * SFREQ <= MARGIN for recipe in recipes.values())


def test_what_is_read_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert open_cache(folder / "nowhere") is None
    assert "windows are read from the recordings: " in (said := capsys.readouterr().out)
    assert "`python build.py cache --data DIR` builds one" in said
    assert open_cache(folder / "cache")
    assert f"windows are read from the cache {folder / 'cache'}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("seconds", "offset"),
    [(60, 0), (60, 2.3), (60, 10), (60, 20), (60, 59.9), (50, 0), (50, 30), (37.5, 0), (37.5, 2.3), (124, 61.7)],
)
def test_cached_live_and_drawn_windows_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, offset: float
) -> None:
    (tmp_path / "train_eegs").mkdir()
    eeg = make_eeg(int(seconds * SFREQ), seed=9)
    eeg[4, :300] = eeg[7, -700:] = eeg[2, 2_900:3_100] = np.nan
    path = write_recording(tmp_path / "train_eegs" / "5.parquet", eeg)
    row = {"eeg_id": 5, "patient_id": 1, "spectrogram_id": 1, "eeg_label_offset_seconds": offset}
    pd.DataFrame([{**row, "expert_consensus": "LPD", **dict.fromkeys(VOTES, 2)}]).to_csv(tmp_path / "train.csv")

    start = round(offset * SFREQ)
    last = max(0, len(eeg[0]) - 10_000)
    expected = build_channels(eeg[:19, min(start, last) :][:, :10_000])  # by hand: the last 50 s at most
    build_cache(tmp_path, tmp_path / "cache", jobs=1, progress=False)
    cached = Cache(tmp_path / "cache").read(5, start)
    live = read_folder(tmp_path).read(0, 0)[0]
    sheets: list[np.ndarray] = []
    draw = eda.show.draw_sheet
    monkeypatch.setattr(
        eda.show, "draw_sheet", lambda channels, *rest: sheets.append(channels) or draw(channels, *rest)
    )
    eda.show.show_recording(tmp_path, 5, tmp_path / "sheet.png", weights=tmp_path, offset=offset)

    np.testing.assert_array_equal(live, expected)
    np.testing.assert_array_equal(sheets[0], expected)
    # Half a step of the range of 10 s, and as much again where the median that is taken away moves.
    np.testing.assert_allclose(cached, expected, atol=1.001 * np.nanmax(np.ptp(expected, axis=1)) / 65534)
    assert np.isfinite(cached).all()
    assert read_channels(path, start).shape == (18, 10_000)
