"""The transform against the closed form, computed here in another way: in the time domain, in float64."""

from pathlib import Path

import numpy as np
import pytest
import pywt

from kernel.scalogram import ScalogramConfig, build_magnitude, build_scalogram, compress
from tests.conftest import make_eeg

GOLDEN = Path(__file__).parent / "golden" / "scalogram.npz"
LINEAR = ScalogramConfig(compression="none", unit=1.0, clip=1e6)


def closed_form(signal: np.ndarray, freq: float, w0: float, samples: np.ndarray) -> np.ndarray:
    """|x * h| at some samples, h(t) the inverse Fourier transform of the Gaussian: nothing of the code under test."""
    times = (samples[:, None] - np.arange(len(signal))[None, :]) / 200
    gauss = np.exp(-0.5 * (2 * np.pi * freq * times / w0) ** 2)
    wavelet = 2 * freq / w0 * np.sqrt(2 * np.pi) * gauss * np.exp(2j * np.pi * freq * times)
    return np.abs(wavelet @ signal.astype(np.float64)) / 200


def golden_signal() -> np.ndarray:
    time = np.arange(4000) / 200
    chirp = 50 * np.sin(2 * np.pi * (0.5 * time + 0.7 * time**2))
    return np.stack([chirp, np.where((time > 5) & (time < 5.05), 300.0, 0.0), 20 * np.sign(np.sin(2 * np.pi * time))])


@pytest.mark.parametrize("w0", [7.0, 11.75])
@pytest.mark.parametrize("n_times", [10_000, 2_000, 3_333])
def test_agrees_with_the_closed_form_edges_included(w0, n_times):
    config = ScalogramConfig(w0=w0, compression="none", unit=1.0)
    channels = make_eeg(n_times)[:3]
    magnitude = build_magnitude(channels, config)
    frames = np.unique(np.r_[0:6, np.linspace(0, magnitude.shape[2] - 1, 30).astype(int), -6:0] % magnitude.shape[2])
    for row in range(0, config.n_freqs, 3):
        for channel in range(len(channels)):
            expected = closed_form(channels[channel], config.freqs[row], w0, frames * config.stride)
            error = np.abs(magnitude[channel, row, frames] - expected).max()
            assert error <= 1e-5 * magnitude[channel, row].max(), (config.freqs[row], channel)


@pytest.mark.parametrize("config", [LINEAR, ScalogramConfig(stride=4, seconds=(5, 15)), ScalogramConfig(w0=11.75)])
def test_golden_file(config):
    """The golden file comes from `closed_form`; `python -m tests.test_scalogram` writes it anew."""
    with np.load(GOLDEN) as golden:
        expected = golden[f"w{config.w0}-s{config.stride}"]
    found = build_magnitude(golden_signal(), config)[:, ::5, ::10]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * expected.max())


@pytest.mark.parametrize("row", [0, 7, 20, 33, 39])
def test_a_cosine_peaks_in_its_row_with_its_amplitude(row):
    freq = ScalogramConfig().freqs[row]
    cosine = 80 * np.cos(2 * np.pi * freq * np.arange(10_000) / 200)[None]
    middle = build_magnitude(cosine, LINEAR)[0, :, 300]
    assert middle.argmax() == row
    assert middle[row] == pytest.approx(80, rel=1e-4)


def test_agrees_with_pywavelets_in_shape():
    """PyWavelets integrates a sampled wavelet: its rows are a few per cent off in gain and shape, no more."""
    config = ScalogramConfig()
    bandwidth = 2 * (config.w0 / (2 * np.pi)) ** 2
    signal = make_eeg()[0]
    scales = pywt.frequency2scale(f"cmor{bandwidth}-1", config.freqs / 200)
    theirs, freqs = pywt.cwt(signal, scales, f"cmor{bandwidth}-1", sampling_period=1 / 200, method="fft")
    np.testing.assert_allclose(freqs, config.freqs, rtol=1e-6)
    theirs = np.abs(theirs[:, ::16])
    ours = build_magnitude(signal[None], config)[0]
    for row in range(config.n_freqs):
        inside = slice(60, -60)
        assert np.corrcoef(theirs[row, inside], ours[row, inside])[0, 1] > 0.99, config.freqs[row]


def test_a_channel_does_not_depend_on_its_neighbours():
    channels = make_eeg()[:18]
    config = ScalogramConfig()
    whole = build_scalogram(channels, config)
    noisy = channels.copy()
    noisy[1:] = 1000 * np.random.default_rng(1).standard_normal(noisy[1:].shape)
    np.testing.assert_array_equal(build_scalogram(noisy, config)[0], whole[0])
    np.testing.assert_array_equal(build_scalogram(channels, config), whole)


def test_shapes():
    assert build_scalogram(make_eeg()[:18], ScalogramConfig()).shape == (18, 40, 625)
    zoom = ScalogramConfig(stride=4, seconds=(20, 30))
    found = build_scalogram(make_eeg()[:2], zoom)
    assert found.shape == zoom.shape(2, 10_000) == (2, 40, 500)
    full = build_scalogram(make_eeg()[:2], ScalogramConfig(stride=4))
    np.testing.assert_array_equal(found, full[:, :, 1000:1500])


def test_clip_bounds_what_an_artefact_can_do():
    wild = make_eeg()[:1].copy()
    wild[0, 5000] = 1e9
    for config in (ScalogramConfig(), ScalogramConfig(clip=1024.0)):
        assert build_magnitude(wild, config).max() < config.clip


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (ScalogramConfig(compression="log", unit=2.0), np.log1p([0, 0.5, 50])),
        (ScalogramConfig(compression="power", unit=2.0, exponent=0.5), np.sqrt([0, 0.5, 50])),
        (ScalogramConfig(compression="none", unit=2.0), [0, 0.5, 50]),
    ],
)
def test_compression_uses_constants_only(config, expected):
    np.testing.assert_allclose(compress(np.array([0, 1, 100], np.float32), config), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"w0": 5.0}, "w0 must exceed"),
        ({"f_min": 0.0}, "f_min"),
        ({"f_max": 120.0}, "f_max"),
        ({"n_freqs": 1}, "n_freqs"),
        ({"stride": 0}, "stride"),
        ({"unit": 0.0}, "positive"),
        ({"spacing": "mel"}, "'mel'"),
        ({"compression": "zip"}, "'zip'"),
        ({"seconds": (30, 20)}, "seconds"),
    ],
)
def test_a_wrong_configuration_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        ScalogramConfig(**fields)


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="repair them first"):
        build_magnitude(np.full((2, 100), np.nan, np.float32), ScalogramConfig())
    with pytest.raises(ValueError, match="shape"):
        build_magnitude(np.zeros(100, np.float32), ScalogramConfig())


def write_golden() -> None:
    """Write the golden file from the closed form."""
    arrays = {}
    for config in (LINEAR, ScalogramConfig(stride=4, seconds=(5, 15)), ScalogramConfig(w0=11.75)):
        signal = golden_signal().clip(-config.clip, config.clip)
        frames = np.arange(len(signal[0]) // config.stride)[config.kept_frames(4000)][::10] * config.stride
        rows = [[closed_form(one, f, config.w0, frames) for f in config.freqs[::5]] for one in signal]
        arrays[f"w{config.w0}-s{config.stride}"] = np.array(rows, np.float32)
    GOLDEN.parent.mkdir(exist_ok=True)
    np.savez_compressed(GOLDEN, **arrays)


if __name__ == "__main__":
    write_golden()
