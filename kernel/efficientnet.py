"""The EfficientNetV2-B2 backbone, built without internet: keras-cv's class, or Keras' own where keras-cv is missing.

keras-cv's presets go online even for random weights, so its class is called with the architecture's numbers instead.
The two classes have the same 460 arrays in the same order and give the same output: a weights file fits both.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

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

    `use_keras_cv` forces one of the two classes; None takes keras-cv's where it can be imported.
    """
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


def read_backbone_weights(model: Any, path: Path) -> None:
    """Fill every EfficientNetV2-B2 inside a model from a local file, ImageNet's for example.

    Parameters
    ----------
    model : keras.Model
        A model with at least one EfficientNetV2-B2 among its layers.
    path : Path
        A `.h5` of `keras.applications` (its `efficientnetv2-b2_notop.h5`), a `.weights.h5` of either implementation, or
        a keras-cv preset's folder with `model.weights.h5`. Nothing is fetched.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the model has no such backbone, or the file does not fit it.
    """
    file = path / "model.weights.h5" if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such weights; give a local .h5 file or a preset's folder")
    backbones = [layer for layer in model.layers if isinstance(layer, keras.Model) and len(layer.weights) == 460]
    if not backbones:
        raise ValueError(f"{file}: {model.name} has no EfficientNetV2-B2 to start from these weights")
    problems = []
    for use_keras_cv in (False, True):
        try:
            source = efficientnet_v2_b2((None, None, 3), use_keras_cv=use_keras_cv)
            source.load_weights(str(file))
            break
        except (ImportError, ValueError, OSError, KeyError) as error:
            problems.append(str(error).splitlines()[0])
    else:
        raise ValueError(f"{file}: does not fit EfficientNetV2-B2 without its top ({'; '.join(problems)})")
    for backbone in backbones:
        backbone.set_weights(source.get_weights())
