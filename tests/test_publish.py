"""Push, status, submit, output and doctor, over HTTP, when all goes well."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import pty
import socket
import subprocess
import sys
import termios
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from werkzeug.wrappers import Request, Response

from dataset_builder.metadata import dataset_metadata, find_dataset_faults, make_slug, make_title
from publisher.kernel import read_stamp, stamp
from publisher.output import is_safe
from publisher.run import decode_log, find_marker
from publisher.target import aim, fill_kernel_metadata, find_kernel_faults
from publisher.upload import pack
from rehearsal.job import INFERENCE
from tests.kaggle_server import KEY, REFRESH, TOKEN, USER, as_log, hang, take_part
from tests.publishing import DATASET, KERNEL, Desk, open_desk
from tests.tiny_job import PUSHED_FILE

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with open_desk(tmp_path) as desk:
        yield desk


def test_push_publishes_and_records(desk: Desk) -> None:
    desk.forget_rehearsals()
    result = desk.run("push")
    assert result.status == 0, result.text
    assert "HMS-START" in result.out
    dataset = desk.server.datasets[DATASET]
    assert dataset.private
    assert len(dataset.versions) == 1
    served = dataset.versions[0].files
    manifest = json.loads(served["manifest.json"])
    for file in manifest["files"]:
        assert hashlib.sha256(served[file["path"]]).hexdigest() == file["sha256"]
    saved = desk.server.kernels[KERNEL][0].request
    assert saved["isPrivate"] is True
    assert saved["enableInternet"] is False
    assert saved["datasetDataSources"] == [DATASET]
    assert saved["competitionDataSources"] == ["hms-harmful-brain-activity-classification"]
    assert saved["text"].startswith(PUSHED_FILE.rstrip())
    record = desk.record()
    assert record["dataset"] == {"ref": DATASET, "version": 1, "tree_sha256": manifest["tree_sha256"]}
    assert record["kernel"]["version"] == 1
    assert record["kernel"]["sha256"] == hashlib.sha256(saved["text"].encode()).hexdigest()
    assert record["commit"] == manifest["commit"]
    assert not (desk.dist / "publishing.json").exists()


def test_the_same_content_is_left_alone(desk: Desk) -> None:
    desk.run("push")
    state = desk.server.state()
    desk.server.calls.clear()
    result = desk.run("push")
    assert result.status == 0
    assert desk.server.state() == state
    assert not {"PUT", "StartBlobUpload", "CreateDatasetVersion", "SaveKernel"} & set(desk.server.calls)
    assert "unchanged" in result.out
    assert "rehearsed as it is on" in result.out
    assert "HMS-START" not in result.out


def test_a_lost_record_is_rebuilt_from_the_service(desk: Desk) -> None:
    desk.run("push")
    record, state = desk.record(), desk.server.state()
    (desk.dist / "published.json").unlink()
    assert desk.run("push").status == 0
    assert desk.record() == record
    assert desk.server.state() == state


def test_another_content_becomes_a_version(desk: Desk) -> None:
    desk.run("push")
    desk.change_weights("second")
    assert desk.run("push").status == 0
    assert len(desk.server.datasets[DATASET].versions) == 2
    assert len(desk.server.kernels[KERNEL]) == 2
    assert desk.record()["dataset"]["version"] == 2
    desk.change_weights("first")  # and back: the hash of the latest version counts, not any earlier one
    assert desk.run("push").status == 0
    assert len(desk.server.datasets[DATASET].versions) == 3


def test_force_runs_the_kernel_once_more_without_uploading(desk: Desk) -> None:
    desk.run("push")
    assert desk.run("push", "--force").status == 0
    assert len(desk.server.datasets[DATASET].versions) == 1
    assert len(desk.server.kernels[KERNEL]) == 2
    assert desk.record()["kernel"]["version"] == 2


def test_owner_and_slugs_can_be_given(desk: Desk) -> None:
    names = ("--owner", "lab", "--dataset", "our-bundle", "--kernel", "our-kernel", "--competition", "other-challenge")
    assert desk.run("push", *names).status == 0
    assert list(desk.server.datasets) == ["lab/our-bundle"]
    saved = desk.server.kernels["lab/our-kernel"][0].request
    assert saved["datasetDataSources"] == ["lab/our-bundle"]
    assert saved["competitionDataSources"] == ["other-challenge"]
    assert make_slug(saved["newTitle"]) == "our-kernel"


def test_a_slug_that_kaggle_would_refuse_is_refused_first(desk: Desk) -> None:
    result = desk.run("push", "--dataset", "Tiny")
    assert result.status == 1
    assert "--dataset" in result.err
    result = desk.run("push", "--dataset", "same-name", "--kernel", "same-name")
    assert result.status == 1
    assert "share the slug" in result.err
    assert desk.server.state()["datasets"] == {}


def test_from_push_to_score_in_one_go(desk: Desk) -> None:
    result = desk.run("push", "--submit")
    assert result.status == 0, result.text
    assert len(desk.server.submissions) == 1
    asked = desk.server.submissions[0].request
    assert asked["kernelVersion"] == 1
    assert f"{asked['kernelOwner']}/{asked['kernelSlug']}" == KERNEL
    assert asked["fileName"] == "submission.csv"
    status, report = desk.json("status", "--watch")
    assert status == 0
    assert report["state"] == "scored"
    assert (report["submission"]["public_score"], report["submission"]["private_score"]) == ("0.31", "0.35")


def test_status_without_watching_says_that_kaggle_is_at_work(desk: Desk) -> None:
    desk.server.run_polls = 3
    desk.run("push")
    status, report = desk.json("status", "--no-watch")
    assert status == 3
    assert report["state"] == "working"
    assert report["kernel"]["status"] == "QUEUED"


def test_watching_ends_by_ctrl_c_and_says_how_to_go_on(desk: Desk) -> None:
    desk.server.run_polls = 10**6
    desk.run("push")
    process, _, err = desk.spawn("status", "--watch")
    while desk.server.calls.count("GetKernelSessionStatus") < 3:
        time.sleep(0.02)
    assert "make status" in desk.interrupt(process, err)


def run_on_a_terminal(desk: Desk, *argv: str) -> tuple[int, bytes]:
    """Run a command with a terminal as its outputs; return its status and what the terminal showed."""
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, 100))
    process, *_ = desk.spawn(*argv, terminal=os.ttyname(follower))
    process_ended = threading.Thread(target=lambda: (process.join(120), os.close(follower)))
    process_ended.start()
    shown = b""
    while True:
        try:
            piece = os.read(leader, 4096)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(leader)
    process_ended.join()
    return process.exitcode, shown


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
def test_on_a_terminal_there_is_a_bar_for_bytes_and_a_live_line(desk: Desk) -> None:
    desk.server.run_polls = desk.server.processing = 2
    status, shown = run_on_a_terminal(desk, "push", "--interval", "0.2")
    assert status == 0
    assert b"uploading: 100%" in shown, shown.decode()
    assert b"B/s" in shown
    assert b"waiting for Kaggle" in shown
    status, shown = run_on_a_terminal(desk, "status", "--interval", "0.2")
    assert status == 0
    assert b"next look in" in shown
    assert b"complete:" in shown


def test_watching_grows_slower_within_bounds() -> None:
    from publisher.service.session import Pace

    pauses = Pace(interval=1, longest=8).pauses()
    first = [next(pauses) for _ in range(12)]
    assert 0.9 <= first[0] <= 1.1
    assert all(later > earlier for earlier, later in itertools.pairwise(first[:5]))
    assert max(first) <= 8 * 1.1


def test_submitting_twice_needs_force(desk: Desk) -> None:
    desk.run("push", "--submit")
    again = desk.run("submit")
    assert again.status == 1
    assert "FORCE=1" in again.err
    assert len(desk.server.submissions) == 1
    assert desk.run("submit", "--force").status == 0
    descriptions = [item.request["submissionDescription"] for item in desk.server.submissions]
    assert len(set(descriptions)) == 2


def test_a_submission_that_the_record_lost_is_found(desk: Desk) -> None:
    desk.run("push", "--submit")
    record = desk.record()
    path = desk.dist / "published.json"
    path.write_text(json.dumps({name: value for name, value in record.items() if name != "submission"}))
    assert desk.run("submit").status == 0
    assert desk.record() == record
    assert len(desk.server.submissions) == 1


def test_output_brings_the_exact_version(desk: Desk) -> None:
    desk.run("push")
    desk.run("status", "--watch")
    desk.run("push", "--force")  # version 2, which is not the one asked for below
    record = desk.record()
    record["kernel"]["version"] = 1
    (desk.dist / "published.json").write_text(json.dumps(record))
    status, answer = desk.json("output")
    assert status == 0, answer
    assert answer["files"] == ["hms-scalogram-inference.log", "report/timing.json", "submission.csv"]
    assert answer["rows"] == answer["end"]["rows"] == 3
    out = desk.dist / "output"
    assert (out / "hms-scalogram-inference.log").read_text().splitlines()[1] == "working"
    assert sorted(path.name for path in desk.dist.iterdir() if path.name.startswith("output")) == ["output"]


def test_an_upload_has_the_same_bytes_each_time(tmp_path: Path, desk: Desk) -> None:
    first = [(path.name, path.read_bytes()) for path in pack(desk.source, tmp_path / "a")]
    for path in desk.source.rglob("*"):
        os.utime(path, (1, 1))
    (desk.source / "kernel" / "main.py").chmod(0o600)
    assert [(path.name, path.read_bytes()) for path in pack(desk.source, tmp_path / "b")] == first
    with zipfile.ZipFile(tmp_path / "a" / "weights.zip") as archive:
        assert archive.namelist() == ["b2/config.json", "b2/fold_0.weights.h5"]


@pytest.mark.parametrize(
    "kind", ["variables", "kaggle.json", "config dir", "token variable", "token file", "stale token"]
)
def test_every_usual_place_of_credentials(desk: Desk, kind: str) -> None:
    folder = desk.home / ".kaggle"
    folder.mkdir(parents=True)
    if kind != "variables":
        desk.environment |= {"KAGGLE_USERNAME": "-unset-", "KAGGLE_KEY": "-unset-"}
    key = json.dumps({"username": USER, "key": KEY})
    if kind == "kaggle.json":
        (folder / "kaggle.json").write_text(key)
    elif kind == "config dir":
        folder = desk.home / "elsewhere"
        folder.mkdir()
        (folder / "kaggle.json").write_text(key)
        desk.environment["KAGGLE_CONFIG_DIR"] = str(folder)
    elif kind == "token variable":
        desk.environment["KAGGLE_API_TOKEN"] = TOKEN
    elif kind == "token file":
        (folder / "access_token").write_text(TOKEN + "\n")
    elif kind == "stale token":
        (folder / "access_token").write_text(TOKEN)
        desk.server.stale_tokens.add(TOKEN)
        (folder / "kaggle.json").write_text(key)
    assert desk.run("push").status == 0
    doctor = desk.run("doctor")
    wanted = {
        "variables": "KAGGLE_USERNAME and KAGGLE_KEY",
        "kaggle.json": "kaggle.json",
        "config dir": "elsewhere/kaggle.json",
        "token variable": "the access token from KAGGLE_API_TOKEN",
        "token file": "the access token from ~/.kaggle/access_token",
        "stale token": "Kaggle refuses the token",
    }
    assert wanted[kind] in doctor.out
    assert doctor.status == 0
    assert len(desk.server.kernels[KERNEL]) == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [("{'username': 'alice'}", "is not JSON"), ('["alice"]', "holds no JSON object"), ("{}", "lacks username and key")],
)
def test_a_key_file_that_holds_no_key_is_named(desk: Desk, content: str, says: str) -> None:
    folder = desk.home / ".kaggle"
    folder.mkdir(parents=True)
    (folder / "kaggle.json").write_text(content)
    assert desk.run("push").status == 0, "the key from the environment will do"
    assert f"kaggle.json {says}" in desk.run("doctor").out
    desk.environment |= {"KAGGLE_USERNAME": "-unset-", "KAGGLE_KEY": "-unset-"}
    result = desk.run("push")
    assert result.status == 1
    assert "no usable credentials found" in result.err
    assert f"kaggle.json {says}" in result.err


def write_oauth(desk: Desk, refresh: str) -> Path:
    """Write what `kaggle auth login` leaves, its access token run out a minute ago."""
    desk.environment |= {"KAGGLE_USERNAME": "-unset-", "KAGGLE_KEY": "-unset-"}
    path = desk.home / ".kaggle" / "credentials.json"
    path.parent.mkdir(parents=True)
    ended = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    about = {
        "refresh_token": refresh,
        "access_token": "run-out-token",
        "access_token_expiration": ended,
        "username": USER,
    }
    path.write_text(json.dumps(about))
    return path


def test_an_oauth_sign_in_is_refreshed(desk: Desk) -> None:
    write_oauth(desk, REFRESH)
    assert desk.run("push").status == 0
    assert "the OAuth sign-in from ~/.kaggle/credentials.json" in desk.run("doctor").out


def test_a_revoked_oauth_sign_in_is_told_and_kept(desk: Desk) -> None:
    path = write_oauth(desk, "revoked-refresh-token")
    before = path.read_bytes()
    result = desk.run("push")
    assert result.status == 1
    assert "The refresh token was revoked" in result.err
    assert "kaggle auth login" in result.err
    assert path.read_bytes() == before


def test_uploads_and_downloads_carry_no_credential(desk: Desk) -> None:
    desk.run("push")
    desk.server.run_polls = 0
    desk.run("output")
    open_paths = [with_it for path, with_it in desk.server.authorized if path.startswith(("/upload/", "/output/"))]
    assert len(open_paths) >= 5
    assert not any(open_paths)


def test_where_nothing_listens_the_line_says_so(desk: Desk) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    desk.environment |= dict.fromkeys(("http_proxy", "https_proxy"), f"http://127.0.0.1:{port}")
    result = desk.run("push")
    assert result.status == 1
    assert "Kaggle cannot be reached (through the proxy" in result.err


def test_ctrl_c_in_an_upload_loses_nothing(desk: Desk) -> None:
    held = threading.Event()

    def hold(request: Request) -> Response:
        held.set()
        return hang(desk.server)(request)

    desk.server.fault("PUT", take_part(desk.server, 0.5, hold), skip=2)
    process, _, err = desk.spawn("push")
    assert held.wait(120)
    assert "run the same command again to go on" in desk.interrupt(process, err)
    desk.server.release.set()
    assert desk.run("push").status == 0
    assert all(blob["sent"] == blob["size"] for blob in desk.server.blobs.values())
    assert len(desk.server.blobs) == 3


def test_a_spoilt_record_is_named(desk: Desk) -> None:
    desk.dist.mkdir(exist_ok=True)
    for content in ("{", "[]", '{"kernel": 1}'):
        (desk.dist / "published.json").write_text(content)
        result = desk.run("status")
        assert result.status == 1
        assert "published.json" in result.err


@pytest.mark.parametrize("option", ["--timeout", "--interval", "--patience"])
def test_waiting_times_must_be_positive(desk: Desk, option: str) -> None:
    result = desk.run("status", option, "0")
    assert result.status == 1
    assert f"{option} must be more than 0" in result.err


def test_doctor_names_each_fault_and_how_to_fix_it(desk: Desk) -> None:
    status, answer = desk.json("doctor")
    assert status == 0
    desk.environment |= {"KAGGLE_USERNAME": "-unset-", "KAGGLE_KEY": "-unset-"}
    result = desk.run("doctor", "--kernel", "x")
    assert result.status == 1
    assert "no usable credentials" in result.out
    assert "kaggle.com/settings" in result.out
    assert "the kernel's slug 'x'" in result.out
    assert result.out.count("fix:") >= 2
    assert all(finding["level"] in ("ok", "note", "error") for finding in answer["findings"])


def test_doctor_warns_of_a_key_that_others_can_read(desk: Desk) -> None:
    folder = desk.home / ".kaggle"
    folder.mkdir(parents=True)
    (folder / "kaggle.json").write_text("{}")
    (folder / "kaggle.json").chmod(0o644)
    assert "chmod 600" in desk.run("doctor").out


def test_json_is_all_that_standard_output_holds(desk: Desk) -> None:
    for argv in (("push",), ("status", "--watch"), ("submit",), ("output",), ("doctor",)):
        result = desk.run(*argv, "--json")
        assert json.loads(result.out)["ok"] is True, argv
    result = desk.run("submit", "--json")
    assert result.status == 1
    assert json.loads(result.out) == {"ok": False, "error": json.loads(result.out)["error"]}


def test_help_answers_without_credentials_or_network_and_loads_neither() -> None:
    """Every command's, in one process."""
    code = """import build, contextlib, sys
for command in sys.argv[1:]:
    with contextlib.suppress(SystemExit):
        build.main([command, "--help"])
print("loaded", *{"requests", "kaggle", "kagglesdk", "numpy"} & sys.modules.keys())"""
    commands = ("push", "status", "submit", "output", "doctor", "pull-weights")
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    result = subprocess.run(
        [sys.executable, "-c", code, *commands], env=environment, cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0
    assert result.stdout.count("--json") == 2 * len(commands)
    assert result.stdout.endswith("loaded\n")


def test_metadata_keep_the_rules(tmp_path: Path) -> None:
    target = aim(INFERENCE, "alice")
    assert find_dataset_faults(dataset_metadata("alice")) == []
    assert find_kernel_faults(fill_kernel_metadata(target)) == []
    assert find_dataset_faults(dataset_metadata(None))
    path = tmp_path / "kernel-metadata.json"
    path.write_text('{"title": "x", "code_file": "kernel/main.py"}')
    filled = fill_kernel_metadata(replace(target, job=replace(INFERENCE, metadata=path)))
    assert filled["enable_internet"] is False
    assert filled["is_private"] is True
    assert filled["code_file"] == "main.py"
    assert make_slug(make_title("hms-scalogram-bundle")) == "hms-scalogram-bundle"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"enable_internet": True}, "internet"),
        ({"enable_internet": "false"}, "true or false"),
        ({"is_private": False}, "public"),
        ({"machine_shape": "NvidiaTeslaP100"}, "P100"),
        ({"title": "Another name"}, "another-name"),
        ({"title": "abc"}, "shorter than 5"),
        ({"docker_image_pinning_type": "newest"}, "docker_image_pinning_type"),
        ({"enable_interent": False}, "ignores"),
        ({"language": "r"}, "language"),
    ],
)
def test_metadata_that_break_a_rule_are_named(change: dict[str, object], word: str) -> None:
    faults = find_kernel_faults({**fill_kernel_metadata(aim(INFERENCE, "alice")), **change})
    assert any(word in wrong for wrong, _ in faults), faults


def test_a_stamp_holds_for_the_unchanged_code_alone() -> None:
    text = stamp("print(1)\r\nprint(2)\n\n", tree_sha256="abc")
    assert read_stamp(text)
    assert read_stamp(text.replace("\n", "\r\n"))
    assert read_stamp(text.rstrip())
    assert not read_stamp(text.replace("print(2)", "print(3)"))
    assert not read_stamp("print(1)\n")


def test_logs_are_read_whole_cut_off_and_raw() -> None:
    log = as_log('HMS-START {}\nhello\nHMS-END {"rows": 1}\nHMS-END {"rows": 2}')
    assert decode_log(log).splitlines()[1] == "hello"
    assert find_marker(log, "HMS-END") == {"rows": 2}
    cut = log[: log.index('"rows') - 5]
    assert decode_log(cut).splitlines()[:2] == ["HMS-START {}", "hello"]
    assert find_marker(cut, "HMS-END") is None
    assert decode_log("plain text") == "plain text"
    assert decode_log("[]") == decode_log("") == ""
    assert decode_log(json.dumps([{"stream_name": "stderr", "time": 1, "data": "\x1b[31mred\x1b[0m\x07\n"}])) == "red\n"
    split = json.dumps(
        [
            {"stream_name": "stdout", "time": 1, "data": "HMS-END {"},
            {"stream_name": "stderr", "time": 1, "data": "a warning\n"},
            {"stream_name": "stdout", "time": 1, "data": '"rows": 4}\n'},
        ]
    )
    assert find_marker(split, "HMS-END") == {"rows": 4}


@pytest.mark.parametrize("name", ["submission.csv", "a/b/c.json", "Ümläut.txt", ".hidden", "with space.csv"])
def test_ordinary_names_are_safe(name: str) -> None:
    assert is_safe(name, "kernel")


HOSTILE = [
    *("", "/etc/passwd", "../up", "a/../../up", "a//b", "a/", ".", "..", "C:\\x", "c:x", "a\\..\\b", "nul", "aux.txt"),
    *(
        "a\x00b",
        "a\nb",
        "\x1b[2J",
        "dot.",
        "space ",
        "x" * 300,
        "kernel.log",
        "submission.csv.invalid",
        "a?b",
        "COM1.csv",
    ),
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_not(name: str) -> None:
    assert not is_safe(name, "kernel")
