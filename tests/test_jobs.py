"""Jobs: one registry, one code path. A second job goes all the way that the first one goes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import build
from publisher.target import aim, fill_kernel_metadata, find_kernel_faults
from rehearsal.job import INFERENCE, JOBS
from tests.kaggle_server import as_log, refuse
from tests.publishing import DATASET, KERNEL, Desk, open_desk
from tests.second_job import MODEL, enter_second_job, write_second_job

SECOND = ("--job", "second")
SECOND_KERNEL, SECOND_DATASET = "alice/hms-second-job", "alice/hms-second-code"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with open_desk(tmp_path) as desk:
        write_second_job(desk.source)
        yield desk


def end_well(desk: Desk) -> None:
    desk.server.run_polls = 0
    desk.server.run_log = lambda _: as_log('HMS-START {}\nHMS-END {"seconds": 3}')
    desk.server.run_outputs = lambda _: {"weights.txt": b"weights", "curves/loss.csv": b"0.5"}


def test_a_second_job_goes_all_the_way(desk: Desk) -> None:
    desk.forget_rehearsals()
    result = desk.run("push", *SECOND, "--model", "scalogram_b2")
    assert result.status == 0, result.text
    saved = desk.server.kernels[SECOND_KERNEL][0].request
    assert saved["enableGpu"] is True
    assert saved["machineShape"] == "NvidiaTeslaT4"
    assert not saved.get("enableInternet")
    assert saved["datasetDataSources"] == [SECOND_DATASET]
    assert saved["kernelDataSources"] == ["alice/first-run"]
    assert saved["modelDataSources"] == [MODEL]
    assert "ARGUMENTS = {'model': 'scalogram_b2'}" in saved["text"]
    assert list(desk.server.datasets) == [SECOND_DATASET]
    rehearsed = json.loads((desk.dist / "second" / "rehearsed.json").read_text())["found"]
    assert rehearsed["model"] == "scalogram_b2"
    assert (rehearsed["checkpoint.txt"], rehearsed["model.txt"]) == ("epoch 3", "imagenet")

    end_well(desk)
    status, report = desk.json("status", *SECOND)
    assert (status, report["state"]) == (0, "complete")
    assert "submit" not in report["next"]
    status, answer = desk.json("output", *SECOND)
    assert status == 0, answer
    assert answer["files"] == ["curves/loss.csv", "hms-second-job.log", "weights.txt"]
    assert (desk.dist / "second" / "output" / "weights.txt").read_text() == "weights"
    for argv in (("submit", *SECOND), ("push", *SECOND, "--submit")):
        refused = desk.run(*argv)
        assert refused.status == 1
        assert "the job second makes no submission" in refused.err
    assert "GPU on" in desk.run("doctor", *SECOND).out


@pytest.mark.parametrize("layout", ["flat", "nested"])
def test_a_second_job_is_rehearsed(desk: Desk, layout: str) -> None:
    result = desk.run("rehearse", *SECOND, "--model", "raw_1d", "--layout", layout)
    assert result.status == 0, result.text
    assert json.loads(result.out.splitlines()[-1])["model"] == "raw_1d"
    assert (desk.dist / "second" / "rehearsal" / "weights.txt").exists()
    refused = desk.run("rehearse", *SECOND, "--budget", "3")
    assert refused.status == 1
    assert "the job second takes no --budget" in refused.err


def test_jobs_do_not_touch_each_other(desk: Desk) -> None:
    assert desk.run("push").status == 0
    first, state = desk.record(), desk.server.state()
    assert desk.run("push", *SECOND).status == 0
    assert desk.record() == first
    assert json.loads((desk.dist / "second" / "published.json").read_text())["kernel"]["ref"] == SECOND_KERNEL
    assert {name: desk.server.state()["trees"][name] for name in (DATASET,)} == state["trees"]
    assert "version 1: unchanged" in desk.run("push").out
    assert len(desk.server.kernels[KERNEL]) == 1


def test_the_same_job_called_otherwise_is_another_version(desk: Desk) -> None:
    for model, versions in (("raw_1d", 1), ("raw_1d", 1), ("scalogram_b2", 2)):
        assert desk.run("push", *SECOND, "--model", model).status == 0
        assert len(desk.server.kernels[SECOND_KERNEL]) == versions
    assert len(desk.server.datasets[SECOND_DATASET].versions) == 1


def test_sources_that_kaggle_dropped_are_not_taken_for_attached(desk: Desk) -> None:
    """The record is lost, and the version that is there lacks the model: it is pushed again."""
    assert desk.run("push", *SECOND).status == 0
    (desk.dist / "second" / "published.json").unlink()
    desk.server.kernels[SECOND_KERNEL][0].request["modelDataSources"] = []
    assert desk.run("push", *SECOND).status == 0
    assert len(desk.server.kernels[SECOND_KERNEL]) == 2


@pytest.mark.parametrize(("kind", "name"), [("kernel", "alice/first-run"), ("model", MODEL)])
def test_a_source_that_kaggle_refuses_is_named(desk: Desk, kind: str, name: str) -> None:
    desk.server.save_answer = {f"invalid{kind.capitalize()}Sources": [name]}
    result = desk.run("push", *SECOND)
    assert result.status == 1
    assert f"invalid: {kind} {name}" in result.err
    assert "licence" in result.err
    assert not (desk.dist / "second" / "published.json").exists()
    desk.server.save_answer = {}
    assert desk.run("push", *SECOND).status == 0
    assert len(desk.server.kernels[SECOND_KERNEL]) == 2


def test_no_gpu_session_is_told_and_nothing_is_recorded(desk: Desk) -> None:
    desk.server.save_answer = {"error": "You have exceeded your weekly GPU quota."}
    result = desk.run("push", *SECOND)
    assert result.status == 1
    assert "weekly GPU quota" in result.err
    assert "next week's quota" in result.err
    assert not (desk.dist / "second" / "published.json").exists()


def test_a_rehearsal_that_fails_stops_any_job(desk: Desk) -> None:
    (desk.source / "second" / "main.py").write_text("raise SystemExit('no such GPU')\n")
    result = desk.run("push", *SECOND)
    assert result.status == 1
    assert "the kernel failed with status 1: no such GPU" in result.err
    assert desk.server.datasets == {}


def test_an_option_of_another_job_is_refused(desk: Desk) -> None:
    result = desk.run("push", "--model", "raw_1d")
    assert result.status == 1
    assert "the job inference has no option model" in result.err


def test_a_renamed_kernel_is_told(desk: Desk) -> None:
    assert desk.run("push", *SECOND).status == 0
    desk.server.kernels["alice/renamed"] = desk.server.kernels.pop(SECOND_KERNEL)
    desk.server.fault("GetKernelSessionStatus", lambda _: refuse(404, "Not found"), times=9)
    result = desk.run("output", *SECOND)
    assert result.status == 1
    assert "404" in result.err


def test_the_metadata_of_every_job_keep_the_rules(tmp_path: Path) -> None:
    for job in list(JOBS.values()):
        assert find_kernel_faults(fill_kernel_metadata(aim(job, "alice"))) == [], job.name
    write_second_job(tmp_path)
    try:
        enter_second_job(tmp_path)
        metadata = fill_kernel_metadata(aim(JOBS["second"], "alice", kernel="my-own-kernel", dataset="my-code"))
    finally:
        del JOBS["second"]
    assert metadata["id"] == "alice/my-own-kernel"
    assert metadata["dataset_sources"] == ["alice/my-code"]
    assert find_kernel_faults(metadata) == []
    faults = find_kernel_faults({**metadata, "model_sources": ["keras/efficientnetv2"]})
    assert "is not made of 5 names" in faults[0][0]


def test_a_job_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build.main(["status", "--job", "nothing"])
    assert "'nothing' (choose from" in capsys.readouterr().err
    lost = replace(INFERENCE, metadata=Path("/nonexistent/kernel-metadata.json"))
    with pytest.raises(FileNotFoundError, match="restore it from git"):
        lost.read_metadata()
