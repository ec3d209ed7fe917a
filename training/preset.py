"""Writes an EfficientNetV2-B2 as the Kaggle model `keras/efficientnetv2` holds it, for a rehearsal to mount.

The folder is that of a keras-cv preset, its `config.json`, `metadata.json` and `model.weights.h5`, whose arrays lie
under the names that Keras gives them; keras-cv loads it as one of its own.
"""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import keras
import numpy as np

from kernel.efficientnet import EFFICIENTNET_V2_B2, efficientnet_v2_b2, list_preset_paths
from kernel.files import replacing_folder

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


def write_preset(folder: Path, seed: int = 0) -> list[np.ndarray]:
    """Write a preset of random weights, and return its 460 arrays in the model's order."""
    keras.utils.set_random_seed(seed)
    arrays: list[np.ndarray] = efficientnet_v2_b2((None, None, 3), use_keras_cv=False).get_weights()
    with replacing_folder(folder, "metadata.json") as part:
        with h5py.File(part / "model.weights.h5", "w") as file:
            for path, array in zip(list_preset_paths(), arrays, strict=True):
                file[f"layers/{path}"] = array
        (part / "config.json").write_text(json.dumps(CONFIG, indent=4))
        metadata = {"keras_version": keras.version(), "parameter_count": sum(array.size for array in arrays)}
        (part / "metadata.json").write_text(json.dumps(metadata, indent=4))
    return arrays
