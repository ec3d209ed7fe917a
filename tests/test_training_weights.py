"""The weights that ship: readable, small, and scored on nothing that they were trained on."""

from pathlib import Path

import pytest

from training.scoring import find_models, predict_folders
from training.trained import verify_model

ROOT = Path(__file__).parents[1]
WEIGHTS = ROOT / "weights"
REAL = ROOT.parent / "shared" / "iiic"
MODELS = sorted(path.parent.name for path in WEIGHTS.glob("*/config.json"))


def test_some_weights_ship_and_all_of_them_are_small():
    assert MODELS
    assert sum(path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file()) < 40e6


@pytest.mark.parametrize("name", MODELS)
def test_a_shipped_model_loads_and_says_where_it_comes_from(name):
    metrics = verify_model(WEIGHTS / name).metrics
    assert metrics["data"]
    assert metrics["out_of_fold"]["kl"] < metrics["out_of_fold"]["uniform_kl"]


def test_what_the_shipped_networks_have_heard_they_are_not_scored_on():
    """All of them were trained on these recordings, and say so: a score would prove nothing."""
    if not REAL.is_dir():
        pytest.skip(f"{REAL} is not here: no real recordings to score")
    with pytest.raises(ValueError, match=r"iiic/train\.csv: every trained fold has seen the patients of all 22 rows"):
        predict_folders([REAL], find_models("ensemble", [WEIGHTS]), min_votes=1)
