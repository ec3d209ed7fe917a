"""The EfficientNetV2-B2 backbone, built without internet: keras-cv's class, or Keras' own where keras-cv is missing.

keras-cv's presets go online even for random weights, so its class is called with the architecture's numbers instead.
The two classes have the same 460 arrays in the same order and give the same output: a weights file fits both.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
from keras import ops

EFFICIENTNET_V2_B2: dict[str, Any] = {
    "width_coefficient": 1.1,
    "depth_coefficient": 1.2,
    "stackwise_kernel_sizes": [3, 3, 3, 3, 3, 3],
    "stackwise_num_repeats": [1, 2, 2, 3, 5, 8],
    "stackwise_input_filters": [32, 16, 32, 48, 96, 112],
    "stackwise_output_filters": [16, 32, 48, 96, 112, 192],
    "stackwise_expansion_ratios": [1, 4, 4, 4, 6, 6],
    "stackwise_squeeze_and_excite_ratios": [0, 0, 0, 0.25, 0.25, 0.25],
    "stackwise_strides": [1, 2, 2, 2, 1, 2],
    "stackwise_conv_types": ["fused", "fused", "fused", "unfused", "unfused", "unfused"],
}
"""EfficientNetV2-B2 (Tan & Le 2021), as keras-cv's constructor takes it."""


def efficientnet_v2_b2(shape: tuple[int | None, int | None, int], *, use_keras_cv: bool | None = None) -> Any:
    """Build the EfficientNetV2-B2 backbone with random weights: (height, width, 3) -> features of 1408 channels.

    Each residual branch begins at zero and its block as the short cut (Goyal et al. 2017), without which votes alone
    teach it little in the first thousand steps. `use_keras_cv` forces one of the two classes; None takes keras-cv's
    where it can be imported.
    """
    backbone = _build_backbone(shape, use_keras_cv)
    for weight in backbone.trainable_weights:
        if re.search(r"block\d[b-z]_project_bn/gamma$", weight.path):
            weight.assign(ops.zeros(weight.shape))
    return backbone


def _build_backbone(shape: tuple[int | None, int | None, int], use_keras_cv: bool | None) -> Any:
    if use_keras_cv is not False:
        try:
            import keras_cv

            return keras_cv.models.EfficientNetV2Backbone(
                **EFFICIENTNET_V2_B2, include_rescaling=False, input_shape=shape
            )
        except Exception:  # A frozen package in a moving image may fail in other ways than being absent.
            if use_keras_cv:
                raise
    return keras.applications.EfficientNetV2B2(
        include_top=False, weights=None, include_preprocessing=False, input_shape=shape
    )


def list_preset_paths() -> list[str]:
    """Return the path of each of the 460 arrays in a preset's `model.weights.h5`, in the order of a model's weights.

    Keras names what it saves by class and number: `layers/conv2d/vars/0`, `layers/fused_mb_conv_block_2/bn1/vars/0`.
    """
    norm, kernel, both = 4, 1, 2
    paths = [("conv2d", kernel), ("batch_normalization", norm)]
    counts = {"fused": 0, "unfused": 0}
    names = {"fused": "fused_mb_conv_block", "unfused": "mb_conv_block"}
    stages = zip(
        EFFICIENTNET_V2_B2["stackwise_num_repeats"],
        EFFICIENTNET_V2_B2["stackwise_conv_types"],
        EFFICIENTNET_V2_B2["stackwise_expansion_ratios"],
        strict=True,
    )
    for repeats, kind, expansion in stages:
        for _ in range(math.ceil(EFFICIENTNET_V2_B2["depth_coefficient"] * repeats)):
            block = names[kind] + (f"_{counts[kind]}" if counts[kind] else "")
            counts[kind] += 1
            parts = [("conv1", kernel), ("bn1", norm)] if kind == "unfused" or expansion > 1 else []
            if kind == "unfused":
                parts += [("depthwise", kernel), ("bn2", norm), ("se_conv1", both), ("se_conv2", both)]
            paths += [(f"{block}/{part}", n) for part, n in [*parts, ("output_conv", kernel), ("bn3", norm)]]
    paths += [("conv2d_1", kernel), ("batch_normalization_1", norm)]
    return [f"{path}/vars/{i}" for path, n in paths for i in range(n)]


def read_backbone(path: Path) -> list[np.ndarray]:
    """Read the 460 float32 arrays of an EfficientNetV2-B2 without its top, ImageNet's for example; nothing is fetched.

    `path` is a preset's folder with `model.weights.h5`, as the Kaggle model `keras/efficientnetv2` is mounted, such a
    file itself, or a `.h5` of `keras.applications` (its `efficientnetv2-b2_notop.h5`).
    """
    file = path / "model.weights.h5" if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such weights; give a local .h5 file or a preset's folder")
    model = efficientnet_v2_b2((None, None, 3), use_keras_cv=False)
    try:
        with h5py.File(file) as weights:
            # Keras 2 called the group by its older name.
            groups = [weights[name] for name in ("layers", "_layer_checkpoint_dependencies") if name in weights]
            if groups and "fused_mb_conv_block" in groups[0]:
                arrays = [np.asarray(groups[0][name], np.float32) for name in list_preset_paths()]
                model.set_weights(arrays)
                return arrays
        model.load_weights(str(file))
    except (ValueError, OSError, KeyError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{file}: does not fit EfficientNetV2-B2 without its top ({reason})") from None
    return [np.asarray(array, np.float32) for array in model.get_weights()]


def read_backbone_weights(model: Any, path: Path) -> None:
    """Fill every EfficientNetV2-B2 inside a model from what `read_backbone` reads; one at least must be there."""
    backbones = [layer for layer in model.layers if isinstance(layer, keras.Model) and len(layer.weights) == 460]
    if not backbones:
        raise ValueError(f"{path}: {model.name} has no EfficientNetV2-B2 to start from these weights")
    arrays = read_backbone(path)
    for backbone in backbones:
        backbone.set_weights(arrays)
