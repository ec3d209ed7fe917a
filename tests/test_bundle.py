import base64
import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from dataset_builder.bundle import build_bundle
from dataset_builder.wheels import fetch_wheels, read_requirements
from kernel import main as kernel_main
from tests.conftest import ROOT

MODULE = "little_tool"


@pytest.fixture(scope="module")
def wheels(tmp_path_factory) -> Path:
    """A folder with a small pure-Python wheel, and the `wheels.txt` that names it."""
    folder = tmp_path_factory.mktemp("wheels")
    info = f"{MODULE}-1.0.dist-info"
    files = {
        f"{MODULE}/__init__.py": "VALUE = 42\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: little-tool\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    hashes = {name: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()) for name, text in files.items()}
    rows = [f"{name},sha256={hashes[name].decode().rstrip('=')},{len(text)}\n" for name, text in files.items()]
    wheel = folder / f"{MODULE}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": "".join(rows) + f"{info}/RECORD,,\n"}.items():
            archive.writestr(name, text)
    pin = f"little-tool==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"
    (folder / "wheels.txt").write_text("# One package.\n" + pin)
    return folder


def build(out: Path, checkout: Path, wheels: Path, **options):
    """Build the bundle of a checkout, the small wheel in it."""
    return build_bundle(out, root=checkout, wheels=wheels, requirements=wheels / "wheels.txt", **options)


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A small checkout: the kernel's code, and a model that no network needs to be built for."""
    root = tmp_path / "checkout"
    shutil.copytree(ROOT / "kernel", root / "kernel", ignore=shutil.ignore_patterns("__pycache__"))
    model = root / "weights" / "small"
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    (model / "fold_0.weights.h5").write_bytes(b"weights")
    (model / "metrics.json").write_text('{"folds": {"0": {"kl": 0.5, "seconds": 60}}}')
    return root


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_same_input_same_bytes(checkout, wheels, tmp_path):
    first = build(tmp_path / "a", checkout, wheels)
    second = build(tmp_path / "b" / "deeper", checkout, wheels)
    assert first == second
    assert contents(tmp_path / "a") == contents(tmp_path / "b" / "deeper")


def test_the_manifest_tells_all(checkout, wheels, tmp_path):
    manifest = build(tmp_path / "out", checkout, wheels, owner="someone")
    files = contents(tmp_path / "out")
    assert json.loads(files.pop("manifest.json")) == manifest
    assert json.loads(files.pop("dataset-metadata.json"))["id"].startswith("someone/")
    assert {entry["path"] for entry in manifest["files"]} == set(files)
    for entry in manifest["files"]:
        assert entry["size"] == len(files[entry["path"]])
        assert entry["sha256"] == hashlib.sha256(files[entry["path"]]).hexdigest()
    assert manifest["models"] == [{"name": "small", "share": 1.0, "folds": 1, "kl": {"0": 0.5}}]
    assert manifest["versions"]["tensorflow"] == "2.20.0"
    lines = sorted(f"{entry['path']} {entry['sha256']}\n" for entry in manifest["files"])
    assert manifest["tree_sha256"] == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_the_licence_travels_with_the_code(checkout, wheels, tmp_path):
    shutil.copyfile(ROOT / "LICENSE", checkout / "LICENSE")
    build(tmp_path / "out", checkout, wheels)
    assert (tmp_path / "out" / "kernel" / "LICENSE").read_text().startswith("MIT License")


def test_any_change_changes_the_tree(checkout, wheels, tmp_path):
    before = build(tmp_path / "out", checkout, wheels)
    (checkout / "weights" / "small" / "fold_0.weights.h5").write_bytes(b"Weights")
    after = build(tmp_path / "out", checkout, wheels)
    assert before["tree_sha256"] != after["tree_sha256"]


def test_nothing_unexpected_gets_in(checkout, wheels, tmp_path):
    for name in ("kernel/notes.txt", "kernel/.DS_Store", "weights/small/optimizer.npz", "weights/README.md"):
        (checkout / name).write_text("x")
    (checkout / "weights" / "without_weights").mkdir()
    (checkout / "weights" / "without_weights" / "config.json").write_text("{}")
    build(tmp_path / "out", checkout, wheels)
    found = {name for name in contents(tmp_path / "out") if not name.startswith(("kernel/", "wheels/"))}
    model = "weights/small/"
    expected = {"manifest.json", "dataset-metadata.json"}
    assert found == expected | {model + name for name in ("config.json", "fold_0.weights.h5", "metrics.json")}
    assert all(name.endswith((".py", ".whl")) for name in contents(tmp_path / "out") if name not in found)


@pytest.mark.parametrize(
    "name",
    [
        *("kernel/kaggle.json", "kernel/.env", "weights/.env.local", "weights/small/id_rsa", "kernel/server.pem"),
        *("kernel/access_token", "weights/small/credentials.json", "kernel/deep/down/api.key"),
    ],
)
def test_a_secret_stops_the_build(checkout, wheels, tmp_path, name):
    (checkout / name).parent.mkdir(parents=True, exist_ok=True)
    (checkout / name).write_text("nothing")
    with pytest.raises(ValueError, match=f"{Path(name).name}: looks like a secret"):
        build(tmp_path / "out", checkout, wheels)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "content",
    ['{"username": "u", "key": "' + 32 * "0" + '"}', "-----BEGIN " + "PRIVATE KEY-----", "KGAT_" + 16 * "0"],
)
def test_a_secret_inside_a_file_stops_the_build(checkout, wheels, tmp_path, content):
    (checkout / "kernel" / "constants.py").write_text(f"KEY = '''{content}'''")
    with pytest.raises(ValueError, match=r"constants\.py: holds what looks like a secret"):
        build(tmp_path / "out", checkout, wheels)
    assert not (tmp_path / "out").exists()


def test_a_checkout_without_weights_is_refused(checkout, wheels, tmp_path):
    shutil.rmtree(checkout / "weights")
    with pytest.raises(FileNotFoundError, match="no model here"):
        build(tmp_path / "out", checkout, wheels)


def test_no_wheel_is_shipped_and_none_fetched(checkout, tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "run", None)  # pip cannot be called
    monkeypatch.setattr("dataset_builder.bundle._describe_commit", lambda root: {})
    manifest = build_bundle(tmp_path / "out", root=checkout, wheels=tmp_path / "wheels")
    assert not any(entry["path"].startswith("wheels/") for entry in manifest["files"])


def test_a_wheel_is_fetched_once_by_pip_then_taken_from_disk(wheels, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", wheels.as_uri())
    ((_, fetched),) = found = fetch_wheels(tmp_path / "wheels", wheels / "wheels.txt")
    assert fetched.read_bytes() == (wheels / fetched.name).read_bytes()
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    assert fetch_wheels(tmp_path / "wheels", wheels / "wheels.txt") == found
    with pytest.raises(ValueError, match=rf"cannot fetch {MODULE}-1\.0.*; connect, or put them into"):
        fetch_wheels(tmp_path / "empty", wheels / "wheels.txt")


def test_a_wheel_with_another_hash_is_refused(wheels, tmp_path):
    (path,) = wheels.glob("*.whl")
    (tmp_path / path.name).write_bytes(path.read_bytes() + b"x")
    with pytest.raises(ValueError, match="sha256 is not the one in"):
        fetch_wheels(tmp_path, wheels / "wheels.txt")


def test_a_wheel_without_hash_is_refused(tmp_path):
    (tmp_path / "wheels.txt").write_text("little-tool==1.0\n")
    with pytest.raises(ValueError, match="--hash=sha256"):
        read_requirements(tmp_path / "wheels.txt")


# --- what the pushed file makes of a bundle -----------------------------------------------------------------------


@pytest.fixture
def bundle(checkout, wheels, tmp_path) -> Path:
    folder = tmp_path / "input" / kernel_main.BUNDLE_NAME
    build(folder, checkout, wheels)
    return folder


@pytest.mark.parametrize("where", [".", "datasets/someone", "unknown", "unknown/deeper/still"])
def test_the_bundle_is_found(bundle, tmp_path, where):
    root = tmp_path / "mounts"
    name = kernel_main.BUNDLE_NAME if "unknown" not in where else "renamed"
    (root / where).mkdir(parents=True, exist_ok=True)
    bundle.rename(root / where / name)
    (root / "other").mkdir()
    (root / "other" / "manifest.json").write_text('{"name": "a web page"}')
    found, manifest = kernel_main.find_bundle(root)
    assert found == root / where / name
    kernel_main.verify(found, manifest)


def test_no_bundle_and_two_bundles_are_errors(bundle, tmp_path):
    with pytest.raises(FileNotFoundError, match="no bundle below"):
        kernel_main.find_bundle(tmp_path / "empty")
    shutil.copytree(bundle, tmp_path / "mounts" / "one")
    shutil.copytree(bundle, tmp_path / "mounts" / "two")
    with pytest.raises(ValueError, match="several bundles"):
        kernel_main.find_bundle(tmp_path / "mounts")


@pytest.mark.parametrize("damage", ["missing", "altered", "cut"])
@pytest.mark.parametrize("name", ["kernel/predict.py", "weights/small/fold_0.weights.h5"])
def test_a_damaged_file_is_named(bundle, name, damage):
    path = bundle / name
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(ValueError, match=f"{path}: {'missing' if damage == 'missing' else 'damaged'}"):
        kernel_main.verify(*kernel_main.find_bundle(bundle.parent))


@pytest.mark.parametrize("suffix", [".whl", ""])
def test_a_wheel_may_come_as_a_folder(bundle, suffix):
    (wheel,) = (bundle / "wheels").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(bundle / "unpacked")
    wheel.unlink()
    folder = wheel.with_suffix(suffix)
    (bundle / "unpacked").rename(folder)
    kernel_main.verify(*kernel_main.find_bundle(bundle.parent))
    victim = folder / MODULE / "__init__.py"
    victim.write_text("damaged")
    with pytest.raises(ValueError, match=f"{victim}: missing or damaged"):
        kernel_main.verify(*kernel_main.find_bundle(bundle.parent))
    shutil.rmtree(folder)
    with pytest.raises(ValueError, match="missing from the bundle, as a wheel and as a folder"):
        kernel_main.verify(*kernel_main.find_bundle(bundle.parent))


@pytest.mark.parametrize("unpacked", [False, True])
def test_a_wheel_serves_only_what_does_not_import(bundle, monkeypatch, unpacked):
    folder, manifest = kernel_main.find_bundle(bundle.parent)
    (wheel,) = (folder / "wheels").glob("*.whl")
    if unpacked:
        content = folder / "content"
        zipfile.ZipFile(wheel).extractall(content)
        wheel.unlink()
        content.rename(wheel)
    monkeypatch.setattr(sys, "path", [*sys.path])
    importable = {"path": "json.whl", "module": "json"}
    assert kernel_main.provide_modules(folder, {"files": [*manifest["files"], importable]}) == [MODULE]
    assert importlib.import_module(MODULE).VALUE == 42
    sys.modules.pop(MODULE)


@pytest.mark.parametrize("content", ["", "[]", '{"format": "other"}', "{}"])
def test_a_manifest_of_another_kind_is_refused(tmp_path, content):
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(ValueError, match=r"manifest\.json: not a manifest of format"):
        kernel_main.read_manifest(tmp_path / "manifest.json")


@pytest.mark.parametrize("where", ["{}", "competitions/{}", "some/where"])
def test_the_competition_is_found(tmp_path, where):
    folder = tmp_path / where.format(kernel_main.COMPETITION)
    (folder / "test_eegs").mkdir(parents=True)
    (folder / "test.csv").write_text("eeg_id\n1\n")
    assert kernel_main.find_competition(tmp_path) == folder
    (folder / "test.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"test\.csv and test_eegs"):
        kernel_main.find_competition(tmp_path)
