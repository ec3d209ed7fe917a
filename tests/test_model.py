"""A model on disk: every difference between the files and the code is named."""

import json

import h5py
import keras
import numpy as np
import pytest

from kernel.constants import PRIOR
from kernel.inputs import RawConfig, build_input, build_raw
from kernel.model import (
    ModelConfig,
    build_model,
    calibrate,
    read_model_config,
    read_weights,
    shrink_weights,
    write_config,
    write_weights,
)
from kernel.scalogram import ScalogramConfig
from tests.conftest import TINY, make_eeg

CONFIG = ModelConfig("scalogram_b2", (ScalogramConfig(stride=4, seconds=(20, 30)),), {"dropout": 0.1}, 1.5, 0.05)


def test_a_configuration_comes_back_as_it_was(tmp_path):
    write_config(CONFIG, tmp_path / "config.json")
    back = read_model_config(tmp_path / "config.json")
    assert back.to_json() == CONFIG.to_json()
    assert back.inputs == CONFIG.inputs
    assert hash(back) == hash(CONFIG)


def change(path, edit):
    values = json.loads(path.read_text())
    edit(values)
    path.write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda v: v.pop("temperature"), "ModelConfig lacks temperature"),
        (lambda v: v.update(bias=1), "ModelConfig has unknown bias"),
        (lambda v: v["inputs"][0].pop("w0"), "ScalogramConfig lacks w0"),
        (lambda v: v["inputs"][0].update(gain=1), "ScalogramConfig has unknown gain"),
        (lambda v: v["inputs"][0].update(kind="picture"), "unknown kind of input 'picture'"),
        (lambda v: v["options"].pop("dropout"), "Options lacks dropout"),
        (lambda v: v["options"].update(depth=3), "Options has unknown depth"),
        (lambda v: v.update(network="resnet"), "unknown network 'resnet'"),
    ],
)
def test_every_field_that_differs_is_named(tmp_path, edit, message):
    path = tmp_path / "config.json"
    write_config(CONFIG, path)
    change(path, edit)
    with pytest.raises(ValueError, match=f"{path}: .*{message}"):
        read_model_config(path)


def test_a_damaged_or_missing_configuration_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json: no such file"):
        read_model_config(tmp_path / "config.json")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json: not JSON"):
        read_model_config(tmp_path / "config.json")


@pytest.fixture(scope="module")
def small():
    keras.utils.set_random_seed(0)
    layers = [keras.Input((8,)), keras.layers.Dense(16), keras.layers.BatchNormalization(), keras.layers.Dense(6)]
    return keras.Sequential(layers, name="small")


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 0), ("float16", 1e-3)])
def test_weights_come_back(small, tmp_path, dtype, tolerance):
    before = small.get_weights()
    write_weights(small, tmp_path / "fold_0.weights.h5", dtype)
    small.set_weights([np.zeros_like(array) for array in before])
    read_weights(small, tmp_path / "fold_0.weights.h5")
    for array, expected in zip(small.get_weights(), before, strict=True):
        np.testing.assert_allclose(array, expected, atol=tolerance)
    assert [path.name for path in tmp_path.iterdir()] == ["fold_0.weights.h5"]


def test_shrunk_weights_are_half_as_large_and_answer_nearly_alike(tmp_path):
    keras.utils.set_random_seed(0)
    entry = keras.Input((1, 50, 40))
    features = keras.layers.DepthwiseConv2D((1, 5), activation="relu")(keras.layers.Conv2D(300, (1, 5))(entry))
    features = keras.layers.GlobalAveragePooling2D()(features)
    model = keras.Model(entry, keras.layers.Dense(6, activation="softmax")(features))
    path = tmp_path / "fold_0.weights.h5"
    write_weights(model, path)
    size, before = path.stat().st_size, model.get_weights()
    window = 3 * np.random.default_rng(0).normal(size=(4, 1, 50, 40)).astype(np.float32)
    answers = np.asarray(model(window))
    shrink_weights(path)
    assert path.stat().st_size < 0.6 * size
    once = path.read_bytes()
    shrink_weights(path)
    assert path.read_bytes() == once
    model.set_weights([np.zeros_like(array) for array in before])
    read_weights(model, path)
    np.testing.assert_allclose(np.asarray(model(window)), answers, atol=3e-3)
    for array, expected in zip(model.get_weights(), before, strict=True):
        half_a_step = np.abs(expected).max() * (1 / 254 + 2**-11)  # of the whole numbers, and of float16 before them
        np.testing.assert_allclose(array, expected, atol=half_a_step + 1e-9)
    assert [path.name for path in tmp_path.iterdir()] == ["fold_0.weights.h5"]


def test_weights_that_do_not_fit_are_named(small, tmp_path):
    path = tmp_path / "fold_0.weights.h5"
    with pytest.raises(FileNotFoundError, match="no such weights"):
        read_weights(small, path)
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(ValueError, match="not a readable weights file"):
        read_weights(small, path)
    write_weights(small, path)
    with h5py.File(path, "a") as file:
        name = sorted(file)[0]
        del file[name]
        file[name] = np.zeros((8, 17))
    with pytest.raises(ValueError, match=r"kernel has shape \(8, 17\), expected \(8, 16\)"):
        read_weights(small, path)
    with h5py.File(path, "a") as file:
        del file[name]
    with pytest.raises(ValueError, match="holds 7 arrays, small has 8"):
        read_weights(small, path)


def test_a_value_beyond_float16_is_refused(small, tmp_path):
    before = small.get_weights()
    small.set_weights([before[0] + 1e6, *before[1:]])
    with pytest.raises(ValueError, match="does not fit into float16"):
        write_weights(small, tmp_path / "fold_0.weights.h5")
    small.set_weights(before)


def test_a_model_takes_what_its_inputs_say_and_answers_with_probabilities():
    model = build_model(TINY)
    channels = make_eeg()[:18]
    answer = model.predict_on_batch([build_input(channels, one)[None] for one in TINY.inputs])
    assert answer.shape == (1, 6)
    assert answer.dtype == np.float32
    np.testing.assert_allclose(answer.sum(axis=1), 1, rtol=1e-5)


def test_calibration():
    sure = np.array([[1.0, 0, 0, 0, 0, 0], [0.5, 0.5, 0, 0, 0, 0]])
    plain = ModelConfig("scalogram_b2", ())
    np.testing.assert_allclose(calibrate(sure, plain), sure, atol=1e-9)
    np.testing.assert_allclose(calibrate(sure, ModelConfig("scalogram_b2", (), prior_share=1.0)), [PRIOR, PRIOR])
    shares = np.array([[0.7, 0.1, 0.05, 0.05, 0.05, 0.05]])
    softer = calibrate(shares, ModelConfig("scalogram_b2", (), temperature=2.0))
    np.testing.assert_allclose(softer, np.sqrt(shares) / np.sqrt(shares).sum())


def test_the_raw_signal_is_filtered_without_delay():
    time = np.arange(10_000) / 200
    config = RawConfig(compression="none", unit=1.0)
    for freq, gain in ((0.05, 0.0), (5.0, 1.0), (20.0, 1.0), (70.0, 0.0)):
        tone = 50 * np.sin(2 * np.pi * freq * time)[None]
        found = build_raw(tone.astype(np.float32), config)[0]
        assert found.shape == (5_000,)
        np.testing.assert_allclose(found[1_000:4_000], gain * tone[0, 2_000:8_000:2], atol=0.6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"f_max": 60.0}, "f_max"), ({"compression": "log"}, "'log'"), ({"unit": 0.0}, "positive")],
)
def test_a_wrong_raw_configuration_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        RawConfig(**fields)
