"""What the service may answer that nobody has seen: each row of the table in `publisher.service.client`, played.

An answer that is other than assumed may bring a note. It never makes a command fail, and never lets it wait without
end: a wait that lasts fails the test.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

import publisher.service.client
from tests.kaggle_server import Deviation, answer, refuse, submission_output, web_page
from tests.publishing import DATASET, KERNEL, Desk, open_desk

PUSH, STATUS, SUBMIT, OUTPUT = ("push",), ("status", "--watch"), ("submit",), ("output",)
ASSUMED = re.findall(r"^\| (.+?) \| .+ \|$", publisher.service.client.__doc__ or "", re.MULTILINE)[1:]
Step = tuple[tuple[str, ...], int, str]


@dataclass(frozen=True)
class Row:
    """An assumption that does not hold: how that is played; commands, each with its exit status and what it says."""

    assumed: str
    play: Callable[[Desk], object]
    steps: tuple[Step, ...]
    variant: str = ""


def deviating(**deviations: Deviation) -> Callable[[Desk], object]:
    """Return what makes every good answer to a method another one."""
    return lambda desk: desk.server.deviations.update(deviations)


def without(*names: str) -> Deviation:
    """Leave fields out, wherever they are."""

    def leave_out(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: leave_out(item) for name, item in value.items() if name not in names}
        return [leave_out(item) for item in value] if isinstance(value, list) else value

    return lambda _, content: leave_out(content)


def with_(**fields: Any) -> Deviation:
    return lambda _, content: {**content, **fields}


def respell(change: Callable[[str], str], *only: str) -> Deviation:
    """Spell the status otherwise, where it is one of some."""
    return lambda _, content: {
        **content,
        "status": change(content["status"]) if content["status"] in only or not only else content["status"],
    }


def listing(change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]], **more: Any) -> Callable[[Desk], object]:
    return deviating(ListDatasetFiles=lambda _, found: {"datasetFiles": change(found["datasetFiles"]), **more})


def in_root(files: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [file for file in files if "/" not in file["name"]]


def as_sent(files: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = {PurePosixPath(file["name"]).parts[0] + (".zip" if "/" in file["name"] else "") for file in files}
    return [{"name": name} for name in sorted(names)]


def refused(status: int, field: str) -> Deviation:
    """Refuse what asks for a field."""
    return lambda asked, content: refuse(status, "Not supported") if field in asked else None  # type: ignore[return-value]


def plays(*steps: Callable[[Desk], object]) -> Callable[[Desk], object]:
    return lambda desk: [step(desk) for step in steps]


def always(name: str, play: Any) -> Callable[[Desk], object]:
    return lambda desk: desk.server.fault(name, play, times=10**6)


def served(**values: Any) -> Callable[[Desk], object]:
    return lambda desk: [setattr(desk.server, name, value) for name, value in values.items()]


def nested_output(desk: Desk) -> None:
    desk.server.run_outputs = lambda run: {
        f"kaggle/working/{name}": content for name, content in submission_output(run).items()
    }


def lost_submission(desk: Desk) -> None:
    """No submission shows its description, and the answer to the first one is lost."""
    for name in ("ListSubmissions", "GetSubmission"):
        desk.server.deviations[name] = without("description")
    desk.server.fault("CreateCodeSubmission", web_page(500), before=False)


LACKS = (*PUSH, "--patience", "5"), 0, "Such lists are often incomplete"
PUSHED, UNCHANGED = (PUSH, 0, "version 1: pushed"), (PUSH, 0, "version 1: unchanged")
COMPLETE, SUBMITTED = (STATUS, 0, "complete: "), (SUBMIT, 0, "submitted as 1001")
BROUGHT, SCORED = (OUTPUT, 0, "3 rows, valid"), (STATUS, 0, "scored: ")

ROWS = [
    *(
        Row("a list shows every file of a data set", play, (LACKS, UNCHANGED), variant)
        for variant, play in (
            ("root files only", listing(in_root)),
            ("the first page only", listing(lambda files: files[:1])),
            ("an empty list", listing(lambda _: [])),
            ("archives as sent", listing(as_sent)),
            ("an empty page after a token", listing(lambda _: [], nextPageToken="2")),
        )
    ),
    Row(
        "a list shows every file of a data set",
        always("ListDatasetFiles", answer(403, "Denied")),
        ((PUSH, 0, "listing the files of"), UNCHANGED),
        "forbidden",
    ),
    Row(
        "a list shows every file of a data set",
        always("ListDatasetFiles", answer(500)),
        ((PUSH, 0, "the manifest reads back, so the push goes on"), UNCHANGED),
        "a fault each time",
    ),
    Row(
        "a status is spelled as in the client",
        deviating(
            GetDatasetStatus=respell(str.lower),
            GetKernelSessionStatus=respell(lambda word: f"KernelWorkerStatus.{word.capitalize()}"),
            GetSubmission=respell(lambda word: f"SUBMISSION_STATUS_{word}"),
        ),
        (((*PUSH, "--submit"), 0, "submitted as 1001"), SCORED),
    ),
    Row(
        "a status is one that the client knows",
        deviating(
            GetDatasetStatus=respell(lambda _: "INDEXED", "READY"),
            GetKernelSessionStatus=respell(lambda _: "SUCCEEDED", "COMPLETE"),
            GetSubmission=respell(lambda _: "RANKED", "COMPLETE"),
        ),
        (((*PUSH, "--submit"), 0, "submitted as 1001"), SCORED, UNCHANGED),
    ),
    Row(
        "a status is one that the client knows",
        plays(deviating(GetKernelSessionStatus=respell(lambda _: "LOST", "COMPLETE")), served(run_log=lambda _: "[]")),
        (PUSHED, ((*STATUS, "--patience", "0.2"), 3, "Kaggle calls the run 'LOST'")),
        "and never says more",
    ),
    Row(
        "a data set's status can be asked for",
        plays(always("GetDatasetStatus", answer(403)), served(processing=0)),
        (PUSHED, UNCHANGED, COMPLETE),
    ),
    Row(
        "a data set names its current version",
        deviating(GetDataset=without("currentVersionNumber")),
        (PUSHED, UNCHANGED),
        "its list does",
    ),
    Row(
        "a data set names its current version",
        deviating(GetDataset=without("currentVersionNumber", "versions", "isPrivate")),
        (PUSHED, UNCHANGED),
        "nothing does",
    ),
    Row(
        "a file can be had of one version",
        deviating(DownloadDataset=refused(404, "datasetVersionNumber")),
        (PUSHED, UNCHANGED),
    ),
    Row(
        "`isPrivate`, `enableInternet` are told",
        deviating(GetDataset=without("isPrivate"), GetKernel=without("isPrivate", "enableInternet")),
        (PUSHED, UNCHANGED),
    ),
    Row("what does not exist answers 404", served(forbid_missing=True), (PUSHED, UNCHANGED), "but 403"),
    Row(
        "what does not exist answers 404",
        plays(served(forbid_missing=True), always("ListDatasets", answer(403)), always("ListKernels", answer(403))),
        (PUSHED, UNCHANGED),
        "but 403, and no list",
    ),
    Row(
        "creating answers the status `ok`",
        deviating(CreateDataset=with_(status="Created")),
        ((PUSH, 0, "the status 'Created'"), UNCHANGED),
    ),
    Row(
        "a kernel's source and sources are told",
        deviating(GetKernel=without("source", "datasetDataSources", "competitionDataSources")),
        (PUSHED, UNCHANGED),
    ),
    Row(
        "a kernel's source and sources are told",
        deviating(GetKernel=lambda _, found: {**found, "blob": {"source": "# " + found["blob"]["source"]}}),
        (PUSHED, UNCHANGED),
        "but otherwise than sent",
    ),
    Row(
        "a push names the version and our `ref`",
        deviating(
            SaveKernel=lambda _, content: {**without("versionNumber")(_, content), "ref": "/code/7"},
            GetKernel=without("currentVersionNumber"),
        ),
        ((PUSH, 0, "it should be 1"), COMPLETE, UNCHANGED),
    ),
    Row(
        "a push refuses sources, not keywords",
        served(save_answer={"invalidTags": ["eeg"]}),
        ((PUSH, 0, "does not know the keywords eeg"), UNCHANGED),
    ),
    Row(
        "`versionLabel` pins a run's status, outputs",
        deviating(
            GetKernelSessionStatus=refused(404, "versionLabel"), ListKernelSessionOutput=refused(400, "versionLabel")
        ),
        (PUSHED, (STATUS, 0, "does not tell the runs of versions apart"), SUBMITTED, BROUGHT),
    ),
    Row(
        "a run's log comes with its outputs",
        deviating(ListKernelSessionOutput=without("log")),
        (PUSHED, (STATUS, 0, "Kaggle shows no log"), SUBMITTED, BROUGHT),
    ),
    Row(
        "a list shows every output",
        deviating(ListKernelSessionOutput=with_(files=[])),
        (PUSHED, (STATUS, 0, "lacks submission.csv, which the log says was written"), SUBMITTED),
    ),
    Row("outputs are named from the root", nested_output, (PUSHED, COMPLETE, BROUGHT, SUBMITTED)),
    Row(
        "a next page's token leads on",
        deviating(ListKernelSessionOutput=with_(nextPageToken="0"), ListSubmissions=with_(nextPageToken="0")),
        (PUSHED, COMPLETE, SUBMITTED),
    ),
    Row(
        "how many may be submitted can be asked",
        always("GetSubmissionLimits", answer(403, "Denied")),
        (PUSHED, COMPLETE, SUBMITTED),
        "not at all",
    ),
    Row(
        "how many may be submitted can be asked",
        deviating(GetSubmissionLimits=without("numAllowedNow")),
        (PUSHED, COMPLETE, SUBMITTED),
        "only in part",
    ),
    Row("a submission carries its description", lost_submission, (PUSHED, COMPLETE, SUBMITTED, SCORED)),
    Row(
        "a submission can be asked for by number",
        always("GetSubmission", answer(404)),
        (PUSHED, COMPLETE, SUBMITTED, SCORED),
    ),
    Row(
        "a submission that is complete has a score",
        deviating(GetSubmission=without("publicScore", "privateScore")),
        (PUSHED, COMPLETE, SUBMITTED, ((*STATUS, "--patience", "0.2"), 3, "its score does not show yet")),
    ),
]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with open_desk(tmp_path) as desk:
        yield desk


def test_every_row_of_the_table_is_played() -> None:
    assert len(ASSUMED) > 15
    assert set(ASSUMED) == {row.assumed for row in ROWS}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"not: {row.assumed} {row.variant}".strip())
def test_what_nobody_has_seen_stops_nothing(desk: Desk, row: Row) -> None:
    row.play(desk)
    for argv, status, says in row.steps:
        result = desk.run(*argv)
        assert result.status == status, result.text
        assert says in result.out, result.text
    assert len(desk.server.datasets[DATASET].versions) == 1, "the same content was published twice"
    assert len(desk.server.kernels[KERNEL]) == 1, "the same kernel was pushed twice"
    assert len(desk.server.submissions) <= 1
