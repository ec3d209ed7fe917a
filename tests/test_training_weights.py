"""The weights that ship: readable, small, and as good on real recordings as their model card says."""

import re
from pathlib import Path

import numpy as np
import pytest

from kernel.constants import VOTES, WINDOW_SECONDS
from training.evaluation import PREDICTED
from training.metric import kl_per_row
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


def test_the_twelve_real_recordings_score_what_the_model_card_says():
    if not REAL.is_dir():
        pytest.skip(f"{REAL} is not here: no real recordings to score")
    table = predict_folders([REAL], find_models("ensemble", [WEIGHTS]), min_votes=1)
    table = table[table["seconds"] >= WINDOW_SECONDS]
    kl = kl_per_row(table[list(VOTES)].to_numpy(), table[list(PREDICTED)].to_numpy()).mean()
    assert len(table) == 12
    # The shipped networks have heard these recordings: the figure shows that they answer as they did, not how well.
    assert kl < 0.80
    card = " ".join((WEIGHTS / "README.md").read_text().split())
    (claimed,) = re.findall(r"mean KL on the twelve real 50 s recordings: \*\*([0-9.]+)\*\*", card)
    assert np.isclose(kl, float(claimed), atol=0.006)
