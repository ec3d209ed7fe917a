import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kernel.constants import EEG_ELECTRODES, ELECTRODES, WINDOW_SAMPLES
from kernel.montage import CHANNELS, build_montage
from kernel.recording import build_channels, cut_window, read_channels, read_electrodes, repair_gaps
from kernel.scalogram import ScalogramConfig, build_magnitude
from tests.conftest import make_eeg, write_recording


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.int64])
def test_number_types(tmp_path, dtype):
    eeg = make_eeg().round().astype(dtype)
    np.testing.assert_array_equal(read_electrodes(write_recording(tmp_path / "1.parquet", eeg)), eeg[:19])


def test_column_order_and_strangers_do_not_matter(tmp_path):
    eeg = make_eeg()
    order = np.random.default_rng(0).permutation(20)
    columns = (*np.array(ELECTRODES)[order], "Resp")
    path = write_recording(tmp_path / "1.parquet", np.vstack([eeg[order], eeg[:1]]), columns)
    np.testing.assert_array_equal(read_electrodes(path), eeg[:19])


def test_nulls_nan_infinities_and_text_become_nan(tmp_path):
    columns = {name: pa.array(row) for name, row in zip(ELECTRODES, make_eeg(4), strict=True)}
    columns["Fp1"] = pa.array([1.0, None, np.nan, np.inf], pa.float64())
    columns["F3"] = pa.array([1, None, 3, 4], pa.int32())
    columns["C3"] = pa.array(["1.5", "n/a", "", None])
    columns["P3"] = pa.array([1e300, -np.inf, 2.0, 3.0])
    pq.write_table(pa.table(columns), tmp_path / "1.parquet")
    electrodes = read_electrodes(tmp_path / "1.parquet")
    nan = np.nan
    expected = [[1, nan, nan, nan], [1, nan, 3, 4], [1.5, nan, nan, nan], [nan, nan, 2, 3]]
    np.testing.assert_array_equal(electrodes[:4], expected)


def test_an_absent_electrode_silences_its_channels_only(tmp_path):
    eeg = make_eeg()
    path = write_recording(tmp_path / "1.parquet", eeg[1:], ELECTRODES[1:])
    channels = read_channels(path)
    silent = [CHANNELS[i] for i in np.flatnonzero(~channels.any(axis=1))]
    assert silent == ["Fp1-F7", "Fp1-F3"]
    np.testing.assert_array_equal(channels[1], build_channels(eeg)[1])


def test_the_centre_is_cut():
    ramp = np.arange(12_345)[None]
    np.testing.assert_array_equal(cut_window(ramp)[0], np.arange(1172, 11_172))
    np.testing.assert_array_equal(cut_window(ramp, start=7, n_times=10)[0], np.arange(7, 17))
    assert cut_window(ramp, start=12_000)[0, 0] == 2_345
    with pytest.raises(ValueError, match="cannot start at sample 12345"):
        cut_window(ramp, start=12_345)


def test_a_short_recording_is_centred_between_its_mirror_images():
    short, own = build_channels(make_eeg(2_000)), repair_gaps(build_montage(make_eeg(2_000)))
    assert short.shape == (18, WINDOW_SAMPLES)
    for first, part in ((0, own), (2_000, own[:, ::-1]), (4_000, own), (6_000, own[:, ::-1]), (8_000, own)):
        np.testing.assert_array_equal(short[:, first : first + 2_000], part)
    assert not build_channels(make_eeg(399))[:, :4_000].any(), "less than two seconds says nothing, and stays as it is"


def test_gaps_are_lines_inside_and_the_median_outside():
    channel = np.array([[np.nan, 5, 7, np.nan, np.nan, 13, 7, np.nan]], np.float32)
    np.testing.assert_allclose(repair_gaps(channel), [[0, -2, 0, 2, 4, 6, 0, 0]])


def test_a_gap_of_one_sample_hardly_shows():
    eeg = make_eeg()
    holed = eeg.copy()
    holed[:, [3_000, 5_001, 5_002]] = np.nan
    config = ScalogramConfig()
    whole, repaired = (build_magnitude(build_channels(one), config) for one in (eeg, holed))
    assert np.abs(whole - repaired).max() < 2, "microvolts, in a picture that reaches 60"


def test_a_gap_in_one_electrode_does_not_let_the_reference_through():
    """With common noise ten times the EEG, a gap filled before the montage would be a burst of that noise."""
    reference = 300 * np.random.default_rng(1).standard_normal(WINDOW_SAMPLES).astype(np.float32)
    eeg = make_eeg() + reference
    eeg[EEG_ELECTRODES.index("C3"), 4_000:4_400] = np.nan
    inside = build_channels(eeg)[:, 4_000:4_400]
    assert np.abs(inside).max() < 200


def test_standing_potentials_are_taken_away():
    eeg = make_eeg()
    offset = eeg + 3_000 * np.arange(20, dtype=np.float32)[:, None]
    np.testing.assert_allclose(build_channels(offset), build_channels(eeg), atol=0.02)


def test_real_recordings_can_be_read(real_recordings):
    paths = sorted((real_recordings / "test_eegs").glob("*.parquet"))
    assert len(paths) == 22
    for path in paths:
        channels = read_channels(path)
        assert channels.shape == (18, WINDOW_SAMPLES)
        assert np.isfinite(channels).all()
        assert channels[:, 4_000:6_000].any(axis=1).all()
