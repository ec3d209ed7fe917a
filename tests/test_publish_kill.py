"""A publisher that is killed at each of its requests in turn, and at those that change something before and after.

Whatever the moment: the run after it ends in the state of an undisturbed one, on the server and in the record.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.kaggle_server import answer
from tests.publishing import Desk, Prepared, open_desk


def prepare_first(desk: Desk) -> None:
    """Nothing is published yet, but it is rehearsed; what is new shows late."""
    desk.server.fault("StartBlobUpload", answer(413))
    assert desk.run("push").status == 1
    desk.server.lag = 3


def prepare_next(desk: Desk) -> None:
    """Another bundle is published, and what is new shows late."""
    desk.change_weights("before")
    assert desk.run("push").status == 0
    desk.change_weights("first")
    desk.server.lag = 4


def prepare_output(desk: Desk) -> None:
    """A run has ended and left files."""
    assert desk.run("push").status == 0
    desk.server.run_polls = 0


CHANGES = {"StartBlobUpload", "PUT", "CreateDataset", "CreateDatasetVersion", "SaveKernel", "CreateCodeSubmission"}
"""The calls for which it matters whether the kill comes before or after they are done."""

QUICK = ("--interval", "0.005")

SCENARIOS: dict[str, tuple[Callable[[Desk], None], tuple[str, ...]]] = {
    "the first push, through to the submission": (prepare_first, ("push", "--submit", *QUICK)),
    "the next push": (prepare_next, ("push", *QUICK)),
    "the output": (prepare_output, ("output", *QUICK)),
}


def outcome(desk: Desk) -> dict[str, Any]:
    """Return what must not depend on a kill: the server's state, the record, the output."""
    output = desk.dist / "output"
    files = {path.relative_to(output).as_posix(): path.read_bytes() for path in output.rglob("*") if path.is_file()}
    return {"server": desk.server.state(), "record": desk.record(), "output": files}


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
def test_killed_at_every_request_and_run_again(tmp_path: Path, name: str) -> None:
    prepare, argv = SCENARIOS[name]
    prepared = Prepared(tmp_path / "prepared", prepare)
    with open_desk(tmp_path / "whole", prepared) as desk:
        assert desk.run(*argv).status == 0
        wanted, calls = outcome(desk), list(desk.server.calls)
    assert len(calls) >= 4
    for number, call in enumerate(calls, 1):
        for before in (True, False) if call in CHANGES else (False,):
            folder = tmp_path / f"{number}-{before}"
            with open_desk(folder, prepared) as desk:
                where = f"killed at request {number} ({call}), {'before' if before else 'after'} it was done"
                assert desk.run_killed(number, before, *argv) == -9, where
                again = desk.run(*argv)
                assert again.status == 0, f"{where}: {again.text}"
                assert outcome(desk) == wanted, where
                assert not (desk.dist / "publishing.json").exists(), where
            shutil.rmtree(folder)
