"""The data set of the code that trains and reports: what is in it, its hash, and how the pushed files find it."""

import inspect
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import eda.main
import training.main
from dataset_builder.bundle import build_bundle, build_code_data_set
from dataset_builder.metadata import CODE_FORMAT, CODE_SLUG, find_dataset_faults
from kernel.main import find_bundle
from rehearsal.job import JOBS, read_arguments
from tests.conftest import ROOT

PUSHED = [training.main, eda.main]


@pytest.fixture
def checkout(tmp_path) -> Path:
    """Copy the rooms that are packed, and write a model that no network needs to be built for."""
    root = tmp_path / "checkout"
    for room in ("kernel", "cache", "simulator", "eda", "training"):
        shutil.copytree(ROOT / room, root / room, ignore=shutil.ignore_patterns("__pycache__"))
    (root / "weights" / "small").mkdir(parents=True)
    (root / "weights" / "small" / "config.json").write_text("{}")
    (root / "weights" / "small" / "fold_0.weights.h5").write_bytes(b"weights")
    (root / "wheels.txt").write_text("")
    return root


def build(builder, out: Path, root: Path, **options):
    return builder(out, root=root, wheels=root / "wheels", requirements=root / "wheels.txt", **options)


def test_it_is_built_like_the_bundle_and_apart_from_it(checkout, tmp_path):
    code, again = (build(build_code_data_set, tmp_path / name, checkout, owner="alice") for name in "ab")
    bundle = build(build_bundle, tmp_path / "bundle", checkout)
    assert code == again
    files = {path.relative_to(tmp_path / "a").as_posix() for path in (tmp_path / "a").rglob("*") if path.is_file()}
    assert files == {entry["path"] for entry in code["files"]} | {"manifest.json", "dataset-metadata.json"}
    assert {"training/recipes/scalogram_b2.json", "eda/report.html.j2", "simulator/raters.npz"} <= files
    assert not any("__pycache__" in name or name.startswith("weights") for name in files)
    metadata = json.loads((tmp_path / "a" / "dataset-metadata.json").read_text())
    assert metadata["id"] == f"alice/{CODE_SLUG}"
    assert find_dataset_faults(metadata) == []

    # Another recipe is another code, and leaves the inference's bundle as it was; the kernel's code is in both.
    recipe = checkout / "training" / "recipes" / "raw_1d.json"
    recipe.write_text(recipe.read_text() + "\n")
    assert build(build_bundle, tmp_path / "bundle", checkout)["tree_sha256"] == bundle["tree_sha256"]
    assert build(build_code_data_set, tmp_path / "a", checkout)["tree_sha256"] != code["tree_sha256"]
    (checkout / "eda" / "kaggle.json").write_text("{}")
    with pytest.raises(ValueError, match=r"eda/kaggle\.json: looks like a secret"):
        build(build_code_data_set, tmp_path / "a", checkout)


@pytest.mark.parametrize("pushed", PUSHED)
def test_a_pushed_file_finds_the_code_wherever_it_is_mounted(checkout, tmp_path, pushed):
    assert (pushed.CODE_NAME, pushed.CODE_FORMAT) == (CODE_SLUG, CODE_FORMAT)
    assert inspect.getsource(pushed.find_code) == inspect.getsource(training.main.find_code)
    built = tmp_path / "built"
    manifest = build(build_code_data_set, built, checkout)
    other = tmp_path / "other"
    build(build_bundle, other, checkout)
    for number, where in enumerate((CODE_SLUG, f"datasets/alice/{CODE_SLUG}", "renamed", "datasets/alice/renamed")):
        root = tmp_path / str(number)
        for name, folder in ((where, built), ("hms-scalogram-bundle", other)):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).symlink_to(folder)
        assert pushed.find_code(root) == (root / where, manifest)
        assert find_bundle(root)[0] == root / "hms-scalogram-bundle", "the inference does not take it for its bundle"
    with pytest.raises(FileNotFoundError, match=f"attach {CODE_SLUG} to the kernel"):
        pushed.find_code(tmp_path / "other")


@pytest.mark.parametrize("pushed", PUSHED)
def test_damaged_code_stops_in_the_first_second(checkout, tmp_path, pushed):
    folder = tmp_path / "input" / CODE_SLUG
    build(build_code_data_set, folder, checkout)
    (folder / "cache" / "plan.py").write_text("damaged")
    command = [sys.executable, pushed.__file__, "--input", str(tmp_path / "input"), "--working", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert "HMS-START" in done.stdout
    assert "cache/plan.py: damaged (size or sha256 differs from the manifest)" in done.stderr


def test_a_request_is_written_into_the_pushed_file(tmp_path, monkeypatch):
    given = {"model": "raw_1d", "fold": "0,1", "set": "recipe.folds=3 recipe.seed=1", "hours": "2.5"}
    script = tmp_path / "script.py"
    script.write_text(JOBS["training"].read_code(given))
    assert read_arguments(script) == given
    monkeypatch.setattr(training.main, "ARGUMENTS", given)
    args = training.main.read_arguments(["--set", "recipe.seed=2", "--fold", "2"])
    assert (args.model, args.fold, args.hours, args.device) == ("raw_1d", "2", 2.5, "gpu")
    assert args.changes == ["recipe.folds=3", "recipe.seed=1", "recipe.seed=2"]
    script.write_text(JOBS["report"].read_code({"sample": "20"}))
    assert read_arguments(script) == {"sample": "20"}
    script.write_text(JOBS["report"].read_code())
    assert read_arguments(script) == {}


def test_the_metadata_ask_for_what_the_jobs_need():
    metadata = JOBS["training"].read_metadata()
    assert (metadata["enable_gpu"], metadata["machine_shape"]) == (True, "NvidiaTeslaT4")
    assert metadata["model_sources"] == ["keras/efficientnetv2/keras/efficientnetv2_b2_imagenet/2"]
    assert not JOBS["report"].read_metadata()["enable_gpu"]
