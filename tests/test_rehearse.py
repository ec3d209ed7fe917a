"""The rehearsal for real: namespaces, mounts, a cut network; this checkout's bundle, and kernels that fail."""

import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dataset_builder.bundle import build_bundle
from rehearsal.inference import rehearse_inference
from rehearsal.isolation import find_isolation, guard, isolate
from rehearsal.memory import describe_rehearsal, rehearse_once
from rehearsal.run import LAYOUTS, Findings, mount, run_kernel
from rehearsal.simulated import draw_hidden_test, hash_simulator
from tests.conftest import ROOT

WHY_NOT = find_isolation()
needs_namespaces = pytest.mark.skipif(WHY_NOT is not None, reason=f"no namespaces here: {WHY_NOT}")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    """The bundle of this checkout's code and of one of its models, the smallest."""
    root = tmp_path_factory.mktemp("checkout")
    (root / "weights").mkdir()
    for name in ("kernel", "weights/raw_1d"):
        (root / name).symlink_to(ROOT / name)
    folder = root / "dist" / "dataset"
    build_bundle(folder, root=root)
    return folder


def rehearse(source: Path, out: Path, bundle: Path, code_file: Path = ROOT / "kernel" / "main.py", **options):
    options = {"dist": out.parent, "code_file": code_file, "log": lambda _: None, **options}
    return rehearse_inference(source, out, bundle, **options)


ISOLATIONS = [pytest.param("flat", "namespace", marks=needs_namespaces), ("nested", "guard")]


@pytest.mark.parametrize(("layout", "isolation"), ISOLATIONS)
def test_the_bundle_answers_a_hidden_test(bundle, hidden_test, tmp_path, layout, isolation):
    lines: list[str] = []
    found = rehearse(hidden_test, tmp_path, bundle, layout=layout, isolation=isolation, log=lines.append)
    table = pd.read_csv(found.data["submission"])
    assert list(table["eeg_id"]) == [101, 102, 103]
    assert found.data["rows"] == 3
    assert found.data["fallbacks"] == 1, "recording 103 has no file"
    assert found.data["kl_uniform"] == pytest.approx(np.log(6), abs=1e-6)
    assert 0 < found.data["kl"] < 30
    assert found.lines[0].endswith("3 rows, 1 answered with the prior")
    start = json.loads(next(line for line in lines if "HMS-START" in line).split(" ", 3)[-1])
    manifest = json.loads((bundle / "manifest.json").read_text())
    end = json.loads(next(line for line in lines if "HMS-END" in line).split(" ", 3)[-1])
    assert start["tree_sha256"] == end["tree_sha256"] == manifest["tree_sha256"]
    if isolation == "namespace":
        assert start["bundle"] == "/kaggle/input/hms-scalogram-bundle"
    assert "HMS-END" in (tmp_path / "kernel.log").read_text()


def rehearse_code(code: str, hidden_test: Path, bundle: Path, out: Path, **options):
    script = out.parent / "script.py"
    script.write_text(code)
    return rehearse(hidden_test, out, bundle, script, **options)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise SystemExit('no such thing')", "status 1: no such thing"),
        ("print('done')", "status 0: done"),
        ("import os; os.kill(os.getpid(), 9)", "failed with status"),
        ("print('HMS-END {}')", "submission.csv: no such file"),
    ],
)
def test_a_kernel_that_fails_fails_the_rehearsal(bundle, hidden_test, tmp_path, code, message):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "submission.csv").write_text("left over from an earlier run")
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        rehearse_code(code, hidden_test, bundle, tmp_path / "out")


def test_a_damaged_bundle_stops_with_the_files_name(bundle, hidden_test, tmp_path):
    damaged = tmp_path / "dataset"
    shutil.copytree(bundle, damaged)
    (damaged / "kernel" / "montage.py").write_text("damaged")
    with pytest.raises(ValueError, match=r"kernel/montage\.py: damaged"):
        rehearse(hidden_test, tmp_path / "out", damaged)


@pytest.mark.parametrize("missing", ["test.csv", "test_eegs"])
def test_an_input_that_lacks_something_is_named(bundle, tmp_path, missing):
    (tmp_path / "test_eegs").mkdir()
    (tmp_path / "test.csv").write_text("eeg_id\n1\n")
    path = tmp_path / missing
    path.rmdir() if path.is_dir() else path.unlink()
    with pytest.raises(FileNotFoundError, match=missing):
        rehearse(tmp_path, tmp_path / "out", bundle)


def test_a_hidden_test_is_drawn_once_and_anew_by_a_changed_simulator(tmp_path, monkeypatch):
    folder = draw_hidden_test(tmp_path, 1, 0)
    (path,) = (folder / "test_eegs").iterdir()
    drawn = path.read_bytes()
    path.write_bytes(b"as the simulator was before")
    assert draw_hidden_test(tmp_path, 1, 0) == folder
    assert path.read_bytes() == b"as the simulator was before", "the same simulator does not draw again"
    for change in (
        lambda: monkeypatch.setattr("rehearsal.simulated.hash_simulator", lambda: "another"),
        lambda: (folder / "drawn_by.txt").unlink(),  # as drawn before there was a record
    ):
        path.write_bytes(b"as the simulator was before")
        change()
        draw_hidden_test(tmp_path, 1, 0)
        assert path.read_bytes() == drawn
    (tmp_path / "hidden_test_2_0").mkdir()
    (tmp_path / "hidden_test_2_0" / "test.csv").write_text("mine")
    with pytest.raises(ValueError, match="holds data that was not simulated"):
        draw_hidden_test(tmp_path, 2, 0)


@pytest.mark.parametrize("name", ["simulator/generate.py", "simulator/raters.npz", "kernel/montage.py"])
def test_every_source_of_the_simulator_counts(tmp_path, name):
    for room in ("simulator", "kernel"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns("__pycache__"))
    assert hash_simulator(tmp_path) == hash_simulator()
    path = tmp_path / name
    path.write_bytes(path.read_bytes() + b"\n")
    assert hash_simulator(tmp_path) != hash_simulator()


PROBE = """
import json, os, socket, sys
def attempt(action):
    try:
        action()
        return "worked"
    except OSError:
        return "refused"
print("FOUND " + json.dumps({
    "interfaces": [name for _, name in socket.if_nameindex()],
    "host": attempt(lambda: socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=2)),
    "write input": attempt(lambda: open("/kaggle/input/data/new", "w")),
    "write file": attempt(lambda: open("/kaggle/input/data/file", "a")),
    "write beside": attempt(lambda: open("/kaggle/input/new", "w")),
    "write working": attempt(lambda: open("/kaggle/working/new", "w")),
    "secret": os.path.exists(sys.argv[2]),
}))
"""


@pytest.fixture
def server():
    """A server of this machine that answers: what a cut network must not reach."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running.server_port
        running.shutdown()


@needs_namespaces
@pytest.mark.parametrize("user", ["this", "unprivileged"])
def test_the_cut_holds(server, tmp_path, monkeypatch, user):
    (tmp_path / "stage").mkdir()
    for name in ("data", "working", "hidden"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
    working = ("/kaggle/working", tmp_path / "working")
    command = [sys.executable, "-c", PROBE, str(server), str(tmp_path / "hidden" / "file")]
    outside = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert json.loads(outside.removeprefix("FOUND "))["host"] == "worked", "the server must answer outside"
    prefix = []
    if user == "unprivileged":
        if os.geteuid() != 0:
            pytest.skip("already an ordinary user")
        prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        command[0] = "/usr/bin/python3"
        monkeypatch.setenv("PATH", "/usr/local/bin:/usr/bin:/bin")  # as many systems give it to ordinary users
        (tmp_path / "working").chmod(0o777)
        for folder in [tmp_path, *tmp_path.parents][:-2]:
            folder.chmod(folder.stat().st_mode | 0o755)
    read_only = {"/kaggle/input/data": tmp_path / "data"}
    line = isolate(command, tmp_path / "stage", read_only, working, [tmp_path / "hidden"])
    done = subprocess.run([*prefix, *line], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.removeprefix("FOUND "))
    assert found == {
        "interfaces": ["lo"],
        "host": "refused",
        "write input": "refused",
        "write file": "refused",
        "write beside": "refused",
        "write working": "worked",
        "secret": False,
    }
    assert not (tmp_path / "data" / "new").exists()


def test_the_guard_refuses_connections(server, tmp_path):
    environment = {"PATH": os.environ["PATH"], **guard(tmp_path)}
    code = f"import socket; socket.create_connection(('127.0.0.1', {server}), timeout=2)"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "the rehearsal has cut the network" in done.stderr


def test_the_kernel_sees_no_credential(bundle, hidden_test, tmp_path, monkeypatch):
    monkeypatch.setenv("KAGGLE_KEY", "not-to-be-seen")
    code = (
        "import os; print(sorted(os.environ), os.environ['HOME'], os.listdir(os.environ['HOME'])); raise SystemExit(3)"
    )
    with pytest.raises(ValueError, match="status 3") as error:
        rehearse_code(code, hidden_test, bundle, tmp_path / "out")
    assert "KAGGLE_IS_COMPETITION_RERUN" in str(error.value)
    assert "KAGGLE_KEY" not in str(error.value)


SOURCES = [
    ("dataset", "owner/data", ("data", "datasets/owner/data")),
    ("competition", "a-challenge", ("a-challenge", "competitions/a-challenge")),
    ("notebook", "owner/first-run", ("first-run", "notebooks/owner/first-run")),
    ("model", "keras/net/tf/b2/1", ("net/tf/b2/1", "models/keras/net/tf/b2/1")),
]
READ = """
import argparse, json, os
from pathlib import Path
parser = argparse.ArgumentParser()
parser.add_argument("--input", type=Path, default=Path("/kaggle/input"))
parser.add_argument("--working", type=Path, default=Path("/kaggle/working"))
args = parser.parse_args()
folders = [Path(folder) for folder, _, names in os.walk(args.input, followlinks=True) if "name.txt" in names]
found = {(folder / "name.txt").read_text(): folder.relative_to(args.input).as_posix() for folder in folders}
(args.working / "out.txt").write_text("kept")
print("HMS-END " + json.dumps(found))
"""


@pytest.mark.parametrize("isolation", [pytest.param("namespace", marks=needs_namespaces), "guard"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_kind_of_source_is_mounted_as_kaggle_does(tmp_path, layout, isolation):
    mounts = {}
    for kind, ref, _ in SOURCES:
        folder = tmp_path / "a folder" / kind
        folder.mkdir(parents=True)
        (folder / "name.txt").write_text(kind)
        mounts[mount(kind, ref, layout)] = folder
    (tmp_path / "script.py").write_text(READ)
    run = run_kernel(tmp_path / "script.py", mounts, tmp_path / "out", isolation=isolation, log=lambda _: None)
    assert run.report == {kind: paths[LAYOUTS.index(layout)] for kind, _, paths in SOURCES}
    assert (tmp_path / "out" / "out.txt").read_text() == "kept"


@pytest.mark.parametrize("isolation", [pytest.param("namespace", marks=needs_namespaces), "guard"])
def test_an_error_names_the_users_path_and_is_said_once(tmp_path, isolation):
    (tmp_path / "data").mkdir()
    mounts = {mount("dataset", "owner/data", "nested"): tmp_path / "data"}
    script = tmp_path / "script.py"
    script.write_text(
        READ.replace("folders =", "raise SystemExit(f'error: {next(args.input.glob(\"*/*/*\"))}/t.csv: bad')#")
    )
    lines: list[str] = []
    with pytest.raises(ValueError, match="bad") as error:
        run_kernel(script, mounts, tmp_path / "out", isolation=isolation, log=lines.append)
    assert str(error.value).startswith(f"{tmp_path}/data/t.csv: bad")
    assert not any("bad" in line for line in lines)
    assert "bad" in (tmp_path / "out" / "kernel.log").read_text()


def test_a_bad_table_is_named_before_anything_runs(bundle, tmp_path):
    (tmp_path / "test_eegs").mkdir()
    (tmp_path / "test.csv").write_text("eeg_id\nnonsense\n")
    lines: list[str] = []
    with pytest.raises(ValueError, match="whole numbers") as error:
        rehearse(tmp_path, tmp_path / "out", bundle, log=lines.append)
    assert str(error.value).startswith(f"{tmp_path}/test.csv: ")
    assert lines == []


def test_a_working_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "script.py").write_text("")
    with pytest.raises(ValueError, match=r"script\.py is a file.*OUT="):
        run_kernel(tmp_path / "script.py", {}, tmp_path / "script.py")


@needs_namespaces
def test_a_temporary_folder_with_a_space_will_do(tmp_path, monkeypatch):
    folder = tmp_path / "a folder; with $signs"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    (tmp_path / "script.py").write_text("print('HMS-END {}')")
    run = run_kernel(tmp_path / "script.py", {}, tmp_path / "out", isolation="namespace", log=lambda _: None)
    assert run.report == {}


FULL = """
import sys
from pathlib import Path
from rehearsal.run import run_kernel
try:
    run_kernel(Path(sys.argv[1]), {}, Path("/mnt/out"), isolation="guard", log=lambda _: None)
except OSError as error:
    print("FOUND", error)
"""


@needs_namespaces
def test_a_full_disk_is_named_with_the_file(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("print('x' * 100_000)\nprint('HMS-END {}')")
    full = 'mount -t tmpfs -o size=8k tmpfs /mnt && exec "$@"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", full, "sh"]
    command += [sys.executable, "-c", FULL, str(script)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert "no space left to write /mnt/out/kernel.log" in done.stdout, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == 1


def test_a_rehearsal_is_remembered_for_exactly_what_it_was(tmp_path):
    code, source = "pass", tmp_path / "hidden"
    source.mkdir()
    (source / "test.csv").write_text("eeg_id\n1\n")
    manifest = {"tree_sha256": "a", "versions": {"numpy": "2"}}

    def passed(manifest: dict, code: str) -> bool:
        """Whether it is remembered; where it is not, it fails, and is not remembered afterwards."""

        def fail():
            raise ValueError("rehearsed")

        try:
            rehearse_once(tmp_path, describe_rehearsal(manifest, code, source), fail, print)
        except ValueError:
            return False
        return True

    assert not passed(manifest, code)
    lines: list[str] = []
    about = describe_rehearsal(manifest, code, source)
    rehearse_once(tmp_path, about, lambda: Findings([], {"rows": 3}), lines.append)
    assert lines == ["rehearsing it"]
    assert passed(manifest, code)
    assert json.loads((tmp_path / "rehearsed.json").read_text())["found"] == {"rows": 3}
    (source / "test.csv").write_text("eeg_id\n2\n")
    assert not passed(manifest, code), "another input"
    (source / "test.csv").write_text("eeg_id\n1\n")
    assert not passed(manifest, "other"), "another pushed file"
    assert not passed({**manifest, "tree_sha256": "b"}, code)
    assert not passed({**manifest, "versions": {}}, code)
    assert passed(manifest, code)
    (tmp_path / "rehearsed.json").write_text("{")
    assert not passed(manifest, code)
