import numpy as np
import pytest

from kernel.constants import EEG_ELECTRODES
from kernel.montage import CHANNELS, MIRROR, build_montage

LEFT = ("Fp1", "F7", "T3", "T5", "O1", "F3", "C3", "P3", "Fz", "Cz", "Pz")
RIGHT = ("Fp2", "F8", "T4", "T6", "O2", "F4", "C4", "P4", "Fz", "Cz", "Pz")


def test_every_channel_is_the_difference_its_name_says():
    electrodes = np.random.default_rng(0).standard_normal((20, 7))
    channels = build_montage(electrodes)
    for name, channel in zip(CHANNELS, channels, strict=True):
        anode, cathode = (electrodes[EEG_ELECTRODES.index(electrode)] for electrode in name.split("-"))
        np.testing.assert_array_equal(channel, anode - cathode)


def test_left_and_right_are_interleaved():
    assert CHANNELS[:4] == ("Fp1-F7", "Fp2-F8", "F7-T3", "F8-T4")
    assert CHANNELS[-2:] == ("Fz-Cz", "Cz-Pz")
    assert len(set(CHANNELS)) == 18


def test_mirror_swaps_homologous_electrodes():
    both_ways = dict(zip(LEFT + RIGHT, RIGHT + LEFT, strict=True))
    for name, mirrored in zip(CHANNELS, np.array(CHANNELS)[MIRROR], strict=True):
        assert mirrored == "-".join(both_ways[electrode] for electrode in name.split("-"))
    np.testing.assert_array_equal(MIRROR[MIRROR], np.arange(18))


def test_what_all_electrodes_share_cancels_and_nan_stays():
    electrodes = np.zeros((19, 5)) + 1e4 * np.arange(5)
    electrodes[EEG_ELECTRODES.index("F7"), 2] = np.nan
    channels = build_montage(electrodes)
    assert np.nansum(np.abs(channels)) == 0
    assert [CHANNELS[i] for i in np.flatnonzero(np.isnan(channels[:, 2]))] == ["Fp1-F7", "F7-T3"]


def test_too_few_electrodes_are_refused():
    with pytest.raises(ValueError, match=r"expected electrodes .* found \(18, 5\)"):
        build_montage(np.zeros((18, 5)))
