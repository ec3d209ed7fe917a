"""Training through a cache: the same windows, votes and augmentations as from the recordings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import eda.show
from cache.build import build_cache
from cache.cache import open_cache
from cache.plan import MARGIN
from kernel.constants import SFREQ, VOTES
from kernel.inputs import InputConfig, RawConfig, build_input
from kernel.recording import build_channels, read_channels
from kernel.scalogram import ScalogramConfig
from kernel.table import read_patterns
from tests.conftest import make_eeg, write_recording
from tests.test_cache_build import write_data
from training.augmentation import AUGMENTATIONS, ON_INPUTS, augment, augment_inputs
from training.batches import FixedBatches, TrainingBatches
from training.recipe import Recipe, Stage, read_recipe, recipe_names
from training.windows import FolderWindows, find_caches, read_folder

SCALOGRAM = ScalogramConfig(n_freqs=6, f_min=2)
INPUTS = [SCALOGRAM, replace(SCALOGRAM, compression="power"), replace(SCALOGRAM, compression="none"), RawConfig()]
STAGE = Stage("all", 1, 0.001, weight_by_votes=True)
ALL = dict.fromkeys(AUGMENTATIONS, 0.5)


@pytest.mark.parametrize("config", [*INPUTS, RawConfig(compression="none")])
@pytest.mark.parametrize("name", [name for name in ON_INPUTS if name != "time_reversal"])
def test_augmented_inputs_are_inputs_of_augmented_channels(name: str, config: InputConfig) -> None:
    channels = build_channels(make_eeg())
    live, _ = augment(np.random.default_rng(5), (channels, np.ones(6)), lambda: (channels, np.ones(6)), [name])
    (cached,) = augment_inputs(np.random.default_rng(5), [build_input(channels, config)], (config,), [name])
    expected = build_input(live, config)
    np.testing.assert_allclose(cached, expected, atol=2e-5 * np.abs(expected).max())
    if name != "sign" or isinstance(config, RawConfig):
        assert np.abs(expected - build_input(channels, config)).max() > 0.1


@pytest.mark.parametrize("config", [SCALOGRAM, RawConfig()])
def test_reversed_inputs_are_those_of_reversed_channels_a_frame_off(config: InputConfig) -> None:
    channels = build_channels(make_eeg())
    (cached,) = augment_inputs(np.random.default_rng(), [build_input(channels, config)], (config,), ["time_reversal"])
    # The last frame stands stride - 1 samples before the window's end, the first at its start.
    later = np.roll(channels[:, ::-1], 1 - config.stride, axis=1)
    expected = build_input(later, config)
    edge = 10 * SFREQ // config.stride
    np.testing.assert_allclose(cached[..., edge:-edge], expected[..., edge:-edge], atol=2e-3)


def test_every_augmentation_is_known_to_need_channels_or_not() -> None:
    assert AUGMENTATIONS.keys() - ON_INPUTS.keys() == {"crop_and_concatenate", "mixup", "band_stop", "noise", "short"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cache the channels of a data set, and in a folder of their own two inputs."""
    data = write_data(tmp_path_factory.mktemp("data"), range(1, 7), windows=5, gap_seconds=2)
    build_cache(data, data / "cache" / "channels", jobs=1, progress=False)
    for name, config in (("scalogram", SCALOGRAM), ("raw", RawConfig())):
        build_cache(data, data / "inputs" / name, config, jobs=1, progress=False)
    return data


def read_epochs(source: FolderWindows, inputs: tuple[InputConfig, ...], recipe: Recipe) -> list[tuple]:
    """Return the batches of two epochs, and the unchanged windows."""
    plans = [TrainingBatches(source, inputs, recipe, STAGE, epoch) for epoch in (0, 1)]
    assert [len(plan) for plan in plans] == [1, 1]
    return [*(plan[0] for plan in plans), FixedBatches(source, inputs, 8)[0]]


@pytest.mark.parametrize("augmentation", [{}, ALL])
def test_cached_channels_serve_every_epoch_and_augmentation(folder: Path, augmentation: dict[str, float]) -> None:
    inputs, recipe = (SCALOGRAM, RawConfig()), Recipe((STAGE,), augmentation, batch_size=6, shift_seconds=1.0)
    caches = find_caches(folder / "cache", inputs, augmentation)
    assert [cache.content for cache in caches] == [None]
    live, cached = (replace(read_folder(folder, one), seed=3, shift_seconds=1.0) for one in ((), caches))
    starts = [start + shift for start in cached.patterns["starts"][0] for shift in (-MARGIN, 0, 77, MARGIN)]
    assert all((1, max(0, start)) in caches[0] for start in starts)
    for expected, found in zip(read_epochs(live, inputs, recipe), read_epochs(cached, inputs, recipe), strict=True):
        for one, other in zip(expected[0], found[0], strict=True):
            assert 0 < np.abs(one - other).max() < 3e-3
        for one, other in zip(expected[1:], found[1:], strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("augmentation", [{}, {"mirror": 0.5, "gain": 0.5, "channel_dropout": 0.5}])
def test_cached_inputs_serve_what_changes_no_channels(folder: Path, augmentation: dict[str, float]) -> None:
    inputs, recipe = (SCALOGRAM, RawConfig()), Recipe((STAGE,), augmentation, batch_size=6)
    caches = find_caches(folder / "inputs", inputs, augmentation)
    assert [cache.content for cache in caches] == list(inputs)
    live, cached = (replace(read_folder(folder, one), seed=3, shift_seconds=0.0) for one in ((), caches))
    assert cached.split(0, replace(recipe, folds=2))[0].shift_seconds == 0
    for expected, found in zip(read_epochs(live, inputs, recipe), read_epochs(cached, inputs, recipe), strict=True):
        for one, other in zip(expected[0], found[0], strict=True):
            assert one.shape == other.shape
            assert 0 < np.abs(one - other).max() < np.ptp(one) / 255
        for one, other in zip(expected[1:], found[1:], strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("place", "content"), [("cache/channels", None), ("inputs/scalogram", SCALOGRAM)])
def test_a_window_that_is_not_cached_is_read_from_its_recording(folder: Path, place: str, content: InputConfig) -> None:
    patterns = read_patterns(folder)
    patterns["starts"] = [tuple(start + 701 for start in starts[-1:]) for starts in patterns["starts"]]
    cache = open_cache(folder / place, content)
    source = FolderWindows(patterns.head(1), (cache,))
    assert (1, 8 * SFREQ // 2 + 701) not in open_cache(folder / "inputs" / "scalogram", SCALOGRAM)
    array = FixedBatches(source, (SCALOGRAM,), 2)[0][0][0]
    expected = build_input(read_channels(patterns["path"][0], patterns["starts"][0][0]), SCALOGRAM)
    np.testing.assert_allclose(array, expected, atol=3e-3)


def test_one_cache_serves_all_recipes() -> None:
    recipes = {name: read_recipe(name)[1] for name in recipe_names()}
    assert len(recipes) >= 8
    assert all(recipe.shift_seconds * SFREQ <= MARGIN for recipe in recipes.values())


def test_what_is_read_is_said(folder: Path) -> None:
    said: list[str] = []
    assert find_caches(folder / "inputs", (replace(SCALOGRAM, w0=9.0),), {}, said.append) == ()
    assert "windows are read from the recordings" in said[0]
    assert "w0 is 7.0 there, 9.0 asked" in said[0]
    assert find_caches(folder / "inputs", (SCALOGRAM,), {"noise": 0.1}, said.append) == ()
    assert "noise of the recipe needs channels" in said[1]
    assert find_caches(folder / "nowhere", (SCALOGRAM,), {}, said.append) == ()
    assert "no cache there" in said[2]
    find_caches(folder / "cache", (SCALOGRAM,), ALL, said.append)
    find_caches(folder / "inputs", (SCALOGRAM,), {}, said.append)
    assert said[3:] == [
        f"channels are read from {folder / 'cache' / 'channels'}",
        f"inputs are read from {folder / 'inputs' / 'scalogram'}",
    ]


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
    build_cache(tmp_path, tmp_path / "cache" / "channels", jobs=1, progress=False)
    build_cache(tmp_path, tmp_path / "cache" / "raw", RawConfig(), jobs=1, progress=False)
    caches = find_caches(tmp_path / "cache", (SCALOGRAM,), {})
    assert (5, start) in caches[0]
    live, cached = (read_folder(tmp_path, one).read(0, 0)[0] for one in ((), caches))
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
    inputs = open_cache(tmp_path / "cache" / "raw", RawConfig()).read([(5, start)])[0]
    raw = build_input(expected, RawConfig())
    assert np.abs(inputs - raw).max() <= np.ptp(raw, axis=1).max() / 510 + 1e-6
    assert read_channels(path, start).shape == (18, 10_000)
