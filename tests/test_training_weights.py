"""The weights that ship: readable, small, and scored on nothing that they were trained on."""

from pathlib import Path

import pytest

from kernel.constants import VOTES
from kernel.table import read_patterns
from training.evaluation import PREDICTED
from training.metric import kl_per_row
from training.scoring import find_models, predict_folders
from training.trained import read_folds, read_metrics, verify_model

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


def test_shipped_networks_are_scored_on_what_they_have_not_heard(capsys):
    if not REAL.is_dir():
        pytest.skip(f"{REAL} is not here: no real recordings to score")
    # Of the EfficientNetV2-B2's six folds some ship: they answer what they left out, and nothing else.
    scalograms = WEIGHTS / "scalogram_pairs_b2"
    folds, ship = read_folds(scalograms).set_index("eeg_id")["fold"], read_metrics(scalograms)["folds"].keys()
    left_out = {eeg_id for eeg_id in read_patterns(REAL)["eeg_id"] if str(folds[eeg_id]) in ship}
    assert 0 < len(left_out) < 22
    assert set(predict_folders([REAL], {scalograms: 1.0}, min_votes=1)["eeg_id"]) == left_out
    assert f"LEFT OUT: {22 - len(left_out)} rows of patients" in capsys.readouterr().out
    without = (
        f"{22 - len(left_out)} of 22 rows are answered by those models that have not heard them, without the others"
    )
    for name, said in (
        ("raw_1d", "22 of 22 rows are of recordings that raw_1d was trained on: out of fold"),
        ("ensemble", without),
    ):
        models, temperature = find_models(name, [WEIGHTS])
        table = predict_folders([REAL], models, 1, temperature)
        assert said in capsys.readouterr().out
        assert len(table) == 22
        assert kl_per_row(table[list(VOTES)].to_numpy(), table[list(PREDICTED)].to_numpy()).mean() < 0.6
