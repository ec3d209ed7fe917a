"""The training's and the report's pushed files for real: network cut, Kaggle's mounts, this checkout's code."""

import json
from pathlib import Path

import pandas as pd
import pytest

from dataset_builder.bundle import build_code_data_set
from dataset_builder.metadata import CODE_SLUG
from rehearsal.isolation import find_isolation
from rehearsal.job import JOBS
from rehearsal.training_set import rehearse_report, rehearse_training
from simulator.dataset import write_data_set

WHERE = "namespace" if find_isolation() is None else "guard"


@pytest.fixture(scope="module")
def code(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("code") / "dataset"
    build_code_data_set(folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "set"
    write_data_set(folder, recordings=12, seed=0, progress=False)
    return folder


def test_a_training_goes_on_with_what_the_kernel_before_left(code, data, tmp_path):
    """The first run trains fold 0; the next gets its output as a notebook's, and trains fold 1 only."""
    script = tmp_path / "script.py"
    script.write_text(JOBS["training"].read_code({"model": "raw_1d", "set": "recipe.stages.0.learning_rate=0.001"}))
    lines: list[str] = []
    places = {"dist": tmp_path / "dist", "code_file": script, "log": lines.append}
    first = rehearse_training(data, tmp_path / "first", code, layout="flat", isolation=WHERE, **places)
    assert first.data["complete"]
    end = json.loads(next(line for line in lines if "HMS-END" in line).split(" ", 3)[-1])
    assert end["tree_sha256"] == json.loads((code / "manifest.json").read_text())["tree_sha256"]
    weights = (tmp_path / "first" / "fold_0.weights.h5").read_bytes()
    lines.clear()
    second = rehearse_training(
        data,
        tmp_path / "second",
        code,
        layout="nested",
        isolation="guard",
        earlier=tmp_path / "first",
        more=("--fold", "0,1"),
        **places,
    )
    assert any("going on after 2 of 2 epochs" in line for line in lines)
    assert not any("fold 0 epoch" in line for line in lines)
    assert sum("fold 1 epoch" in line and "windows/s" in line and "waiting for data" in line for line in lines) == 2
    assert (second.data["epochs"], second.data["of_epochs"]) == (4, 4)
    assert (tmp_path / "second" / "fold_0.weights.h5").read_bytes() == weights
    assert "small training" in second.lines[0]


def test_a_training_without_a_gpu_fails_its_rehearsal_nowhere_but_says_so_on_kaggle(code, data, tmp_path):
    """What Kaggle runs has no --device: without a GPU it stops at once, with what to do."""
    from kernel.constants import COMPETITION
    from rehearsal.run import mount, run_kernel

    script = tmp_path / "script.py"
    script.write_text(JOBS["training"].read_code({"model": "raw_1d"}))
    mounts = {mount("dataset", f"o/{CODE_SLUG}", "flat"): code, mount("competition", COMPETITION, "flat"): data}
    with pytest.raises(ValueError, match="Kaggle granted no GPU"):
        run_kernel(script, mounts, tmp_path / "out", isolation=WHERE, log=lambda _: None)


def test_the_report_is_written_where_the_data_is(code, data, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(JOBS["report"].read_code({"sample": "4"}))
    found = rehearse_report(
        data, tmp_path / "out", code, dist=tmp_path, code_file=script, isolation=WHERE, log=lambda _: None
    )
    assert found.data["page"] == str(tmp_path / "out" / "report.html")
    leaves = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert found.data["files"] == len(leaves) - 1, "all but the log"
    tables = tmp_path / "out" / "report_files" / "tables"
    assert len(pd.read_csv(tables / "findings.csv")) > 0
    assert "MB" in found.lines[0]
