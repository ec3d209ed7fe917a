"""Each augmentation does what its name says to the channels, and to the label only where it must."""

import numpy as np
import pytest
import scipy.signal

from kernel.montage import MIRROR
from training.augmentation import AUGMENTATIONS, augment, choose

SHARES = np.array([0.5, 0.5, 0, 0, 0, 0])
OTHER = np.array([0, 0, 0, 0, 0, 1.0])


@pytest.fixture
def channels():
    return np.random.default_rng(0).normal(0, 30, (18, 10_000)).astype(np.float32)


def apply(name, channels, seed=0):
    another = (np.full_like(channels, 7), OTHER)
    kept = channels.copy()
    changed, shares = AUGMENTATIONS[name](np.random.default_rng(seed), (channels, SHARES), lambda: another)
    np.testing.assert_array_equal(channels, kept)  # nothing is overwritten
    assert changed.shape == channels.shape
    assert changed.dtype == np.float32
    assert np.isfinite(changed).all()
    return changed, shares


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_an_augmentation_changes_the_channels_and_repeats_itself(name, channels):
    changed, shares = apply(name, channels)
    again, _ = apply(name, channels)
    np.testing.assert_array_equal(changed, again)
    assert not np.array_equal(changed, channels)
    assert shares.sum() == pytest.approx(1)
    if name != "mixup":
        np.testing.assert_array_equal(shares, SHARES)


def test_mirror_reversal_and_sign_undo_themselves(channels):
    np.testing.assert_array_equal(apply("mirror", channels)[0], channels[MIRROR])
    for name in ("mirror", "time_reversal", "sign"):
        twice, _ = apply(name, apply(name, channels)[0])
        np.testing.assert_array_equal(twice, channels)


def test_gain_scales_each_channel_by_one_number(channels):
    ratio = apply("gain", channels)[0] / channels
    np.testing.assert_allclose(ratio.std(axis=1), 0, atol=1e-4)
    assert 0.2 < ratio.mean() < 5


def test_dropout_silences_one_to_four_channels_and_leaves_the_rest(channels):
    counts = set()
    for seed in range(30):
        changed, _ = apply("channel_dropout", channels, seed)
        silent = (changed == 0).all(axis=1)
        counts.add(int(silent.sum()))
        np.testing.assert_array_equal(changed[~silent], channels[~silent])
    assert counts == {1, 2, 3, 4}


def test_band_stop_takes_a_third_of_an_octave_and_nothing_else(channels):
    changed, _ = apply("band_stop", channels)
    freqs, before = scipy.signal.periodogram(channels, 200)
    after = scipy.signal.periodogram(changed, 200)[1]
    stopped = (after < 1e-6 * np.maximum(before, 1e-9)).all(axis=0) & (freqs > 0)
    assert np.log2(freqs[stopped].max() / freqs[stopped].min()) == pytest.approx(1 / 3, abs=0.1)
    np.testing.assert_allclose(
        after[:, ~stopped & (freqs > 0)], before[:, ~stopped & (freqs > 0)], rtol=1e-2, atol=1e-4
    )


def test_tilt_is_a_slope_of_the_spectrum_about_3_hz_that_channels_nearly_share(channels):
    slopes = []
    for seed in range(40):
        changed, _ = apply("tilt", channels, seed)
        freqs = np.fft.rfftfreq(10_000, 1 / 200)
        ratio = np.abs(np.fft.rfft(changed)) / np.abs(np.fft.rfft(channels))
        band = (freqs > 0.6) & (freqs < 29)
        fits = [np.polyfit(np.log(freqs[band] / 3), np.log(one[band]), 1) for one in ratio]
        assert np.abs(np.array(fits)[:, 1]).max() < 0.01, "3 Hz is as strong as it was"
        slopes.append(np.array(fits)[:, 0])
    assert 0.2 < np.std(np.mean(slopes, axis=1)) < 0.5
    assert 0.05 < np.mean(np.std(slopes, axis=1)) < 0.15


def test_field_mixes_channels_of_one_side_and_of_the_midline():
    channels = np.zeros((18, 10_000), np.float32)
    channels[np.arange(18), np.arange(18)] = 1  # channel i is alone at sample i
    mixing = np.mean([np.abs(apply("field", channels, seed)[0][:, :18]) for seed in range(50)], axis=0)
    left, right, midline = np.arange(0, 16, 2), np.arange(1, 16, 2), np.arange(16, 18)
    assert not mixing[np.ix_(left, right)].any()
    assert not mixing[np.ix_(right, left)].any()
    assert not mixing[np.ix_(midline, left)].any()
    for near in (np.ix_(left, left), np.ix_(right, right), np.ix_(left, midline), np.ix_(midline, midline)):
        assert (mixing[near] > 0).all()
    assert np.diag(mixing).min() > 0.9
    assert mixing[~np.eye(18, dtype=bool)].max() < 0.2


def test_waveform_keeps_each_wave_in_its_place_and_changes_its_height_and_its_halves():
    times = np.arange(10_000) / 200
    channels = np.tile(40 * np.sin(2 * np.pi * times), (18, 1)).astype(np.float32)
    slope, skew = [], []
    for seed in range(60):
        changed, _ = apply("waveform", channels, seed)
        clear = np.abs(channels) > 1
        assert (np.sign(changed[clear]) == np.sign(channels[clear])).all()
        peak, trough = changed.max(axis=1), -changed.min(axis=1)
        low = np.abs(changed[:, np.abs(np.abs(channels[0]) - 8) < 0.7]).mean(axis=1)
        slope.append(np.median(np.log((peak + trough) / 80) - np.log(low / 8)))
        skew.append(np.median(np.log(peak / trough)))
    assert min(slope) < -0.15 < 0.15 < max(slope)
    assert min(skew) < -0.2 < 0.2 < max(skew)


def test_lag_shifts_channels_by_hundredths_of_a_second_and_sides_together():
    channels = np.zeros((18, 10_000), np.float32)
    channels[:, 5000] = 1
    shifts = np.array([apply("lag", channels, seed)[0].argmax(axis=1) - 5000 for seed in range(200)]) / 200
    assert 0.013 < shifts.std() < 0.025
    assert np.abs(shifts).max() < 0.1
    of_pairs = np.corrcoef(shifts.T)
    assert of_pairs[0, 2:16:2].mean() > 0.5, "channels of one side"
    assert np.abs(of_pairs[0, 1:16:2]).mean() < 0.2, "of the other side"


def test_colour_gives_all_channels_the_same_smooth_gains(channels):
    freqs = np.fft.rfftfreq(10_000, 1 / 200)
    band = (freqs > 0.6) & (freqs < 39)
    gains = []
    for seed in range(30):
        changed, _ = apply("colour", channels, seed)
        ratio = np.log(np.abs(np.fft.rfft(changed)) / np.abs(np.fft.rfft(channels)))[:, band]
        np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:1], ratio.shape), atol=0.02)
        assert np.abs(np.diff(ratio[0][::10]) / np.diff(np.log2(freqs[band][::10]))).max() < 2, "an octave"
        gains.append(ratio[0])
    assert 0.15 < np.std(gains) < 0.4


def test_swell_changes_the_amplitude_over_seconds_and_no_sign(channels):
    changed, _ = apply("swell", channels)
    gain = np.log(changed / channels)
    assert np.abs(np.diff(gain[:, ::20])).max() < 0.15, "in a tenth of a second"
    assert 0.1 < gain.std() < 0.5
    assert gain.mean(axis=0).std() > gain.std(axis=0).mean(), "most of it is the whole head's"


def test_the_labelled_seconds_outlive_other_surroundings(channels):
    changed, _ = apply("crop_and_concatenate", channels)
    np.testing.assert_array_equal(changed[:, 4_000:6_000], channels[:, 4_000:6_000])
    np.testing.assert_array_equal(changed[:, :400], 7)
    np.testing.assert_array_equal(changed[:, -400:], 7)


def test_short_continues_the_central_10_to_20_seconds_by_their_mirror_image(channels):
    lengths = set()
    for seed in range(20):
        changed, _ = apply("short", channels, seed)
        goes_on = [n for n in range(2000, 4001, 2) if (changed[:, 5000 + n // 2] == changed[:, 4999 + n // 2]).all()]
        (n_kept,) = goes_on
        lengths.add(n_kept)
        first = 5000 - n_kept // 2
        kept = changed[:, first : first + n_kept]
        np.testing.assert_allclose(np.median(kept, axis=1), 0, atol=1e-4)
        np.testing.assert_allclose(np.diff(kept), np.diff(channels[:, first : first + n_kept]), atol=1e-3)
        np.testing.assert_array_equal(changed[:, first + n_kept : first + n_kept + 900], kept[:, ::-1][:, :900])
    assert len(lengths) > 10


def test_mixup_mixes_label_and_signal_by_the_same_share(channels):
    changed, shares = apply("mixup", channels)
    np.testing.assert_allclose(changed, channels * (1 - shares[5]) + 7 * shares[5], rtol=1e-4, atol=1e-3)
    assert shares[0] == shares[1] == pytest.approx((1 - shares[5]) / 2)


def test_noise_is_above_the_delta_band_but_for_loose_electrodes(channels):
    added = [apply("noise", np.zeros_like(channels), seed)[0] for seed in range(20)]
    slow = [np.abs(np.fft.rfft(x)[:, 1:200]).max(axis=1) / (np.abs(np.fft.rfft(x)).max(axis=1) + 1e-9) for x in added]
    assert max(int((share > 0.5).sum()) for share in slow) <= 2


def test_chances_decide_how_often_and_the_table_in_what_order(channels):
    drawn = [choose(np.random.default_rng(seed), {"sign": 0.5, "mixup": 1.0, "gain": 0.0}) for seed in range(200)]
    assert {tuple(names) for names in drawn} == {("mixup",), ("mixup", "sign")}
    assert 0.35 < np.mean([len(names) == 2 for names in drawn]) < 0.65
    window = augment(np.random.default_rng(0), (channels, SHARES), lambda: (-channels, OTHER), ["sign", "mirror"])
    np.testing.assert_array_equal(window[0], -channels[MIRROR])
