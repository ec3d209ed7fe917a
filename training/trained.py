"""The folder of a trained model, its one definition: written fold by fold, verified before it ships.

config.json           network, inputs, options, and the calibration that fits the rows out of fold
fold_k.weights.h5     best epoch of fold k, float16; eight bits a value once it ships
metrics.json          recipe, data, each epoch of each fold, sha256 of its weights, out-of-fold score
out_of_fold.csv       every validated row, predicted by the fold that did not see its patient, not calibrated
folds.csv             which recording is in which fold; empty for windows drawn without end, each a patient
curves.png            loss and validation KL
.unfinished/          states of folds under way
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from kernel.constants import VOTES, WINDOW_SAMPLES
from kernel.files import replacing
from kernel.inputs import build_input
from kernel.model import (
    ModelConfig,
    build_model,
    calibrate,
    fold_files,
    keras_array,
    read_model_config,
    read_weights,
    shrink_weights,
)
from kernel.montage import CHANNELS
from training.evaluation import PREDICTED, describe_table
from training.metric import kl_per_row

FOLDS, METRICS, OUT_OF_FOLD, UNFINISHED = "folds.csv", "metrics.json", "out_of_fold.csv", ".unfinished"


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A verified model."""

    folder: Path
    metrics: dict[str, Any]
    out_of_fold: pd.DataFrame
    """As on disk, but calibrated."""

    @property
    def name(self) -> str:
        """Return what the model is called: its folder's name."""
        return self.folder.name

    def describe(self) -> str:
        """Return the model in one line."""
        done, kl = len(self.metrics["folds"]), self.metrics["out_of_fold"]["kl"]
        folds = f"{done} of {self.metrics['recipe']['folds']} folds"
        return f"{folds}, KL {kl:.3f} over {len(self.out_of_fold)} rows out of fold of {self.metrics['data']}"


def verify_model(folder: Path) -> TrainedModel:
    """Verify that a folder holds a model that can answer, and the rows that say how well.

    The configuration is held against the code field by field; each fold's weights against the hash that its training
    recorded, the network's shapes, and a window of noise; the out-of-fold rows against their recorded score. What is
    missing is a FileNotFoundError; what is damaged, does not fit or is still being trained, a ValueError.
    """
    config = read_model_config(folder / "config.json")
    metrics, files = read_metrics(folder), {str(fold_number(file)): file for file in fold_files(folder)}
    if not files:
        raise FileNotFoundError(f"{folder}: no fold_*.weights.h5; train the model first")
    if (folder / UNFINISHED).is_dir():
        raise ValueError(f"{folder}: a fold is not finished; run the same `train` again, or remove {UNFINISHED} there")
    if files.keys() != metrics["folds"].keys():
        raise ValueError(
            f"{folder}: has the weights of folds {', '.join(files)}, and {METRICS} tells of "
            f"{', '.join(metrics['folds']) or 'none'}; train or remove what is missing"
        )
    for fold, file in files.items():
        if metrics["folds"][fold].get("sha256") not in (None, hash_file(file)):
            raise ValueError(
                f"{file}: not the file that was trained (its sha256 differs from {METRICS}); copy it again"
            )
    noise = np.random.default_rng(0).normal(0, 30, (len(CHANNELS), WINDOW_SAMPLES)).astype(np.float32)
    for file, answer in zip(files.values(), answer_window(folder, noise), strict=True):
        if not np.isclose(answer.sum(), 1, atol=1e-5):
            raise ValueError(f"{file}: answers noise with {answer}, which are no probabilities; train it again")
    table, recorded = read_out_of_fold(folder, config), metrics["out_of_fold"]["kl"]
    kl = kl_per_row(table[list(VOTES)].to_numpy(), table[list(PREDICTED)].to_numpy()).mean()
    if {str(fold) for fold in table["fold"]} != metrics["folds"].keys() or not np.isclose(kl, recorded, atol=1e-3):
        raise ValueError(f"{folder / OUT_OF_FOLD}: its rows score {kl:.4f}, {METRICS} says {recorded}; copy both again")
    return TrainedModel(folder, metrics, table)


def answer_window(folder: Path, channels: np.ndarray) -> np.ndarray:
    """Return what each fold of a model answers to a window's channels, before calibration: (n_folds, 6), float32."""
    config = read_model_config(folder / "config.json")
    model = build_model(config)
    inputs = [build_input(channels, one)[None] for one in config.inputs]
    answers = []
    for file in fold_files(folder):
        read_weights(model, file)
        answers.append(keras_array(model(inputs, training=False))[0])
    return np.array(answers, np.float32)


def read_out_of_fold(folder: Path, config: ModelConfig | None = None) -> pd.DataFrame:
    """Return eeg_id, patient_id, fold, the votes' shares and the predictions, calibrated where `config` is given."""
    path = folder / OUT_OF_FOLD
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; without it nothing tells what the model is worth")
    table = pd.read_csv(path)
    missing = [name for name in ("eeg_id", "patient_id", "fold", *VOTES, *PREDICTED) if name not in table]
    if missing:
        raise ValueError(f"{path}: lacks the columns {', '.join(missing)}; copy it again")
    if config:
        table[list(PREDICTED)] = calibrate(table[list(PREDICTED)].to_numpy(), config)
    return table


def write_out_of_fold(
    folder: Path, rows: pd.DataFrame, fold: int, shares: np.ndarray, probabilities: np.ndarray
) -> None:
    """Put a fold's rows into the table in place of what it had."""
    path = folder / OUT_OF_FOLD
    table = rows[["eeg_id", "patient_id"]].reset_index(drop=True).assign(fold=fold)
    table[list(VOTES)], table[list(PREDICTED)] = shares, probabilities
    if path.is_file():
        before = pd.read_csv(path)
        table = pd.concat([before[before["fold"] != fold], table]).sort_values("fold", kind="stable")
    _write_rows(folder, table)


def _write_rows(folder: Path, table: pd.DataFrame) -> None:
    """Write the table of rows out of fold."""
    with replacing(folder / OUT_OF_FOLD) as part:
        table.to_csv(part, index=False, float_format="%.7g")


def keep_folds(folder: Path, folds: list[int]) -> None:
    """Remove a model's other folds, and their rows and scores; `folds.csv` still says what each has heard."""
    metrics, table = read_metrics(folder), read_out_of_fold(folder)
    for file in fold_files(folder):
        if fold_number(file) not in folds:
            file.unlink()
    _write_rows(folder, table[table["fold"].isin(folds)])
    calibrated = read_out_of_fold(folder, read_model_config(folder / "config.json"))
    metrics["folds"] = {fold: one for fold, one in metrics["folds"].items() if int(fold) in folds}
    metrics["out_of_fold"] = describe_table(calibrated)
    write_metrics(metrics, folder)


def shrink_folds(folder: Path) -> None:
    """Store a model's weights in eight bits a value, with their new hashes."""
    metrics = read_metrics(folder)
    for file in fold_files(folder):
        shrink_weights(file)
        metrics["folds"][str(fold_number(file))]["sha256"] = hash_file(file)
    write_metrics(metrics, folder)


def read_metrics(folder: Path) -> dict[str, Any]:
    """Read `metrics.json`; it is a FileNotFoundError where it is missing, a ValueError where it is damaged."""
    return read_fields(folder / METRICS, {"recipe", "data", "folds", "out_of_fold"}, "the metrics of a training")


def read_fields(path: Path, fields: set[str], what: str) -> dict[str, Any]:
    """Read a JSON object that must have some fields; `what` names it in errors."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; it would hold {what}")
    try:
        content = json.loads(path.read_text())
        if content.keys() >= fields:
            return dict(content)
        reason = f"has the fields {', '.join(content)}"
    except (ValueError, AttributeError) as error:
        reason = str(error)
    raise ValueError(f"{path}: not {what} ({reason}); copy it again")


def write_metrics(metrics: dict[str, Any], folder: Path) -> None:
    """Write `metrics.json`."""
    with replacing(folder / METRICS) as part:
        part.write_text(json.dumps(metrics, indent=1) + "\n")


def write_folds(folds: pd.DataFrame, folder: Path) -> None:
    """Write which recording is in which fold: who evaluates the model knows what each fold has seen."""
    with replacing(folder / FOLDS) as part:
        folds.drop_duplicates().to_csv(part, index=False)


def read_folds(folder: Path) -> pd.DataFrame | None:
    """Return eeg_id, patient_id and fold of all recordings that a model was trained on; None where nothing says so."""
    return pd.read_csv(folder / FOLDS, dtype=np.int64) if (folder / FOLDS).is_file() else None


def fold_number(file: Path) -> int:
    """Return which fold a weights file is of."""
    return int(file.name.split(".")[0].removeprefix("fold_"))


def hash_file(path: Path) -> str:
    """Return a file's sha256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
