"""The rehearsal for real: namespaces, mounts, a cut network; this checkout's bundle, and kernels that fail."""

import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dataset_builder.bundle import build_bundle
from kernel.constants import VOTES
from rehearsal.isolation import Sandbox, find_isolation, guarded, isolated
from rehearsal.rehearse import read_votes, rehearse
from tests.conftest import make_eeg, write_recording

WHY_NOT = find_isolation()
needs_namespaces = pytest.mark.skipif(WHY_NOT is not None, reason=f"no namespaces here: {WHY_NOT}")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "dataset"
    build_bundle(folder)
    return folder


@pytest.fixture(scope="module")
def hidden_test(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("hidden")
    (folder / "test_eegs").mkdir()
    ids = [101, 102, 103]
    for eeg_id in ids[:2]:
        write_recording(folder / "test_eegs" / f"{eeg_id}.parquet", make_eeg(seed=eeg_id))
    pd.DataFrame({"spectrogram_id": ids, "eeg_id": ids, "patient_id": 1}).to_csv(folder / "test.csv", index=False)
    votes = pd.DataFrame(np.eye(6, dtype=int)[[0, 3, 5]] * 12, columns=list(VOTES))
    votes.insert(0, "eeg_id", ids[::-1])
    votes.to_csv(folder / "test_votes.csv", index=False)
    return folder


ISOLATIONS = [pytest.param("flat", "namespace", marks=needs_namespaces), ("nested", "guard")]


@pytest.mark.parametrize(("layout", "isolation"), ISOLATIONS)
def test_the_bundle_answers_a_hidden_test(bundle, hidden_test, tmp_path, layout, isolation):
    lines: list[str] = []
    result = rehearse(hidden_test, tmp_path, bundle=bundle, layout=layout, isolation=isolation, log=lines.append)
    table = pd.read_csv(result.submission)
    assert list(table["eeg_id"]) == [101, 102, 103]
    assert result.to_json()["rows"] == 3
    assert result.to_json()["fallbacks"] == 1, "recording 103 has no file"
    assert result.scores["kl_uniform"] == pytest.approx(np.log(6), abs=1e-6)
    assert 0 < result.scores["kl"] < 30
    start = json.loads(next(line for line in lines if "HMS-START" in line).split(" ", 3)[-1])
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert start["tree_sha256"] == result.report["tree_sha256"] == manifest["tree_sha256"]
    if isolation == "namespace":
        assert start["bundle"] == "/kaggle/input/hms-scalogram-bundle"
    assert "HMS-END" in (tmp_path / "kernel.log").read_text()


def run_kernel(code: str, hidden_test: Path, bundle: Path, out: Path, **options):
    script = out.parent / "script.py"
    script.write_text(code)
    return rehearse(hidden_test, out, bundle=bundle, code_file=script, log=lambda line: None, **options)


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
        run_kernel(code, hidden_test, bundle, tmp_path / "out")


def test_a_damaged_bundle_stops_with_the_files_name(bundle, hidden_test, tmp_path):
    import shutil

    damaged = tmp_path / "dataset"
    shutil.copytree(bundle, damaged)
    (damaged / "kernel" / "montage.py").write_text("damaged")
    with pytest.raises(ValueError, match=r"kernel/montage\.py: damaged"):
        rehearse(hidden_test, tmp_path / "out", bundle=damaged, log=lambda line: None)


@pytest.mark.parametrize("missing", ["test.csv", "test_eegs"])
def test_an_input_that_lacks_something_is_named(bundle, tmp_path, missing):
    (tmp_path / "test_eegs").mkdir()
    (tmp_path / "test.csv").write_text("eeg_id\n1\n")
    path = tmp_path / missing
    path.rmdir() if path.is_dir() else path.unlink()
    with pytest.raises(FileNotFoundError, match=missing):
        rehearse(tmp_path, tmp_path / "out", bundle=bundle)


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
def test_the_cut_holds(server, tmp_path, user):
    for name in ("data", "working", "hidden"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
    sandbox = Sandbox(
        {"/kaggle/input/data": tmp_path / "data"}, {"/kaggle/working": tmp_path / "working"}, [tmp_path / "hidden"]
    )
    command = [sys.executable, "-c", PROBE, str(server), str(tmp_path / "hidden" / "file")]
    outside = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert json.loads(outside.removeprefix("FOUND "))["host"] == "worked", "the server must answer outside"
    prefix = []
    if user == "unprivileged":
        if os.geteuid() != 0:
            pytest.skip("already an ordinary user")
        prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        command[0] = "/usr/bin/python3"
        (tmp_path / "working").chmod(0o777)
        for folder in [tmp_path, *tmp_path.parents][:-2]:
            folder.chmod(folder.stat().st_mode | 0o755)
    with isolated(command, sandbox) as line:
        Path(line[-1].split("\n")[0].split()[-1]).chmod(0o755)
        done = subprocess.run([*prefix, *line], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.removeprefix("FOUND "))
    assert found == {
        "interfaces": ["lo"],
        "host": "refused",
        "write input": "refused",
        "write file": "refused",
        "write working": "worked",
        "secret": False,
    }
    assert not (tmp_path / "data" / "new").exists()


def test_the_guard_refuses_connections(server):
    with guarded({"PATH": os.environ["PATH"]}) as environment:
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
        run_kernel(code, hidden_test, bundle, tmp_path / "out")
    assert "KAGGLE_IS_COMPETITION_RERUN" in str(error.value)
    assert "KAGGLE_KEY" not in str(error.value)


def test_votes_are_shares_in_the_order_of_the_ids(tmp_path):
    table = pd.DataFrame(
        [[1, 3, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 0, 4], [1, 0, 0, 0, 0, 0, 2]], columns=["eeg_id", *VOTES]
    )
    table.to_csv(tmp_path / "train.csv", index=False)
    votes = read_votes(tmp_path, np.array([2, 1]))
    assert votes is not None
    np.testing.assert_allclose(votes[list(VOTES)], [[0, 0, 0, 0, 0, 1], [0.5, 0, 0, 0, 0, 0.5]])
    assert read_votes(tmp_path, np.array([2, 3])) is None
