"""Training through a cache: the same windows, votes and augmentations as computed on the fly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cache.build import build_cache
from kernel.constants import SFREQ
from kernel.inputs import InputConfig, RawConfig, build_input
from kernel.recording import build_channels
from kernel.scalogram import ScalogramConfig
from tests.conftest import make_eeg
from tests.test_cache_build import write_data
from training.augmentation import AUGMENTATIONS, augment
from training.batches import FixedBatches, TrainingBatches
from training.cached import COMMUTING, CachedWindows, augment_inputs, find_caches
from training.recipe import Recipe, Stage
from training.windows import FolderWindows, read_rows

SCALOGRAM = ScalogramConfig(n_freqs=6, f_min=2)
INPUTS = [SCALOGRAM, replace(SCALOGRAM, compression="power"), replace(SCALOGRAM, compression="none"), RawConfig()]
STAGE = Stage("all", 1, 0.001, weight_by_votes=True)


@pytest.mark.parametrize("config", [*INPUTS, RawConfig(compression="none")])
@pytest.mark.parametrize("name", [name for name in COMMUTING if name != "time_reversal"])
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


def test_every_augmentation_is_known_to_commute_or_not() -> None:
    assert AUGMENTATIONS.keys() - COMMUTING.keys() == {"crop_and_concatenate", "mixup", "band_stop", "noise"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = write_data(tmp_path_factory.mktemp("data"), range(1, 7), windows=5, gap_seconds=2)
    for name, config in (("scalogram", SCALOGRAM), ("raw", RawConfig())):
        build_cache(data, data / "cache" / name, config, jobs=1, progress=False)
    return data


@pytest.mark.parametrize("augmentation", [{}, {"mirror": 0.5, "gain": 0.5, "channel_dropout": 0.5}, {"noise": 0.5}])
def test_batches_are_the_same_from_a_cache(folder: Path, augmentation: dict[str, float]) -> None:
    inputs = (SCALOGRAM, RawConfig())
    recipe = Recipe((STAGE,), augmentation, batch_size=6)
    live = FolderWindows(read_rows(folder), seed=3, shift_seconds=0)
    cached = CachedWindows(live, find_caches(folder / "cache", inputs, print))
    names: list[str] = []
    assert cached.read_inputs(0, 0, names) is not None
    assert cached.read_inputs(0, 0, ["noise"]) is None
    for epoch in (0, 1):
        (expected,), (found,) = (
            [batches[i] for i in range(len(batches))]
            for batches in (TrainingBatches(source, inputs, recipe, STAGE, epoch) for source in (live, cached))
        )
        for one, other in zip(expected[0], found[0], strict=True):
            assert one.shape == other.shape
            assert 0 < np.abs(one - other).max() < np.ptp(one) / 255
        np.testing.assert_array_equal(found[1], expected[1])
        np.testing.assert_array_equal(found[2], expected[2])
    middle = FolderWindows(read_rows(folder))
    (expected,), (found,) = (
        FixedBatches(source, inputs, 8)[0] for source in (middle, CachedWindows(middle, cached.caches))
    )
    for one, other in zip(expected, found, strict=True):
        assert 0 < np.abs(one - other).max() < np.ptp(one) / 255


def test_a_window_that_is_not_stored_is_computed(folder: Path) -> None:
    rows = read_rows(folder)
    rows["starts"] = [tuple(start + 1 for start in starts) for starts in rows["starts"]]
    source = CachedWindows(FolderWindows(rows), find_caches(folder / "cache", (SCALOGRAM,), print))
    assert source.read_inputs(0, 0, []) is None
    (array,) = FixedBatches(source, (SCALOGRAM,), 2)[0]
    np.testing.assert_array_equal(array[0], build_input(source.read(0, 0)[0], SCALOGRAM))


def test_a_cache_of_another_input_is_not_used_in_silence(folder: Path) -> None:
    said: list[str] = []
    assert find_caches(folder / "cache", (replace(SCALOGRAM, w0=9.0),), said.append) == ()
    assert "computed on the fly" in said[0]
    assert "w0 is 7.0 there, 9.0 asked" in said[0]
    assert find_caches(folder / "nowhere", (SCALOGRAM,), said.append) == ()
    assert "no store there" in said[1]
