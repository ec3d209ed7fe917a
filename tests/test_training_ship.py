"""From data to weights: a model is scored out of fold on its own data, and ships once it is verified and compared."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import h5py
import numpy as np
import pandas as pd
import pytest

from build import main
from kernel.constants import VOTES
from kernel.ensemble import read_model_weights
from kernel.model import build_model, calibrate, load_model, read_model_config, read_weights, write_weights
from kernel.table import read_patterns
from tests.conftest import ROOT
from tests.test_training import RECIPE, STAGES, TINY, draw, folder  # noqa: F401
from training import blending, commands
from training.batches import predict_windows
from training.drawn import DrawnWindows
from training.evaluation import PREDICTED
from training.metric import kl_per_row
from training.scoring import find_allowed_folds, find_models, predict_folders
from training.shipping import plan_shipment, ship
from training.trained import hash_file, read_metrics, verify_model, write_folds, write_metrics
from training.windows import FolderWindows


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):  # noqa: F811
    """Train both folds of a tiny model by the command, its output in pipes."""
    place = tmp_path_factory.mktemp("trained")
    (place / "tiny.json").write_text(
        json.dumps({"model": TINY.to_json(), "recipe": replace(RECIPE, stages=STAGES[1:]).to_json()})
    )
    arguments = ["train", "--model", str(place / "tiny.json"), "--data", str(folder), "--out", str(place / "tiny")]
    clean = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    return subprocess.run(
        [sys.executable, "build.py", *arguments], cwd=ROOT, env=clean, capture_output=True, text=True
    ), place / "tiny"


@pytest.fixture(scope="module")
def trained(run):
    """Return the folder of the tiny model."""
    done, out = run
    assert done.returncode == 0, done.stderr
    return out


def test_training_into_a_pipe_prints_a_line_an_epoch_and_nothing_of_tensorflows(run):
    done, out = run
    assert done.stderr == ""
    number = r"[0-9.]+"
    pattern = (
        rf"tiny fold \d epoch \d \(\w+\): loss {number}, validation KL {number}, {number} windows/s, \d+% of the time"
    )
    assert len(re.findall(pattern, done.stdout)) == 2 * STAGES[1].epochs
    assert "nan" not in done.stdout
    assert done.stdout.endswith(f"to ship it: python build.py ship {out}\n")


def copy_as(trained, place, rows, uniform=0.0, votes=0.0):
    """Copy a model with rows of its own out of fold, whose predictions are mixed with a uniform or the right answer."""
    shutil.copytree(trained, place)
    table = pd.read_csv(place / "out_of_fold.csv")
    table = pd.concat([table] * -(-rows // len(table)))[:rows].assign(eeg_id=range(rows), patient_id=range(rows))
    config = read_model_config(place / "config.json")
    mixed = (
        (1 - uniform - votes) * table[list(PREDICTED)].to_numpy() + uniform / 6 + votes * table[list(VOTES)].to_numpy()
    )
    table[list(PREDICTED)] = mixed
    table.to_csv(place / "out_of_fold.csv", index=False)
    metrics = read_metrics(place)
    kl = kl_per_row(table[list(VOTES)], calibrate(table[list(PREDICTED)].to_numpy(), config)).mean()
    metrics["out_of_fold"]["kl"] = round(float(kl), 4)
    write_metrics(metrics, place)
    return place


def test_a_models_own_recordings_are_answered_out_of_fold(folder, trained, capsys):  # noqa: F811
    table = predict_folders([folder], {trained: 1.0}, min_votes=10)
    assert "14 of 14 rows are of recordings that tiny was trained on" in capsys.readouterr().out
    stored = pd.read_csv(trained / "out_of_fold.csv").set_index("eeg_id").loc[table["eeg_id"]]
    config = read_model_config(trained / "config.json")
    np.testing.assert_allclose(table[list(PREDICTED)], calibrate(stored[list(PREDICTED)].to_numpy(), config), atol=1e-3)
    # Rows of too few votes to be validated are answered by the right fold too.
    table = predict_folders([folder], {trained: 1.0}, min_votes=1)
    folds = pd.read_csv(trained / "folds.csv").set_index("eeg_id")["fold"]
    rows = read_patterns(folder)
    for fold in (0, 1):
        model = load_model(config, trained / f"fold_{fold}.weights.h5")
        _, expected = predict_windows(model, config, FolderWindows(rows), 4)
        mine = (folds.loc[rows["eeg_id"]] == fold).to_numpy()
        np.testing.assert_allclose(table[list(PREDICTED)][mine], calibrate(expected, config)[mine], atol=1e-5)
    # On recordings that it was not trained on, the folds answer together.
    moved = rows.assign(eeg_id=rows["eeg_id"] + 1000)
    np.testing.assert_array_equal(find_allowed_folds(trained, moved), True)


def test_patients_that_every_trained_fold_has_seen_are_left_out(folder, trained, tmp_path, capsys):  # noqa: F811
    shutil.copytree(trained, tmp_path / "half")
    (tmp_path / "half" / "fold_1.weights.h5").unlink()
    table = predict_folders([folder], {tmp_path / "half": 1.0}, min_votes=10)
    folds = pd.read_csv(trained / "folds.csv").set_index("eeg_id")["fold"]
    assert (folds.loc[table["eeg_id"]] == 0).all()
    assert 0 < len(table) < 14
    assert f"LEFT OUT: {14 - len(table)} rows" in capsys.readouterr().out


def test_a_blend_answers_with_those_that_have_not_heard_a_row_each_tempered(folder, trained, tmp_path, capsys):  # noqa: F811
    fresh, half = (shutil.copytree(trained, tmp_path / name) for name in ("fresh", "half"))
    (half / "fold_1.weights.h5").unlink()
    alone = {model: predict_folders([folder], {model: 1.0}, 10).set_index("eeg_id") for model in (fresh, half)}
    capsys.readouterr()
    table = predict_folders([folder], {fresh: 0.4, half: 0.6}, 10, temperature=0.5).set_index("eeg_id")
    assert len(table) == 14
    both = table.index.isin(alone[half].index)
    assert f"{(~both).sum()} of 14 rows are answered by those models that have not" in capsys.readouterr().out
    squared = {model: one[list(PREDICTED)] ** 2 for model, one in alone.items()}
    squared = {model: one.div(one.sum(axis=1), axis=0) for model, one in squared.items()}
    expected = squared[fresh].copy()
    expected[both] = 0.4 * squared[fresh][both] + 0.6 * squared[half].loc[expected.index[both]]
    np.testing.assert_allclose(table[list(PREDICTED)], expected.loc[table.index], atol=1e-6)


def test_evaluating_without_knowing_the_folds_patients_warns_loudly(folder, trained, tmp_path, capsys):  # noqa: F811
    model, rows = shutil.copytree(trained, tmp_path / "tiny"), read_patterns(folder)
    (model / "folds.csv").unlink()
    np.testing.assert_array_equal(find_allowed_folds(model, rows), True)
    said = capsys.readouterr().out
    assert f"WARNING: {model / 'folds.csv'} is missing, which says what tiny was trained on. ALL" in said
    write_folds(DrawnWindows(draw, 8, "a test").assign_folds(RECIPE), model)
    np.testing.assert_array_equal(find_allowed_folds(model, rows), True)
    assert capsys.readouterr().out == "", "drawn windows are of nobody else"


def test_a_model_is_found_where_train_wrote_it_first(trained, tmp_path):
    first, second = tmp_path / "trained", tmp_path / "weights"
    shutil.copytree(trained, second / "tiny")
    first.mkdir()
    assert find_models("tiny", [first, second]) == ({second / "tiny": 1.0}, 1.0)
    shutil.copytree(trained, first / "tiny")
    assert find_models("tiny", [first, second]) == ({first / "tiny": 1.0}, 1.0)
    assert find_models("ensemble", [first, second]) == ({second / "tiny": 1.0}, 1.0)
    (second / "ensemble.json").write_text('{"shares": {"tiny": 2}, "temperature": 0.8}')
    assert find_models("ensemble", [first, second]) == ({second / "tiny": 1.0}, 0.8)
    with pytest.raises(FileNotFoundError, match=r"no model other with weights; there are in .*trained: tiny; in "):
        find_models("other", [first, second])


def test_a_trained_model_is_verified(trained):
    model = verify_model(trained)
    assert model.name == "tiny"
    assert model.describe().startswith("2 of 2 folds, KL ")


def write_nan(path):
    config = read_model_config(path / "config.json")
    model = build_model(config)
    read_weights(model, path / "fold_1.weights.h5")
    with h5py.File(path / "fold_1.weights.h5", "r+") as file:
        file["0000"][...] = np.nan
    metrics = read_metrics(path)
    metrics["folds"]["1"]["sha256"] = hash_file(path / "fold_1.weights.h5")
    write_metrics(metrics, path)


def change_json(path, name, change):
    content = json.loads((path / name).read_text())
    change(content)
    (path / name).write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda p: change_json(p, "config.json", lambda c: c.pop("temperature")), "ModelConfig lacks temperature"),
        (lambda p: change_json(p, "config.json", lambda c: c["options"].update(hue=1)), "has unknown hue"),
        (lambda p: change_json(p, "config.json", lambda c: c["options"].update(width=5)), "has shape|arrays"),
        (lambda p: (p / "metrics.json").write_text("{"), r"metrics\.json: not the metrics of a training"),
        (lambda p: (p / "metrics.json").unlink(), r"metrics\.json: no such file"),
        (lambda p: (p / "out_of_fold.csv").unlink(), r"out_of_fold\.csv: no such file"),
        (lambda p: change_json(p, "metrics.json", lambda m: m["out_of_fold"].update(kl=0.1)), "its rows score"),
        (lambda p: (p / "fold_1.weights.h5").unlink(), "weights of folds 0, and metrics.json tells of 0, 1"),
        (lambda p: [f.unlink() for f in p.glob("*.h5")], "no fold_"),
        (lambda p: (p / ".unfinished").mkdir(), "a fold is not finished"),
        (
            lambda p: write_weights(build_model(read_model_config(p / "config.json")), p / "fold_1.weights.h5"),
            "not the file that was trained",
        ),
        (write_nan, "holds NaN or infinities"),
    ],
)
def test_a_damaged_model_is_refused_by_name_and_what_ships_stays(trained, tmp_path, damage, message):
    shutil.copytree(trained, tmp_path / "tiny")
    damage(tmp_path / "tiny")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        plan_shipment([tmp_path / "tiny"], tmp_path / "weights")


def test_models_are_blended_on_common_rows(trained, tmp_path):
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "README.md").write_text("the model card\n")
    good = copy_as(trained, tmp_path / "good", rows=40, votes=0.8)
    plan = plan_shipment([good], weights)
    assert plan.ensemble["shares"] == {"good": 1.0}
    now = plan.ensemble["fitted_on"]["kl"]  # its answers are hedged here: a temperature sharpens them
    assert now < plan.ensemble["fitted_on"]["kl_alone"]["good"]
    ship(plan, tmp_path / "kept" / "1")
    assert (weights / "README.md").read_text() == "the model card\n"
    assert not (weights / "good" / ".unfinished").exists()
    assert read_model_weights(weights) == {"good": 1.0}

    poor = copy_as(trained, tmp_path / "poor", rows=60, uniform=0.9)
    plan = plan_shipment([poor], weights)
    fitted = plan.ensemble["fitted_on"]
    assert fitted["rows"] == 40
    assert plan.ensemble["shares"]["good"] > 0.9
    assert fitted["kl"] <= min(fitted["kl_alone"].values()) + 1e-4
    text = "\n".join(plan.lines)
    assert re.search(r"good +1\.000 +0\.9|good +1\.000 +1\.0", text)
    assert f"on 40 rows in common: KL now {now:.4f}, then {fitted['kl']:.4f}" in text
    before = {path.name for path in weights.iterdir()}
    assert before == {"README.md", "good", "ensemble.json"}  # planning changes nothing
    ship(plan, tmp_path / "kept" / "2")
    assert json.loads((weights / "ensemble.json").read_text()) == plan.ensemble
    assert {path.name for path in (tmp_path / "kept" / "2").iterdir()} == before
    verify_model(weights / "poor")

    # Shipped again under its name it takes its own place; the old one is in the copy.
    copy_as(trained, tmp_path / "again" / "poor", rows=60, uniform=0.5)
    ship(plan_shipment([tmp_path / "again" / "poor"], weights), tmp_path / "kept" / "3")
    assert read_metrics(weights / "poor") == read_metrics(tmp_path / "again" / "poor")
    assert read_metrics(tmp_path / "kept" / "3" / "poor") == read_metrics(poor)
    assert plan_shipment([], weights).ensemble["shares"].keys() == {"good", "poor"}


def test_what_cannot_be_compared_is_not_mixed(trained, tmp_path):
    weights = tmp_path / "weights"
    shutil.copytree(copy_as(trained, tmp_path / "old", rows=40), weights / "old")
    new = copy_as(trained, tmp_path / "new", rows=40)
    table = pd.read_csv(new / "out_of_fold.csv")
    table.assign(eeg_id=table["eeg_id"] + 1000).to_csv(new / "out_of_fold.csv", index=False)
    with pytest.raises(
        ValueError, match=r"old and new cannot be blended: 0 rows out of fold in common.*--replace ships new"
    ):
        plan_shipment([new], weights)
    plan = plan_shipment([new], weights, replace=True)
    assert "not comparable" in plan.lines[-1]
    assert re.search(r"old +1\.000 +-  2 of 2 folds.*; moves to dist/replaced", "\n".join(plan.lines))
    ship(plan, tmp_path / "kept")
    assert read_model_weights(weights) == {"new": 1.0}
    assert (tmp_path / "kept" / "old" / "fold_0.weights.h5").is_file()


def test_models_of_different_data_are_asked_out_of_fold_about_the_same_folders(folder, trained, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(blending, "FEWEST_ROWS", 10)
    weights = tmp_path / "weights"
    shutil.copytree(trained, weights / "old")
    new = copy_as(trained, tmp_path / "new", rows=40)  # its rows are others: they cannot be compared
    with pytest.raises(ValueError, match="--on asks all of them about the same recordings"):
        plan_shipment([new], weights)
    plan = plan_shipment([new], weights, on=[folder])
    table = predict_folders([folder], {trained: 1.0}, min_votes=10)
    kl = round(float(kl_per_row(table[list(VOTES)].to_numpy(), table[list(PREDICTED)].to_numpy()).mean()), 4)
    fitted = plan.ensemble["fitted_on"]
    assert fitted["rows"] == 14
    assert fitted["data"] == {"old": folder.name, "new": folder.name}
    assert fitted["kl_alone"] == {"old": kl, "new": kl}
    temperature = plan.ensemble["temperature"]
    assert temperature > 1, "tiny is far too sure"
    told = f"on 14 rows in common: KL now {kl:.4f}, then {fitted['kl']:.4f} with a temperature of {temperature:g}; each"
    assert told in plan.lines[-1]
    assert fitted["kl"] < fitted["kl_cross_validated"] < kl
    assert sum(f"over 14 rows out of fold of {folder.name}" in line for line in plan.lines) == 2
    ship(plan, tmp_path / "kept")
    assert read_metrics(weights / "new") == read_metrics(new), "what ships tells of its own training"


def test_a_model_that_leaves_may_have_heard_what_the_new_one_is_asked_about(folder, trained, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(blending, "FEWEST_ROWS", 10)
    weights = tmp_path / "weights"
    old = shutil.copytree(trained, weights / "old")
    write_folds(pd.read_csv(old / "folds.csv").assign(fold=-1), old)  # every fold has heard all
    with pytest.raises(ValueError, match=r"old and new cannot be blended: .*every trained fold has seen.*--replace"):
        plan_shipment([shutil.copytree(trained, tmp_path / "new")], weights, on=[folder])
    plan = plan_shipment([tmp_path / "new"], weights, replace=True, on=[folder])
    assert plan.ensemble["shares"] == {"new": 1.0}
    assert f"over 14 rows out of fold of {folder.name}" in plan.lines[2]


def test_of_a_model_one_fold_may_ship_with_the_share_of_all(folder, trained, tmp_path, monkeypatch, capsys):  # noqa: F811
    monkeypatch.setattr(blending, "FEWEST_ROWS", 10)
    monkeypatch.setattr(commands, "ROOT", tmp_path)
    weights, large = tmp_path / "weights", shutil.copytree(trained, tmp_path / "large")
    names, on = [str(trained), str(large)], ["--on", str(folder), "--weights", str(weights)]
    for keep, message in (
        ("tiny=0,x", "--keep tiny=0,x: expected a fold's number, several with commas between them, or all"),
        ("other=0", "not among the models to ship (tiny, large)"),
        ("large=0,7", "no fold 7; it has 0, 1"),
    ):
        assert main(["ship", *names, *on, "--keep", keep, "--yes"]) == 1
        assert message in capsys.readouterr().err
    assert main(["ship", *names, *on, "--keep", "large=1", "--yes"]) == 0
    assert f"14 rows out of fold of {folder.name}; fold 1 alone ships" in capsys.readouterr().out
    shares = json.loads((weights / "ensemble.json").read_text())
    assert shares["shares"] == {"tiny": 0.5, "large": 0.5}
    assert shares["fitted_on"]["rows"] == 14
    assert [path.name for path in (weights / "large").glob("*.h5")] == ["fold_1.weights.h5"]
    left = verify_model(weights / "large")
    whole = verify_model(large).out_of_fold
    pd.testing.assert_frame_equal(left.out_of_fold, whole[whole["fold"] == 1].reset_index(drop=True))
    assert (pd.read_csv(weights / "large" / "folds.csv")["fold"] == 0).any(), "what it has heard is not forgotten"
    assert verify_model(large).metrics["folds"].keys() == {"0", "1"}


def test_an_interrupted_shipment_leaves_what_ships(trained, tmp_path, monkeypatch):
    weights = tmp_path / "weights"
    shutil.copytree(copy_as(trained, tmp_path / "old", rows=40), weights / "old")
    plan = plan_shipment([copy_as(trained, tmp_path / "new", rows=40)], weights, replace=True)
    real = type(weights).rename

    def stop(self, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(weights), "rename", stop)
    with pytest.raises(KeyboardInterrupt):
        ship(plan, tmp_path / "kept")
    assert read_model_weights(weights) == {"old": 1.0}
    monkeypatch.setattr(type(weights), "rename", real)
    ship(plan, tmp_path / "kept")
    assert read_model_weights(weights) == {"new": 1.0}


def test_the_command_asks_or_takes_a_flag(trained, tmp_path, monkeypatch, capsys):
    weights = tmp_path / "weights"
    shutil.copytree(copy_as(trained, tmp_path / "old", rows=40), weights / "old")
    monkeypatch.setattr(commands, "ROOT", tmp_path)
    monkeypatch.setattr(commands, "TRAINED", tmp_path)
    copy_as(trained, tmp_path / "new", rows=40)
    arguments = ["ship", "new", "--weights", str(weights)]
    assert main(arguments) == 1  # pytest's input is no terminal
    assert "nothing was changed: --yes" in capsys.readouterr().err
    assert {path.name for path in weights.iterdir()} == {"old"}
    assert main([*arguments, "--yes"]) == 0
    assert "ships old, new" in capsys.readouterr().out
    assert read_model_weights(weights).keys() <= {"old", "new"}
    (kept,) = (tmp_path / "dist" / "replaced").iterdir()
    assert (kept / "old" / "config.json").is_file()
    assert main(["ship", "absent", "--yes", "--weights", str(weights)]) == 1
    assert "absent/config.json: no such file" in capsys.readouterr().err
