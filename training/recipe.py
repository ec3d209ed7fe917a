"""How a model is trained, as JSON: `training/recipes/<model>.json` holds a model's configuration and its recipe.

A recipe's file says only what is particular about it: every field has its default here. The copy beside the weights
spells everything out.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kernel.inputs import KINDS
from kernel.model import ModelConfig, build_model_config
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
    """Only rows whose leading class has this share of the votes: 0.9 is "ideal" cases."""
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
    calibrated: bool = True
    """Fit temperature and prior on the rows out of fold; not where these are simulated, whose doubt is not real."""

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

    An unknown field, or a value that is not what its field holds, is a ValueError that names the file or the change.
    """
    path = Path(name) if name.endswith(".json") else FOLDER / f"{name}.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such recipe; there are {', '.join(recipe_names())}")
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error})") from error
    source = str(path)
    if changes:
        _read(content, source)
        for change in changes:
            _apply(content, change)
        source = " ".join(f"--set {change}" for change in changes)
    return _read(content, source)


def _apply(content: dict[str, Any], change: str) -> None:
    """Set one field: `recipe.stages.0.epochs=3`; the value is JSON, or text where it is none."""
    where, separator, value = change.partition("=")
    *parents, last = where.split(".")
    place: Any = content
    try:
        for parent in parents:
            place = place[int(parent)] if isinstance(place, list) else place.setdefault(parent, {})
    except (ValueError, IndexError, AttributeError):
        separator = ""
    if not separator or not isinstance(place, dict):
        raise ValueError(f"--set {change}: expected a field of the recipe's file and a value: recipe.batch_size=64")
    try:
        place[last] = json.loads(value)
    except ValueError:
        place[last] = value


def _read(content: Any, source: str) -> tuple[ModelConfig, Recipe]:
    if not isinstance(content, dict) or content.keys() != {"model", "recipe"}:
        raise ValueError(f"{source}: a recipe has the two fields model and recipe, found {content}")
    try:
        recipe = _complete(Recipe, content["recipe"], "recipe")
        stages = (Stage(**_complete(Stage, one, f"recipe.stages.{i}")) for i, one in enumerate(recipe["stages"]))
        model = content["model"]
        network = _choose(NETWORKS, model.get("network"), "network")
        options = _complete(network.options, model.get("options", {}), "model.options")
        inputs = []
        for number, one in enumerate(model.get("inputs", [])):
            kind = _choose(KINDS, one.get("kind"), "kind of input")
            rest = {name: value for name, value in one.items() if name != "kind"}
            inputs.append({"kind": one["kind"], **_complete(kind, rest, f"model.inputs.{number}")})
        model = _complete(ModelConfig, {**model, "options": options, "inputs": inputs}, "model")
        return build_model_config(model, source), Recipe(**{**recipe, "stages": tuple(stages)})
    except ValueError as error:
        raise ValueError(f"{source}: {str(error).removeprefix(f'{source}: ')}") from error


def _choose(known: dict[str, Any], name: str | None, what: str) -> Any:
    """Return what has a name, or say which names there are."""
    if name not in known:
        raise ValueError(f"unknown {what} {name!r}; this code knows {', '.join(known)}")
    return known[name]


def _complete(type_: Any, values: dict[str, Any], where: str) -> dict[str, Any]:
    """Return a dataclass's fields: those of a JSON object, once they are what it holds, and its defaults."""
    fields, hints = {one.name: one for one in dataclasses.fields(type_)}, typing.get_type_hints(type_)
    unknown = sorted(values.keys() - fields.keys())
    if unknown:
        raise ValueError(f"{where} has no field {', '.join(unknown)}; there are {', '.join(fields)}")
    for name, value in values.items():
        if not _fits(value, hints[name]):
            raise ValueError(f"{where}.{name} must be {fields[name].type}, found {json.dumps(value)}")
    no_default = (dataclasses.MISSING, dataclasses.MISSING)
    needed = {name for name, one in fields.items() if (one.default, one.default_factory) == no_default}
    if needed - values.keys():
        raise ValueError(f"{where} lacks {', '.join(sorted(needed - values.keys()))}")
    return vars(type_(**values))


def _fits(value: Any, hint: Any) -> bool:
    """Return whether a value of JSON is of a field's type: a list for a tuple, an object for a dataclass."""
    origin, parts = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin is types.UnionType:
        return any(_fits(value, part) for part in parts)
    if origin is tuple:
        right_length = isinstance(value, list | tuple) and (Ellipsis in parts or len(value) == len(parts))
        return right_length and all(_fits(one, parts[0]) for one in value)
    if origin is dict:
        return isinstance(value, dict) and all(_fits(one, parts[1]) for one in value.values())
    if origin is Any:
        return True
    if origin in (int, float) and isinstance(value, bool):
        return False
    return isinstance(value, int | float if origin is float else dict if dataclasses.is_dataclass(origin) else origin)
