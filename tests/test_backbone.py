"""ImageNet weights from a folder in exactly the format of the Kaggle model: read as keras-cv reads them, without it."""

import json

import h5py
import numpy as np
import pytest

from kernel.efficientnet import EFFICIENTNET_V2_B2, efficientnet_v2_b2, list_preset_paths, read_backbone
from training.preset import write_preset

CONFIG = {
    "module": "keras_cv.src.models.backbones.efficientnet_v2.efficientnet_v2_backbone",
    "class_name": "EfficientNetV2Backbone",
    "config": {
        "name": "efficient_net_v2_backbone",
        "trainable": True,
        "include_rescaling": True,
        "skip_connection_dropout": 0.2,
        "depth_divisor": 8,
        "min_depth": 8,
        "activation": "swish",
        "input_shape": [None, None, 3],
        "input_tensor": None,
        **EFFICIENTNET_V2_B2,
    },
    "registered_name": "keras_cv>EfficientNetV2Backbone",
    "weights": "model.weights.h5",
}
"""What keras-cv writes beside the weights, and reads to load them as one of its own."""


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "keras" / "efficientnetv2" / "2"
    folder.parent.mkdir(parents=True)
    return folder, write_preset(folder, seed=3)


@pytest.fixture(scope="module")
def theirs(preset):
    """Load the preset by keras-cv."""
    presets = pytest.importorskip("keras_cv.src.utils.preset_utils")
    (preset[0] / "config.json").write_text(json.dumps(CONFIG))
    return presets.load_from_preset(str(preset[0]))


def test_a_mounted_preset_is_read(preset):
    for found, expected in zip(read_backbone(preset[0]), preset[1], strict=True):
        np.testing.assert_array_equal(found, expected)


def test_keras_cv_reads_it_alike(preset, theirs):
    folder, arrays = preset
    for found, expected in zip(theirs.get_weights(), arrays, strict=True):
        np.testing.assert_array_equal(found, expected)

    # Their picture is scaled from 0..255 inside, ours comes scaled.
    own = efficientnet_v2_b2((None, None, 3), use_keras_cv=False)
    own.set_weights(read_backbone(folder))
    picture = np.random.default_rng(0).random((1, 64, 64, 3), np.float32)
    np.testing.assert_allclose(own(picture), theirs(255 * picture), atol=1e-6)


def test_what_keras_cv_saves_is_read(preset, theirs, tmp_path):
    presets = pytest.importorskip("keras_cv.src.utils.preset_utils")
    presets.save_to_preset(theirs, str(tmp_path))
    with h5py.File(tmp_path / "model.weights.h5") as file, h5py.File(preset[0] / "model.weights.h5") as ours:
        assert {path for path in list_preset_paths() if f"layers/{path}" in file} == set(list_preset_paths())
        assert all(f"layers/{path}" in ours for path in list_preset_paths())
    for found, expected in zip(read_backbone(tmp_path), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_other_files_are_refused_by_name(preset, tmp_path):
    folder, arrays = preset
    with h5py.File(folder / "model.weights.h5") as source, h5py.File(tmp_path / "old.h5", "w") as file:
        source.copy("layers", file, "_layer_checkpoint_dependencies")
    assert len(read_backbone(tmp_path / "old.h5")) == len(arrays) == 460  # as Keras 2 named it
    with h5py.File(tmp_path / "old.h5", "a") as file:
        del file["_layer_checkpoint_dependencies/mb_conv_block_4"]
    with pytest.raises(ValueError, match=r"old\.h5: does not fit EfficientNetV2-B2 without its top"):
        read_backbone(tmp_path / "old.h5")
    with h5py.File(folder / "model.weights.h5") as source, h5py.File(tmp_path / "wide.h5", "w") as file:
        source.copy("layers", file)
        del file["layers/conv2d/vars/0"]
        file["layers/conv2d/vars/0"] = np.zeros((3, 3, 3, 64), np.float32)
    with pytest.raises(ValueError, match=r"wide\.h5: does not fit"):
        read_backbone(tmp_path / "wide.h5")
    with pytest.raises(FileNotFoundError, match=r"model\.weights\.h5: no such weights"):
        read_backbone(tmp_path)
