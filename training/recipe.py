"""How a model is trained, as JSON: `training/recipes/<model>.json` holds a model's configuration and its recipe.

Read by `build.py train`; a copy is written beside the weights. Every field has its default here, so a recipe's file
says only what is particular about it, while the copy beside the weights spells everything out.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kernel.inputs import KINDS, InputConfig, check_fields
from kernel.model import ModelConfig
from kernel.networks import NETWORKS
from training.augmentation import AUGMENTATIONS

FOLDER = Path(__file__).with_name("recipes")


@dataclass(frozen=True)
class Stage:
    """A part of a training: which rows, for how long, how fast."""

    name: str
    epochs: int
    learning_rate: float
    """The highest of the stage: it rises from zero over the first tenth and falls to zero along a cosine."""
    min_votes: int = 1
    """Only rows with as many votes."""
    min_top_share: float = 0.0
    """Only rows whose leading class has this share of the votes: 0.9 is the seed's "ideal" cases."""
    weight_by_votes: bool = False
    """Rows weigh in proportion to their votes, 20 votes counting as one."""
    windows: int | None = None
    """Windows in an epoch, drawn anew each time; None for all."""

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.learning_rate <= 0 or (self.windows is not None and self.windows < 1):
            raise ValueError(f"stage {self.name!r}: epochs, learning_rate and windows must be positive")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training but the data."""

    stages: tuple[Stage, ...]
    augmentation: dict[str, float] = field(default_factory=dict)
    """Probability of each augmentation, by its name in `training.augmentation`."""
    batch_size: int = 32
    weight_decay: float = 0.01
    ema_momentum: float = 0.99
    """Of the moving average of the weights, which is what is validated and kept; 0 for none."""
    prior_votes: float = 1.0
    """Label smoothing: so many votes cast by the prior are added to each row's."""
    shift_seconds: float = 1.0
    """A window starts up to this much earlier or later than its row says, inside the recording."""
    precision: str = "float32"
    """Keras' name: float32, mixed_float16 (GPU), mixed_bfloat16 (GPU, or a CPU with AMX)."""
    folds: int = 5
    validation_windows: int | None = None
    """At most so many windows are validated after each epoch; None for all."""
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = sorted(self.augmentation.keys() - AUGMENTATIONS.keys())
        if unknown:
            raise ValueError(f"unknown augmentation {', '.join(unknown)}; this code knows {', '.join(AUGMENTATIONS)}")
        if not all(0 <= share <= 1 for share in self.augmentation.values()):
            raise ValueError("augmentation: each name needs a probability between 0 and 1")
        if self.precision not in ("float32", "mixed_float16", "mixed_bfloat16"):
            raise ValueError(f"precision must be float32, mixed_float16 or mixed_bfloat16, found {self.precision!r}")
        if not self.stages or self.batch_size < 1 or self.folds < 2 or not 0 <= self.ema_momentum < 1:
            raise ValueError("a recipe needs a stage, a batch_size of at least 1, 2 folds and 0 <= ema_momentum < 1")

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as JSON holds it."""
        return dataclasses.asdict(self)


def recipe_names() -> list[str]:
    """Return the models that have a recipe here."""
    return sorted(path.stem for path in FOLDER.glob("*.json"))


def read_recipe(name: str, changes: list[str] | None = None) -> tuple[ModelConfig, Recipe]:
    """Read a recipe by its name, or by the path of a JSON file, and apply changes such as `recipe.batch_size=64`.

    Raises
    ------
    FileNotFoundError
        If there is no such recipe.
    ValueError
        If the file is no JSON, has unknown fields, or a change names none of its fields.
    """
    path = Path(name) if name.endswith(".json") else FOLDER / f"{name}.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such recipe; there are {', '.join(recipe_names())}")
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error})") from error
    for change in changes or []:
        _apply(content, change)
    if content.keys() != {"model", "recipe"}:
        raise ValueError(f"{path}: needs the fields model and recipe, found {', '.join(content)}")
    return _read_model(content["model"], str(path)), _read_training(content["recipe"], str(path))


def _apply(content: dict[str, Any], change: str) -> None:
    """Set one field: `recipe.stages.0.epochs=3`; the value is JSON, or text where it is none."""
    where, separator, value = change.partition("=")
    *parents, last = where.split(".")
    place: Any = content
    try:
        for parent in parents:
            place = place[int(parent)] if isinstance(place, list) else place.setdefault(parent, {})
        parsed: Any = json.loads(value)
    except ValueError:
        parsed = value
    except (IndexError, AttributeError):
        separator = ""
    if not separator or not isinstance(place, dict):
        raise ValueError(f"--set {change}: expected a field of the recipe's file and a value: recipe.batch_size=64")
    place[last] = parsed


def _read_model(values: dict[str, Any], source: str) -> ModelConfig:
    if values.get("network") not in NETWORKS:
        raise ValueError(f"{source}: unknown network {values.get('network')!r}; this code knows {', '.join(NETWORKS)}")
    inputs = tuple(_read_input(one, source) for one in values.get("inputs", []))
    options = _build(NETWORKS[values["network"]].options, values.get("options", {}), source)
    calibration = {name: value for name, value in values.items() if name not in ("network", "inputs", "options")}
    return _build(
        ModelConfig,
        {**calibration, "network": values["network"], "inputs": inputs, "options": dataclasses.asdict(options)},
        source,
    )


def _read_input(values: dict[str, Any], source: str) -> InputConfig:
    kind = values.get("kind")
    if kind not in KINDS:
        raise ValueError(f"{source}: unknown kind of input {kind!r}; this code knows {', '.join(KINDS)}")
    return _build(KINDS[kind], {name: value for name, value in values.items() if name != "kind"}, source)


def _read_training(values: dict[str, Any], source: str) -> Recipe:
    stages = tuple(_build(Stage, stage, source) for stage in values.get("stages", []))
    return _build(Recipe, {**values, "stages": stages}, source)


def _build(type_: Any, values: dict[str, Any], source: str) -> Any:
    """Build a dataclass from some of its fields; JSON's lists become tuples."""
    fields = {f.name: f for f in dataclasses.fields(type_)}
    unset = [f.name for f in fields.values() if _has_default(f) and f.name not in values]
    check_fields({**values, **dict.fromkeys(unset)}, type_, source)
    return type_(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


def _has_default(one: dataclasses.Field[Any]) -> bool:
    return one.default is not dataclasses.MISSING or one.default_factory is not dataclasses.MISSING
