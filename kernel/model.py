"""A model on disk and in memory: configuration, network and weights.

`weights/<model>/` holds `config.json` (network, inputs, options, calibration) and one `fold_k.weights.h5` per fold. The
weights file is plain HDF5 with one data set per array, in the order of `model.weights`, so it needs no pickle, and it
fits keras-cv's backbone and Keras' own alike. What ships has eight bits a value (`shrink_weights`). Loading compares
every field and every shape with the code, and names what differs.
"""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import scipy.special

from kernel.constants import PRIOR, WINDOW_SAMPLES
from kernel.files import replacing
from kernel.inputs import InputConfig, check_fields, from_json, to_json
from kernel.montage import CHANNELS

FEWEST_SHRUNK = 256
"""An array of fewer values is stored as it is: biases, scales of a normalisation."""


@dataclass(frozen=True)
class ModelConfig:
    """What a model is; `config.json` beside its weights."""

    network: str  # name in `kernel.networks.NETWORKS`
    inputs: tuple[InputConfig, ...]  # what it reads, in the network's order
    options: dict[str, Any] = field(default_factory=dict)
    """Fields of the network's options; what is left out when a configuration is made has its default."""
    temperature: float = 1.0  # log-probabilities are divided by it: above 1 the answers become less sure
    prior_share: float = 0.0  # share of the prior that is mixed into the probabilities, after the temperature

    def __hash__(self) -> int:
        return hash(json.dumps(self.to_json(), sort_keys=True))

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as `config.json` holds it, every option spelled out."""
        from kernel.networks import NETWORKS

        options = dataclasses.asdict(NETWORKS[self.network].options(**self.options))
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return {**values, "inputs": [to_json(config) for config in self.inputs], "options": options}


def write_config(config: ModelConfig, path: Path) -> None:
    """Write `config.json`."""
    with replacing(path) as part:
        part.write_text(json.dumps(config.to_json(), indent=2) + "\n")


def read_model_config(path: Path) -> ModelConfig:
    """Read `config.json` and compare it with the code, field by field, in both directions."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; a model's folder holds config.json beside its weights")
    try:
        values = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error})") from error
    return build_model_config(values, str(path))


def build_model_config(values: dict[str, Any], source: str) -> ModelConfig:
    """Return the configuration that JSON describes in full; `source` names the file in errors."""
    from kernel.networks import NETWORKS

    check_fields(values, ModelConfig, source)
    if values["network"] not in NETWORKS:
        raise ValueError(f"{source}: unknown network {values['network']!r}; this code knows {', '.join(NETWORKS)}")
    check_fields(values["options"], NETWORKS[values["network"]].options, source)
    inputs = tuple(from_json(one, source) for one in values["inputs"])
    options = {name: tuple(v) if isinstance(v, list) else v for name, v in values["options"].items()}
    return ModelConfig(**{**values, "inputs": inputs, "options": options})


def build_model(config: ModelConfig) -> Any:
    """Build the Keras model with random weights: a list of inputs -> probabilities, shape (batch, 6), float32."""
    import keras

    from kernel.networks import NETWORKS

    network = NETWORKS[config.network]
    inputs = [keras.Input(one.shape(len(CHANNELS), WINDOW_SAMPLES)) for one in config.inputs]
    logits = network.build(network.options(**config.options), inputs)
    # Softmax in float32 whatever the precision of the rest.
    return keras.Model(inputs, keras.layers.Softmax(dtype="float32")(logits), name=config.network)


@contextmanager
def writing_h5(path: Path) -> Iterator[h5py.File]:
    """Give an HDF5 file in memory that is written to `path` at the end of the block, whole or not at all.

    A disk that fills while HDF5 itself writes to it can end the process.
    """
    content = io.BytesIO()
    with h5py.File(content, "w", track_order=True) as file:
        yield file
    with replacing(path) as part:
        part.write_bytes(content.getvalue())  # some Pythons 3.12 crash on a buffer that a failed write leaves behind


def write_weights(model: Any, path: Path, dtype: str = "float16") -> None:
    """Write a model's arrays in their order, whole or not at all.

    `float16` halves the file; a value beyond its range is a `ValueError`.
    """
    with writing_h5(path) as file:
        for index, variable in enumerate(model.weights):
            values = np.asarray(keras_array(variable))
            with np.errstate(over="ignore"):
                stored = values.astype(dtype)
            if not np.isfinite(stored).all():
                raise ValueError(f"{path}: {variable.path} does not fit into {dtype}; write float32")
            data = file.create_dataset(f"{index:04d}", data=stored)
            data.attrs["name"] = variable.path


def shrink_weights(path: Path) -> None:
    """Store the large arrays of a weights file in eight bits a value, whole or not at all: half of `float16`.

    Whole numbers from -127 to 127, and an attribute `scale` that they are multiplied by, one for each index of the
    longest axis. What answers lose by it stands in `weights/README.md`. Done again it changes nothing.
    """
    with h5py.File(path) as file, writing_h5(path) as small:
        for name, data in file.items():
            values, scale = data[()], data.attrs.get("scale")
            if scale is None and values.ndim > 1 and values.size > FEWEST_SHRUNK:
                others = tuple(axis for axis in range(values.ndim) if axis != np.argmax(values.shape))
                scale = np.abs(values).max(others, keepdims=True).astype(np.float32) / 127
                values = np.rint(values / np.maximum(scale, np.finfo(np.float32).tiny)).astype(np.int8)
            copy = small.create_dataset(name, data=values)
            copy.attrs["name"] = data.attrs["name"]
            if scale is not None:
                copy.attrs["scale"] = scale


def count_gpus() -> int:
    """Return how many GPUs Keras sees."""
    import keras

    return len(keras.distribution.list_devices("gpu"))


def keras_array(variable: Any) -> np.ndarray:
    """Return a Keras variable's values as NumPy holds them, whatever the backend."""
    import keras

    return keras.ops.convert_to_numpy(variable)


def read_weights(model: Any, path: Path) -> None:
    """Put the arrays of a file into a model; their number, their shapes and finite values are checked first."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such weights")
    try:
        with h5py.File(path) as file:
            arrays = [np.float32(data[()]) * np.float32(data.attrs.get("scale", 1)) for _, data in sorted(file.items())]
    except (OSError, KeyError) as error:
        raise ValueError(f"{path}: not a readable weights file ({error}); copy it again") from error
    if not all(np.isfinite(array).all() for array in arrays):
        raise ValueError(f"{path}: holds NaN or infinities; train this fold again")
    if len(arrays) != len(model.weights):
        raise ValueError(f"{path}: holds {len(arrays)} arrays, {model.name} has {len(model.weights)}; other options?")
    for variable, array in zip(model.weights, arrays, strict=True):
        if tuple(variable.shape) != array.shape:
            raise ValueError(f"{path}: {variable.path} has shape {array.shape}, expected {tuple(variable.shape)}")
    model.set_weights(arrays)


def fold_files(folder: Path) -> list[Path]:
    """Return the weights of a model's folds, in the folds' order."""
    return sorted(folder.glob("fold_*.weights.h5"))


def load_model(config: ModelConfig, weights: Path) -> Any:
    """Build a model and fill it with a fold's weights."""
    model = build_model(config)
    read_weights(model, weights)
    return model


def temper(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Make answers surer, or less sure above 1: divide the log-probabilities (..., 6) by a temperature; float64.

    The temperature is that of Guo et al. 2017, section 4.2.
    """
    logs = np.log(np.clip(probabilities.astype(np.float64), 1e-12, None))
    tempered: np.ndarray = scipy.special.softmax(logs / temperature, axis=-1)
    return tempered


def calibrate(probabilities: np.ndarray, config: ModelConfig) -> np.ndarray:
    """Correct how sure a model's answers are by its temperature, then mix in the prior.

    (n, 6) -> (n, 6), float64, rows that sum to 1.
    """
    tempered = temper(probabilities, config.temperature)
    return (1 - config.prior_share) * tempered + config.prior_share * np.array(PRIOR)
