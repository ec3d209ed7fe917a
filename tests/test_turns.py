"""A training that needs more than one run: two kernels take turns, nothing is trained twice, the weights come home."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rehearsal.job import TRAINING
from tests.kaggle_server import KernelVersion, answer, as_log
from tests.publishing import Desk, Prepared, Result, open_desk
from tests.tiny_training import CODE, ESTIMATE, FIRST, SECOND, Trainer, read_request, write_training

JOB = ("--job", "training")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with open_desk(tmp_path) as desk:
        write_training(desk.source)
        yield desk


def push(desk: Desk, *argv: str, status: int = 0) -> Result:
    result = desk.run("push", *JOB, *argv)
    assert result.status == status, result.text
    return result


def runs(desk: Desk) -> dict[str, list[list[str]]]:
    """What each version of each kernel was given of the other one."""
    return {
        ref: [version.request.get("kernelDataSources", []) for version in versions]
        for ref, versions in desk.server.kernels.items()
    }


def end_run(desk: Desk) -> None:
    """Let the run of the latest push end."""
    assert desk.run("status", *JOB).status in (0, 1)


def test_runs_take_turns_until_all_is_done(desk: Desk) -> None:
    Trainer(desk.server, epochs=2, of=6)
    desk.forget_rehearsals()
    result = push(desk, "--model", "raw_1d", "--fold", "0,1", "--set", "recipe.seed=1", "recipe.batch_size=2")
    assert f"{ESTIMATE} for raw_1d" in result.out
    assert result.out.index(ESTIMATE) < result.out.index("HMS-START")
    asked = {"model": "raw_1d", "fold": "0,1", "set": "recipe.seed=1 recipe.batch_size=2"}
    assert read_request(desk.server.kernels[FIRST][0]) == asked
    status = desk.run("status", *JOB)
    assert status.status == 0
    assert "epochs 2 of 6" in status.out
    assert "not all is done yet: `make push JOB=training` goes on" in status.out

    result = push(desk)
    assert "as before: --fold 0,1 --model raw_1d --set recipe.seed=1 recipe.batch_size=2" in result.out
    assert "run 2: is given the output of run 1 (alice/hms-scalogram-training version 1), 2 of 6 epochs" in result.out
    assert "rehearsed as it is on" in result.out
    end_run(desk)
    push(desk)
    assert runs(desk) == {FIRST: [[], [SECOND]], SECOND: [[FIRST]]}
    assert all(read_request(version) == asked for ref in (FIRST, SECOND) for version in desk.server.kernels[ref])
    assert "`make pull-weights` brings the weights" in desk.run("status", *JOB).out

    state = desk.server.state()
    result = push(desk)
    assert "all is done, 6 of 6 epochs (--fold 0,1 --model raw_1d" in result.out
    assert desk.server.state() == state
    assert len(desk.server.datasets[CODE].versions) == 1
    assert "epochs 6 of 6" in desk.run("output", *JOB).out


def test_the_same_push_during_a_run_changes_nothing(desk: Desk) -> None:
    Trainer(desk.server).server.run_polls = 9
    push(desk)
    state = desk.server.state()
    assert "QUEUED" in push(desk).out
    assert desk.server.state() == state


@pytest.mark.parametrize("record", [True, False])
def test_two_runs_at_once_are_refused(desk: Desk, record: bool) -> None:
    Trainer(desk.server).server.run_polls = 99
    push(desk, "--model", "raw_1d")
    if not record:
        shutil.rmtree(desk.dist)
    state = desk.server.state()
    result = push(desk, "--model", "scalogram_b2", status=1)
    assert "is under way" in result.err
    assert "stop it at https://www.kaggle.com/code/alice/hms-scalogram-training" in result.err
    assert desk.server.state() == state
    assert "is under way too" in push(desk, "--model", "scalogram_b2", "--force").out


def test_an_unknown_status_only_warns(desk: Desk) -> None:
    Trainer(desk.server)
    push(desk)
    end_run(desk)
    desk.server.deviations["GetKernelSessionStatus"] = lambda _, told: {**told, "status": "ARCHIVED"}
    assert "'ARCHIVED', which is not known here" in push(desk).out
    assert runs(desk) == {FIRST: [[]], SECOND: [[FIRST]]}


def test_a_lost_record_is_rebuilt_from_the_pushed_text(desk: Desk) -> None:
    Trainer(desk.server)
    push(desk, "--model", "raw_1d")
    end_run(desk)
    push(desk)
    end_run(desk)
    shutil.rmtree(desk.dist)
    assert "epochs 4 of 4" in desk.run("status", *JOB).out
    assert "all is done" in push(desk).out
    assert len(desk.server.kernels[SECOND]) == 1
    record = json.loads((desk.dist / "training" / "published.json").read_text())
    assert record["kernel"]["ref"] == SECOND
    assert record["run"] == {"number": 2, "after": "hms-scalogram-training", "arguments": {"model": "raw_1d"}}


def fail(desk: Desk, status: str, log: str = "", message: str = "") -> None:
    """Let runs end so, with nothing left."""
    desk.server.run_polls, desk.server.run_status, desk.server.failure = 0, status, message
    desk.server.run_outputs, desk.server.run_log = lambda _: {}, lambda _: as_log(log)


@pytest.mark.parametrize(
    ("status", "log", "message"),
    [
        ("CANCEL_ACKNOWLEDGED", "HMS-START {}", "Your notebook exceeded the time limit"),
        ("ERROR", "HMS-START {}\nerror: recipe.batch_size: too large", ""),
        ("COMPLETE", "HMS-START {}", ""),
    ],
)
def test_a_run_that_leaves_nothing_is_repeated_from_where_it_began(
    desk: Desk, status: str, log: str, message: str
) -> None:
    Trainer(desk.server)
    push(desk)
    end_run(desk)
    fail(desk, status, log, message)
    push(desk)
    report = desk.run("status", *JOB)
    assert report.status == 1
    assert "`make push JOB=training` goes on from the last run that left something" in report.out
    assert message in report.out
    assert ("too large" in report.out) == ("too large" in log)
    refused = desk.run("pull-weights")
    assert refused.status == 1
    assert "has no weights to pull" in refused.err

    Trainer(desk.server)
    desk.server.run_status = "COMPLETE"
    result = push(desk)
    assert "run 2 (alice/hms-scalogram-training-2 version 1) left nothing to go on from" in result.out
    assert "run 3: it goes on from hms-scalogram-training" in result.out
    assert runs(desk) == {FIRST: [[]], SECOND: [[FIRST], [FIRST]]}
    assert "epochs 4 of 4" in desk.run("status", *JOB).out


def test_a_training_without_a_gpu_asks_for_none(desk: Desk) -> None:
    Trainer(desk.server)
    push(desk)
    end_run(desk)
    push(desk, "--device", "cpu")
    first, second = desk.server.kernels[FIRST][0].request, desk.server.kernels[SECOND][0].request
    assert first["enableGpu"] is True
    assert first["machineShape"] == "NvidiaTeslaT4"
    assert not second.get("enableGpu")
    assert not second.get("machineShape")


def test_a_record_that_does_not_show_yet_costs_no_run(desk: Desk) -> None:
    """The log says that the run ended well; its output is not listed: nothing is trained twice for that."""
    Trainer(desk.server)
    push(desk)
    end_run(desk)
    desk.server.deviations["ListKernelSessionOutput"] = lambda _, told: {**told, "files": []}
    assert "Kaggle does not show its session.json" in push(desk, status=1).err
    desk.server.deviations.clear()
    push(desk)
    assert runs(desk) == {FIRST: [[]], SECOND: [[FIRST]]}


def test_no_gpu_is_said_with_what_to_do(desk: Desk) -> None:
    said = "Kaggle granted no GPU: look at the week's quota, then push again"
    fail(desk, "ERROR", f"HMS-START {{}}\nerror: {said}")
    push(desk)
    result = desk.run("status", *JOB)
    assert result.status == 1
    assert f"the run ended as ERROR: {said}" in result.out


def test_quota_used_up_is_said_and_the_next_push_goes_on(desk: Desk) -> None:
    Trainer(desk.server)
    push(desk)
    end_run(desk)
    desk.server.save_answer = {"error": "You have exceeded your weekly GPU quota."}
    result = push(desk, status=1)
    assert "weekly GPU quota" in result.err
    assert "next week's quota" in result.err
    desk.server.save_answer = {}
    push(desk)
    assert runs(desk) == {FIRST: [[]], SECOND: [[FIRST]]}


def test_rules_that_are_not_accepted_are_named_with_their_page(desk: Desk) -> None:
    page = "https://www.kaggle.com/competitions/hms-harmful-brain-activity-classification/rules"
    desk.server.member = False
    desk.server.fault("SaveKernel", answer(403, "You must accept the rules"))
    result = push(desk, status=1)
    assert page in result.out
    assert page in result.err
    desk.server.member = True
    assert page not in push(desk).text


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("Kernel", FIRST),
        ("Model", TRAINING.read_metadata()["model_sources"][0]),
        ("Dataset", CODE),
        ("Competition", "hms-harmful-brain-activity-classification"),
    ],
)
def test_a_renamed_source_is_named_and_the_next_push_goes_on(desk: Desk, kind: str, name: str) -> None:
    Trainer(desk.server)
    push(desk)
    end_run(desk)
    desk.server.save_answer = {f"invalid{kind}Sources": [name]}
    result = push(desk, status=1)
    assert f"invalid: {'data set' if kind == 'Dataset' else kind.lower()} {name}" in result.err
    desk.server.save_answer = {}
    desk.server.run_polls = 99
    refused = push(desk, status=1)  # the run without its sources goes on until it is stopped
    assert "is under way" in refused.err
    desk.server.run_polls = 0
    fail(desk, "CANCEL_ACKNOWLEDGED")
    end_run(desk)
    Trainer(desk.server)
    desk.server.run_status = "COMPLETE"
    push(desk)
    assert runs(desk)[SECOND][-1] == [FIRST]


def test_a_kernel_that_was_removed_is_begun_anew(desk: Desk) -> None:
    Trainer(desk.server)
    push(desk)
    desk.server.kernels.clear()
    assert "was it renamed or removed?" in push(desk).out
    assert runs(desk) == {FIRST: [[]]}


def test_a_foreign_kernel_is_not_overwritten(desk: Desk) -> None:
    Trainer(desk.server)
    desk.server.kernels[SECOND] = [KernelVersion({"text": "print(1)"}, outputs={})]
    push(desk)
    end_run(desk)
    assert "is not what this project published" in push(desk, status=1).err
    assert len(desk.server.kernels[SECOND]) == 1


def test_other_code_is_noted_and_other_options_train_something_else(desk: Desk) -> None:
    Trainer(desk.server)
    push(desk, "--model", "raw_1d")
    end_run(desk)
    (desk.source / "training" / "code.txt").write_text("second")
    assert "had other code (tree" in push(desk).out
    assert len(desk.server.datasets[CODE].versions) == 2
    end_run(desk)
    (desk.source / "training" / "code.txt").write_text("third")
    result = push(desk)
    assert "had other code (tree" in result.out
    assert "all is done" in result.out
    assert len(desk.server.datasets[CODE].versions) == 2, "nothing is trained twice for a change of the code"
    assert "all is done" in push(desk, "--model", "raw_1d", "--hours", "5").out
    push(desk, "--model", "scalogram_b2")
    assert runs(desk)[FIRST] == [[], [SECOND]]
    end_run(desk)
    push(desk, "--force")
    assert runs(desk)[FIRST] == [[], [SECOND], []]


# pulling the weights


def finish(desk: Desk) -> Trainer:
    trainer = Trainer(desk.server, epochs=4)
    push(desk, "--model", "raw_1d")
    end_run(desk)
    return trainer


def pulled(desk: Desk) -> dict[str, bytes]:
    folder = desk.dist / "trained" / "raw_1d"
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else {}


def test_weights_come_home_verified(desk: Desk) -> None:
    finish(desk)
    result = desk.run("pull-weights")
    assert result.status == 0, result.text
    assert "`make ship MODEL=" in result.out
    assert sorted(pulled(desk)) == ["config.json", "fold_0.weights.h5", "session.json"], "only what is needed"
    assert pulled(desk)["fold_0.weights.h5"] == b"4 epochs" * 1000
    desk.server.calls.clear()
    assert "was pulled before" in desk.run("pull-weights").out
    assert desk.server.calls.count("GET") == 1, "only the record was read"
    # A damaged file is fetched again, and what lay there is kept.
    (desk.dist / "trained" / "raw_1d" / "config.json").write_text("mine")
    assert "what was there is in" in desk.run("pull-weights").out
    assert pulled(desk)["config.json"] == b"{}"
    assert next((desk.dist / "replaced").glob("*/raw_1d/config.json")).read_text() == "mine"


def test_weights_of_a_run_that_is_not_done_are_not_pulled(desk: Desk) -> None:
    assert "run `make push JOB=training` first" in desk.run("pull-weights").err
    Trainer(desk.server).server.run_polls = 3
    push(desk)
    assert "has not ended" in desk.run("pull-weights").err
    desk.server.run_polls = 0
    end_run(desk)
    result = desk.run("pull-weights")
    assert result.status == 1
    assert "ended after 2 of 4 epochs: `make push JOB=training` goes on" in result.err
    assert pulled(desk) == {}


def test_a_run_that_completes_without_weights_is_told(desk: Desk) -> None:
    trainer = Trainer(desk.server, epochs=4)

    def without(version: KernelVersion) -> dict[str, bytes]:
        left = trainer.leave(version)
        return {name: content for name, content in left.items() if name != "fold_0.weights.h5"}

    desk.server.run_outputs = without
    push(desk)
    end_run(desk)
    result = desk.run("pull-weights")
    assert result.status == 1
    assert "lacks fold_0.weights.h5" in result.err
    assert pulled(desk) == {}


def test_weights_of_other_code_are_refused(desk: Desk) -> None:
    finish(desk)
    (desk.source / "training" / "code.txt").write_text("second")
    result = desk.run("pull-weights")
    assert result.status == 1
    assert "was trained with the code 'first', and this is 'second'; it was pushed from commit c0ffee" in result.err
    assert "Nothing was replaced" in result.err
    assert pulled(desk) == {}


@pytest.mark.parametrize("ranges", [True, False])
def test_a_large_file_goes_on_where_it_stopped(desk: Desk, ranges: bool) -> None:
    large = bytes(range(256)) * 20_000
    trainer = Trainer(desk.server, epochs=4)
    trainer.outputs = {"large.h5": large}
    push(desk, "--model", "raw_1d")
    end_run(desk)
    asked: list[str] = []
    desk.server.ranges = ranges
    partial = desk.dist / "training" / "hms-scalogram-training-v1.partial" / "large.h5.download"
    partial.parent.mkdir(parents=True)
    partial.write_bytes(large[:3_000_000])
    send = desk.server._get

    def listen(request: Any) -> Any:
        asked.append(request.headers.get("Range", ""))
        return send(request)

    desk.server._get = listen  # type: ignore[method-assign]
    assert desk.run("pull-weights").status == 0
    assert pulled(desk)["large.h5"] == large
    assert asked.count("bytes=3000000-") == 1


def test_a_damaged_file_is_not_kept(desk: Desk) -> None:
    finish(desk)
    outputs = desk.server.kernels[FIRST][0].outputs
    assert outputs is not None
    whole, outputs["config.json"] = outputs["config.json"], b"<html>"
    result = desk.run("pull-weights")
    assert result.status == 1
    assert "config.json came damaged" in result.err
    assert pulled(desk) == {}
    outputs["config.json"] = whole
    assert desk.run("pull-weights").status == 0


def test_a_name_that_would_escape_is_refused(desk: Desk) -> None:
    trainer = Trainer(desk.server, epochs=4)
    trainer.outputs = {"../../evil.h5": b"evil"}
    push(desk)
    end_run(desk)
    result = desk.run("pull-weights")
    assert result.status == 1
    assert "no safe name for a file" in result.err


# killed anywhere


def prepare_second(desk: Desk) -> None:
    """The first run has ended, and is to be gone on with."""
    write_training(desk.source)
    Trainer(desk.server)
    push(desk)
    end_run(desk)
    desk.server.lag = 2


def prepare_pull(desk: Desk) -> None:
    """All is done."""
    write_training(desk.source)
    finish(desk)


LOOP = {"the second push": (prepare_second, ("push", *JOB)), "the pull": (prepare_pull, ("pull-weights",))}


@pytest.mark.parametrize("name", LOOP)
def test_killed_anywhere_and_run_again(tmp_path: Path, name: str) -> None:
    prepare, argv = LOOP[name]
    prepared = Prepared(tmp_path / "prepared", prepare)

    def outcome(desk: Desk) -> tuple[Any, ...]:
        record = json.loads((desk.dist / "training" / "published.json").read_text())
        return desk.server.state(), runs(desk), record, pulled(desk)

    with open_desk(tmp_path / "whole", prepared) as desk:
        Trainer(desk.server)
        assert desk.run(*argv).status == 0
        wanted, calls = outcome(desk), list(desk.server.calls)
    for number, call in enumerate(calls, 1):
        if call not in ("SaveKernel", "GET") and number % 4:
            continue
        for before in (True, False) if call == "SaveKernel" else (False,):
            folder = tmp_path / f"{number}-{before}"
            with open_desk(folder, prepared) as desk:
                Trainer(desk.server)
                where = f"killed at request {number} ({call}), {'before' if before else 'after'} it was done"
                assert desk.run_killed(number, before, *argv, "--interval", "0.005") == -9, where
                again = desk.run(*argv, "--interval", "0.005")
                assert again.status == 0, f"{where}: {again.text}"
                assert outcome(desk) == wanted, where
            shutil.rmtree(folder)
