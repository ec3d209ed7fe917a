"""Writes random weights in the files of the Kaggle model `keras/efficientnetv2`, for a rehearsal to mount."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import keras
import numpy as np

from kernel.efficientnet import efficientnet_v2_b2, list_preset_paths
from kernel.files import replacing_folder


def write_preset(folder: Path, seed: int = 0) -> list[np.ndarray]:
    """Write an EfficientNetV2-B2 of random weights, and return its 460 arrays in the model's order.

    None of them is as in a new network, where residual branches are silent.
    """
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    fresh = efficientnet_v2_b2((None, None, 3), use_keras_cv=False).get_weights()
    arrays = [array + rng.uniform(0.05, 0.15, array.shape).astype(np.float32) for array in fresh]
    with replacing_folder(folder, "metadata.json") as part:
        with h5py.File(part / "model.weights.h5", "w") as file:
            for path, array in zip(list_preset_paths(), arrays, strict=True):
                file[f"layers/{path}"] = array
        (part / "metadata.json").write_text(json.dumps({"keras_version": keras.version()}))
    return arrays
