"""Each fault that the service, the way there or the kernel can have: what the user sees, the exit status, what is left.

One table. Every case runs real commands against a server that plays the fault, with VERBOSE set, and looks through all
output and files for credentials. After a fault in a push, the push is run once more without it: the same published
state must come out, with nothing lost and nothing there twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.kaggle_server import (
    KEY,
    Dataset,
    DatasetVersion,
    KernelVersion,
    answer,
    as_log,
    cut,
    hang,
    reply,
    submission_output,
    take_part,
    web_page,
)
from tests.publishing import DATASET, KERNEL, Desk, Prepared, open_desk
from tests.tiny_job import write_checkout

ALWAYS = 10**6


@dataclass(frozen=True)
class Case:
    """A fault, and what must come of it."""

    name: str
    play: Callable[[Desk], None]
    status: int
    says: tuple[str, ...] = ()
    argv: tuple[str, ...] = ("push",)
    versions: int = 1
    """Data-set versions at the end, after the push was run again."""
    kernels: int = 1
    again: bool = True
    check: Callable[[Desk], None] = field(default=lambda desk: None)


def case(status: int, name: str, play: Callable[[Desk], None], says: str | tuple[str, ...], **options: Any) -> Case:
    """Return a case; where something was published before, there is one more of each in the end."""
    count = 2 if getattr(play, "published_before", False) else 1
    says = (says,) if isinstance(says, str) else says
    return Case(name, play, status, says, **{"versions": count, "kernels": count, **options})


def works(name: str, play: Callable[[Desk], None], says: str | tuple[str, ...] = (), **options: Any) -> Case:
    return case(0, name, play, says, **options)


def fails(name: str, play: Callable[[Desk], None], says: str | tuple[str, ...], **options: Any) -> Case:
    return case(1, name, play, says, **options)


def fault(name: str, play: object, **options: object) -> Callable[[Desk], None]:
    """Return what sets up one fault at the server; `hang` and the like that need the server are given it."""
    return lambda desk: desk.server.fault(name, play(desk) if getattr(play, "wants_desk", False) else play, **options)


def with_desk(make: Callable[[Desk], object]) -> Callable[[Desk], object]:
    make.wants_desk = True  # type: ignore[attr-defined]
    return make


def setting(**values: object) -> Callable[[Desk], None]:
    """Return what sets fields of the server."""

    def play(desk: Desk) -> None:
        for name, value in values.items():
            assert hasattr(desk.server, name)
            setattr(desk.server, name, value)

    return play


def both(*plays: Callable[[Desk], None]) -> Callable[[Desk], None]:
    return lambda desk: [play(desk) for play in plays][-1]


def nothing_published(desk: Desk) -> None:
    assert desk.server.datasets == {}
    assert desk.server.kernels == {}
    assert desk.record() == {}


def no_kernel(desk: Desk) -> None:
    assert KERNEL not in desk.server.kernels
    assert desk.record() == {}


def not_recorded(desk: Desk) -> None:
    assert desk.record() == {}


def each_byte_once(desk: Desk) -> None:
    for blob in desk.server.blobs.values():
        assert blob["sent"] == blob["size"], "bytes were sent that had arrived already"


HANGS = with_desk(lambda desk: hang(desk.server))
WRONG_KEY = {"KAGGLE_KEY": "ffffffffffffffffffffffffffffffff"}


def part(share: float, then: object) -> Callable[[Desk], object]:
    return with_desk(lambda desk: take_part(desk.server, share, then))  # type: ignore[arg-type]


def foreign_dataset(desk: Desk) -> None:
    files = {"data.csv": b"mine"}
    desk.server.datasets[DATASET] = Dataset("Mine", True, [DatasetVersion(files, "", polls=9)])


def foreign_kernel(desk: Desk) -> None:
    desk.server.kernels[KERNEL] = [KernelVersion({"text": "print('mine')\n", "datasetDataSources": [DATASET]})]


def edited_kernel(desk: Desk) -> None:
    assert desk.run("push").status == 0
    versions = desk.server.kernels[KERNEL]  # what is saved on the web becomes a version
    text = versions[-1].request["text"] + "print('edited on the web')\n"
    versions.append(KernelVersion({**versions[-1].request, "text": text}))


def push_another(desk: Desk) -> None:
    """Publish another content than the one that is there in the end."""
    desk.change_weights("before")
    assert desk.run("push").status == 0
    desk.change_weights("first")


def published_before(*then: Callable[[Desk], None]) -> Callable[[Desk], None]:
    """Play where another content was published."""

    def play(desk: Desk) -> None:
        for step in then:
            step(desk)

    play.published_before = True  # type: ignore[attr-defined]
    return play


def still_processing(desk: Desk) -> None:
    desk.server.datasets[DATASET].versions[-1].polls = -4


def hidden_processing(desk: Desk) -> None:
    """Let the status say READY while a version is in processing: only the refusal of a second one tells."""
    desk.server.fault("CreateDatasetVersion", answer(403, "A version is being created already"), times=3)


def failing_rehearsal(desk: Desk) -> None:
    (desk.source / "kernel" / "main.py").write_text("raise SystemExit('no luck today')\n")


def no_credentials(desk: Desk) -> None:
    desk.environment |= {"KAGGLE_USERNAME": "-unset-", "KAGGLE_KEY": "-unset-"}


def wrong_key(desk: Desk) -> None:
    desk.environment |= WRONG_KEY


def session_limit(desk: Desk) -> None:
    desk.server.save_answer = {"error": "Maximum batch GPU session count of 2 reached."}


PUSH = [
    # processing
    works("slow processing", setting(processing=6)),
    works("lagging answers after creating", setting(lag=8)),
    works("lagging answers after versioning", published_before(setting(lag=8))),
    fails("processing fails", setting(fails=1), ("failed to process", "/datasets/"), versions=2, check=no_kernel),
    fails("processing of a version fails", published_before(setting(fails=1)), "failed to process", versions=3),
    works("another version in processing", published_before(still_processing)),
    works("a version in hidden processing", published_before(hidden_processing)),
    fails(
        "no version allowed at all",
        published_before(fault("CreateDatasetVersion", answer(403, "No quota"), times=ALWAYS)),
        ("403", "No quota"),
    ),
    # uploads
    works("an upload answers 400 once", fault("PUT", answer(400, "bad"), skip=1)),
    fails(
        "uploads answer 400",
        fault("PUT", answer(400, "bad chunk"), times=ALWAYS),
        ("uploading kernel.zip", "400", "bad chunk"),
        check=nothing_published,
    ),
    works("an upload answers 404: expired", fault("PUT", answer(404), skip=2)),
    works("an upload stops at 503", fault("PUT", part(0.4, answer(503)), skip=2), check=each_byte_once),
    works("an upload is cut", fault("PUT", part(0.7, cut), skip=2), check=each_byte_once),
    works("each upload is cut", fault("PUT", part(0.5, cut), times=3), check=each_byte_once),
    works("an upload arrives, the answer is lost", fault("PUT", cut, before=False, skip=1), check=each_byte_once),
    works("an upload answers 429", fault("PUT", answer(429, Retry_After="0.2"))),
    fails("uploads are refused", fault("StartBlobUpload", answer(413, "Too large"), times=ALWAYS), "413"),
    fails("uploads never end", fault("PUT", answer(503), times=ALWAYS), ("503", "goes on"), check=nothing_published),
    # answers that are lost: done or not done, the service is asked
    *(
        works(f"{method}: {what}, {'not done' if before else 'done'}", fault(method, play, before=before))
        for method in ("CreateDataset", "SaveKernel")
        for what, play in (("500", web_page(500)), ("cut", cut), ("503", answer(503)), ("no JSON", web_page(200)))
        for before in (True, False)
    ),
    *(
        works(
            f"CreateDatasetVersion: {what}, {'not done' if before else 'done'}",
            published_before(fault("CreateDatasetVersion", play, before=before), setting(lag=lag)),
        )
        for what, play, lag in (("500", web_page(500), 0), ("cut", cut, 6))
        for before in (True, False)
    ),
    works(
        "CreateDataset never answers", fault("CreateDataset", HANGS, before=False), argv=("push", "--timeout", "0.5")
    ),
    works("SaveKernel never answers", fault("SaveKernel", HANGS, before=False), argv=("push", "--timeout", "0.5")),
    # passing and lasting faults of reading calls
    *(
        works(f"{method}: {what} twice", fault(method, play, times=2))
        for method in (
            "GetDataset",
            "GetDatasetStatus",
            "DownloadDataset",
            "GET",
            "ListDatasetFiles",
            "GetKernel",
            "StartBlobUpload",
        )
        for what, play in (("500", web_page(500)), ("cut", cut))
    ),
    works("GetDataset: no JSON once", fault("GetDataset", web_page(200))),
    fails(
        "nothing but 503",
        fault("GetDataset", answer(503, "Overloaded"), times=ALWAYS),
        ("503", "Overloaded", "run the same command again"),
        check=nothing_published,
    ),
    fails(
        "a server that accepts and never answers",
        fault("GetDataset", HANGS, times=ALWAYS),
        "did not answer in time",
        argv=("push", "--timeout", "0.2"),
        check=nothing_published,
    ),
    # rates
    works("429 on asking", fault("GetDataset", answer(429, Retry_After="0.2"))),
    works("429 on creating", fault("CreateDataset", answer(429, Retry_After="0.2"), times=2)),
    works("429 on pushing", fault("SaveKernel", answer(429, Retry_After="0.2"))),
    works("429 until a date", fault("GetKernel", answer(429, Retry_After="Thu, 01 Jan 2026 00:00:00 GMT"))),
    fails(
        "429 for an hour",
        fault("SaveKernel", answer(429, "Slow down", Retry_After="3600"), times=ALWAYS),
        ("429", "Slow down", "wait 60 minutes"),
    ),
    # permissions
    fails(
        "401: a wrong key",
        wrong_key,
        ("401", "the API key from KAGGLE_USERNAME and KAGGLE_KEY", "does not know this credential"),
        check=nothing_published,
    ),
    fails(
        "403: not allowed",
        published_before(fault("GetDataset", answer(403, "Permission denied"), times=ALWAYS)),
        ("403", "Permission denied", "knows this credential"),
    ),
    works("403 for what does not exist", setting(forbid_missing=True)),
    fails("no credentials", no_credentials, ("no usable credentials", "kaggle.com/settings"), check=nothing_published),
    fails(
        "a server that repeats the credential",
        fault("GetDataset", answer(400, f"bad key {KEY}"), times=ALWAYS),
        "bad key [hidden]",
    ),
    # refusals inside an answer of 200
    fails("GPU session limit", session_limit, ("Maximum batch GPU session count", "kaggle.com/code"), check=no_kernel),
    fails(
        "invalid data-set source",
        setting(save_answer={"invalidDatasetSources": [DATASET]}),
        ("without what Kaggle calls invalid", DATASET),
        kernels=2,
        check=not_recorded,
    ),
    fails(
        "invalid competition source",
        setting(save_answer={"invalidCompetitionSources": ["hms-harmful-brain-activity-classification"]}),
        "competition hms-harmful-brain-activity-classification",
        kernels=2,
    ),
    fails(
        "409: the name is taken",
        fault("SaveKernel", answer(409, "Slug in use"), times=ALWAYS),
        ("Slug in use", "--kernel"),
    ),
    fails(
        "creating says that it exists",
        fault("CreateDataset", lambda _: reply({"error": "in use"})),
        "in use",
        check=nothing_published,
    ),
    # what arrives is not what was sent
    works("a file gets lost in processing", setting(drops={"weights/b2/config.json"})),
    fails(
        "the manifest gets lost in processing",
        setting(drops={"manifest.json"}),
        "does not show the new version",
        argv=("push", "--patience", "1"),
        again=False,
        check=no_kernel,
    ),
    # what is not ours
    fails(
        "a foreign data set",
        foreign_dataset,
        ("not published by this project", "FORCE=1"),
        again=False,
        check=no_kernel,
    ),
    works("a foreign data set, forced", foreign_dataset, argv=("push", "--force"), versions=2),
    fails("a foreign kernel", foreign_kernel, "not what this project published", versions=0, again=False),
    works("a foreign kernel, forced", foreign_kernel, argv=("push", "--force"), kernels=2),
    fails("our kernel, edited on the web", edited_kernel, "written or changed elsewhere", again=False),
    # our side
    fails(
        "a failing rehearsal",
        failing_rehearsal,
        "the kernel failed with status 1: no luck today",
        check=nothing_published,
    ),
]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with open_desk(tmp_path) as desk:
        yield desk


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return Prepared(tmp_path_factory.mktemp("published"), push_another)


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return Prepared(tmp_path_factory.mktemp("pushed"), lambda desk: desk.run("push"))


def heal(desk: Desk) -> None:
    """Take every fault away, but none of what was published."""
    server = desk.server
    server.faults.clear()
    server.release.set()
    server.fails, server.lag, server.drops, server.save_answer = 0, 0, set(), {}
    desk.environment = {"VERBOSE": "1"}
    write_checkout(desk.source)


@pytest.mark.parametrize("case", PUSH, ids=lambda case: case.name)
def test_push(tmp_path: Path, published: Prepared, case: Case) -> None:
    before = published if getattr(case.play, "published_before", False) else None
    with open_desk(tmp_path, before) as desk:
        check_push(desk, case)


def check_push(desk: Desk, case: Case) -> None:
    case.play(desk)
    result = desk.run(*case.argv)
    assert result.status == case.status, result.text
    for words in case.says:
        assert words in result.err, result.text
    case.check(desk)
    if case.status:
        errors = [line for line in result.err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, result.err
    if case.again:
        heal(desk)
        again = desk.run("push")
        assert again.status == 0, again.text
    versions = desk.server.datasets[DATASET].versions if DATASET in desk.server.datasets else []
    kernels = desk.server.kernels.get(KERNEL, [])
    assert len(versions) == case.versions
    if case.again or case.status == 0:
        assert len(kernels) == case.kernels
        record = desk.record()
        assert json.loads(versions[-1].files["manifest.json"])["tree_sha256"] == record["dataset"]["tree_sha256"]
        assert record["dataset"]["version"] == len(versions)
        assert record["kernel"]["version"] == len(kernels)
        assert kernels[-1].request["datasetDataSources"] == [DATASET], "the kernel runs without its bundle"
        assert not (desk.dist / "publishing.json").exists()
        assert not list(desk.home.rglob("*.zip.json")), "notes of finished uploads are left"


def test_processing_that_fails_twice_is_tried_three_times(desk: Desk) -> None:
    desk.server.fails = 2
    assert [desk.run("push").status for _ in range(3)] == [1, 1, 0]
    assert len(desk.server.datasets[DATASET].versions) == 3
    assert len(desk.server.kernels[KERNEL]) == 1


def test_retry_after_is_waited_for(desk: Desk) -> None:
    desk.server.fault("GetDataset", answer(429, Retry_After="0.7"))
    assert desk.run("push").status == 0
    first, second = (
        desk.server.times[n] for n in [i for i, call in enumerate(desk.server.calls) if call == "GetDataset"][:2]
    )
    assert second - first >= 0.7


def test_a_version_that_lacks_files_is_told_of_and_replaced_with_force(desk: Desk) -> None:
    desk.server.drops = {"weights/b2/config.json"}
    result = desk.run("push")
    assert result.status == 0
    assert "version 1 lacks 1 of" in result.out
    assert "(config.json)" in result.out
    desk.server.drops = set()
    assert "FORCE=1" in desk.run("push").out
    assert len(desk.server.datasets[DATASET].versions) == 1
    assert desk.run("push", "--force").status == 0
    assert len(desk.server.datasets[DATASET].versions) == 2
    assert desk.record()["dataset"]["version"] == 2


def test_someone_else_publishing_meanwhile_is_noticed(desk: Desk) -> None:
    assert desk.run("push").status == 0
    other = json.dumps({"format": "hms-bundle/1", "tree_sha256": "0" * 64, "files": []}).encode()
    desk.change_weights("second")
    # The answer is lost, and what shows up as the next version is not ours.
    desk.server.datasets[DATASET].versions.append(DatasetVersion({"manifest.json": other}, "theirs", polls=9))
    desk.server.datasets[DATASET].lag = 2
    desk.server.fault("CreateDatasetVersion", web_page(500))
    result = desk.run("push")
    assert result.status == 1
    assert "another bundle than ours" in result.err
    assert desk.run("push").status == 0
    assert len(desk.server.datasets[DATASET].versions) == 3


# status, submit, output: each on top of a push


def failed_run(desk: Desk) -> None:
    desk.server.run_status, desk.server.failure = "ERROR", "Your notebook ran out of memory"
    desk.server.run_log = lambda _: as_log("HMS-START {}\nreading\n\x1b[31mMemoryError\x1b[0m")
    desk.server.run_outputs = lambda _: {}


def crashed_run(desk: Desk) -> None:
    desk.server.run_log = lambda _: as_log("HMS-START {}\nSegmentation fault")


def nothing_left(desk: Desk) -> None:
    desk.server.run_outputs, desk.server.run_log = (lambda _: {}), (lambda _: "")


def other_bundle(desk: Desk) -> None:
    end = {"rows": 3, "tree_sha256": "0" * 64}
    desk.server.run_log = lambda _: as_log(f"HMS-END {json.dumps(end)}")


def outputs(**files: bytes) -> Callable[[Desk], None]:
    def play(desk: Desk) -> None:
        desk.server.run_outputs = lambda run: {**submission_output(run), **files}

    return play


def many_files(desk: Desk, count: int = 350) -> None:
    desk.server.page_size = 30
    desk.server.run_outputs = lambda run: (
        {f"parts/{n:03d}.txt": str(n).encode() for n in range(count)} | submission_output(run)
    )


def hostile_files(desk: Desk) -> None:
    names = (
        "../escaped.txt",
        "/tmp/escaped.txt",
        "a/../../escaped.txt",
        "..\\escaped.txt",
        "SUBMISSION.csv",
        "nul",
        "x\x1b]0;y",
    )
    desk.server.run_outputs = lambda run: {**submission_output(run), **dict.fromkeys(names, b"evil")}


def blank_error(desk: Desk) -> None:
    desk.server.score = {"status": "ERROR", "errorDescription": ""}
    assert desk.run("push", "--submit").status == 0


def submitted(desk: Desk) -> None:
    assert desk.run("push", "--submit").status == 0


def no_submission(desk: Desk) -> None:
    assert desk.server.submissions == []
    assert "submission" not in desk.record()


def one_submission(desk: Desk) -> None:
    assert len(desk.server.submissions) == 1
    assert desk.record()["submission"]["ref"] == 1001


def no_submission_file(desk: Desk) -> None:
    assert not (desk.dist / "output" / "submission.csv").exists()


def invalid_kept(desk: Desk) -> None:
    no_submission_file(desk)
    assert (desk.dist / "output" / "submission.csv.invalid").exists()


def all_parts(desk: Desk) -> None:
    parts = sorted((desk.dist / "output" / "parts").iterdir())
    assert [path.read_text() for path in parts] == [str(n) for n in range(350)]
    assert (desk.dist / "output" / "submission.csv").exists()


def none_escaped(desk: Desk) -> None:
    assert not list(desk.folder.rglob("*escaped*"))
    assert sorted(path.name for path in (desk.dist / "output").rglob("*") if path.is_file()) == [
        "hms-scalogram-inference.log",
        "submission.csv",
        "timing.json",
    ]


STATUS, SUBMIT, OUTPUT = ("status", "--watch"), ("submit",), ("output",)
AFTER = [
    works("the run waits and runs", setting(run_polls=4), "complete", argv=STATUS),
    fails("the run fails", failed_run, ("ERROR", "ran out of memory", "  | MemoryError\n", "make push"), argv=STATUS),
    fails("the run is cancelled", setting(run_status="CANCEL_ACKNOWLEDGED"), "CANCEL_ACKNOWLEDGED", argv=STATUS),
    fails("the run is complete and crashed", crashed_run, ("end marker", "Segmentation fault"), argv=STATUS),
    fails("the run leaves nothing", nothing_left, "neither a log nor submission.csv", argv=STATUS),
    fails("the run used another bundle", other_bundle, "used the bundle 0000000000000000", argv=STATUS),
    fails("a reason left blank", blank_error, ("gives no reason", "/submissions"), argv=STATUS),
    works("a score that comes late", both(setting(score_polls=5), submitted), "public score 0.31", argv=STATUS),
    works(
        "passing faults while watching",
        fault("GetKernelSessionStatus", web_page(502), times=9),
        "complete",
        argv=STATUS,
    ),
    fails(
        "a server gone while watching",
        fault("GetKernelSessionStatus", HANGS, times=ALWAYS),
        "did not answer in time",
        argv=(*STATUS, "--timeout", "0.05", "--interval", "0.002"),
    ),
    fails(
        "401 while watching",
        fault("GetKernelSessionStatus", answer(401, "Expired"), times=ALWAYS),
        "Expired",
        argv=STATUS,
    ),
    works("not a member, only looking", setting(member=False), "complete", argv=STATUS),
    # submit
    fails("submit while the run goes on", setting(run_polls=99), "has not ended", argv=SUBMIT, check=no_submission),
    fails("submit a failed run", failed_run, "nothing was submitted", argv=SUBMIT, check=no_submission),
    fails("submit a crashed run", crashed_run, "end marker", argv=SUBMIT, check=no_submission),
    fails("submit without output", nothing_left, "neither a log nor submission.csv", argv=SUBMIT, check=no_submission),
    fails(
        "limits used up for today",
        setting(limits={"numToday": 5, "numTotal": 40, "numAllowedNow": 0}),
        ("used up for today", "5 made today"),
        argv=SUBMIT,
        check=no_submission,
    ),
    fails(
        "limits used up in all",
        setting(limits={"numToday": 1, "numTotal": 40, "numAllowedNow": 0, "limitedByTotal": True}),
        "used up in all",
        argv=SUBMIT,
        check=no_submission,
    ),
    fails("not joined", setting(limits={}), "join the competition", argv=SUBMIT, check=no_submission),
    fails("rules not accepted", setting(member=False), ("403", "rules"), argv=SUBMIT, check=no_submission),
    fails(
        "a token that may not submit",
        fault("CreateCodeSubmission", answer(403, "Scope missing"), times=ALWAYS),
        ("Scope missing", f"https://www.kaggle.com/code/{KERNEL}", "version 1"),
        argv=SUBMIT,
        check=no_submission,
    ),
    fails(
        "a cap that the limits did not show",
        fault("CreateCodeSubmission", answer(400, "Daily limit"), times=ALWAYS),
        ("Daily limit", "/submissions"),
        argv=SUBMIT,
        check=no_submission,
    ),
    works(
        "429 on submitting",
        fault("CreateCodeSubmission", answer(429, Retry_After="0.2")),
        argv=SUBMIT,
        check=one_submission,
    ),
    *(
        works(
            f"submitting: {what}, {'not done' if before else 'done'}",
            fault("CreateCodeSubmission", play, before=before),
            argv=SUBMIT,
            check=one_submission,
        )
        for what, play in (("500", web_page(500)), ("cut", cut))
        for before in (True, False)
    ),
    works(
        "submitting never answers",
        fault("CreateCodeSubmission", HANGS, before=False),
        argv=(*SUBMIT, "--timeout", "0.5"),
        check=one_submission,
    ),
    # output
    fails(
        "output while the run goes on", setting(run_polls=99), "has not ended", argv=OUTPUT, check=no_submission_file
    ),
    works("downloads answer an error page once", fault("GET", web_page(500)), "valid", argv=OUTPUT),
    fails(
        "downloads answer an error page",
        fault("GET", web_page(500), times=ALWAYS),
        ("downloading submission.csv", "500", "Nothing was replaced"),
        argv=OUTPUT,
        check=no_submission_file,
    ),
    fails("downloads answer an error page of 404", fault("GET", web_page(404), times=ALWAYS), "404", argv=OUTPUT),
    works("a download is cut", fault("GET", cut), "valid", argv=OUTPUT),
    fails("a download never comes", fault("GET", HANGS, times=ALWAYS), "in time", argv=(*OUTPUT, "--timeout", "0.1")),
    fails(
        "an error page of 200 as submission", fault("GET", web_page(200)), ".invalid", argv=OUTPUT, check=invalid_kept
    ),
    works("350 files on pages", many_files, "353 files", argv=OUTPUT, check=all_parts),
    fails("hostile names", hostile_files, ("left out a file", "escaped.txt"), argv=OUTPUT, check=none_escaped),
    fails(
        "a submission with a wrong sum",
        outputs(**{"submission.csv": submission_output(None)["submission.csv"].replace(b"11,0.5", b"11,0.6")}),
        ("sum to 1.1", ".invalid"),
        argv=OUTPUT,
        check=invalid_kept,
    ),
    fails(
        "a submission that lost rows",
        outputs(
            **{
                "submission.csv": submission_output(None)["submission.csv"].replace(
                    b"33,0.5,0.1,0.1,0.1,0.1,0.1\n", b""
                )
            }
        ),
        "2 rows, and the kernel wrote 3",
        argv=OUTPUT,
        check=invalid_kept,
    ),
    fails(
        "no submission at all", setting(run_outputs=lambda _: {"a.txt": b"a"}), "left no submission.csv", argv=OUTPUT
    ),
    fails("the outputs of a failed run", failed_run, ("ERROR", "left no submission.csv"), argv=OUTPUT),
    fails("the outputs of a crashed run", crashed_run, "end marker", argv=OUTPUT),
    fails("the outputs of another bundle", other_bundle, "used the bundle 0000000000000000", argv=OUTPUT),
]


@pytest.mark.parametrize("case", AFTER, ids=lambda case: case.name)
def test_after_the_push(tmp_path: Path, pushed: Prepared, case: Case) -> None:
    with open_desk(tmp_path, pushed) as desk:
        desk.server.run_polls = 0
        case.play(desk)
        result = desk.run(*case.argv)
        assert result.status == case.status, result.text
        for words in case.says:
            assert words in result.text, result.text
        assert "\x1b" not in result.text
        case.check(desk)
        assert len(desk.server.datasets[DATASET].versions) == 1
        assert len(desk.server.kernels[KERNEL]) == 1


def test_an_interrupted_download_goes_on_and_replaces_at_the_end(desk: Desk) -> None:
    desk.run("push")
    desk.server.run_polls = 0
    many_files(desk, 70)
    assert desk.run("output").status == 0
    (desk.dist / "output" / "mark").touch()
    desk.server.fault("GET", web_page(404), times=ALWAYS, skip=50)
    assert desk.run("output").status == 1
    assert (desk.dist / "output" / "mark").exists(), (
        "the earlier outputs were touched before the new ones were complete"
    )
    desk.server.faults.clear()
    desk.server.calls.clear()
    assert desk.run("output").status == 0
    assert desk.server.calls.count("GET") == 72 - 50
    assert not (desk.dist / "output" / "mark").exists()


def test_before_any_push(desk: Desk) -> None:
    for command in ("submit", "output"):
        result = desk.run(command)
        assert result.status == 1
        assert "make push" in result.err
    status, report = desk.json("status")
    assert status == 1
    assert report["state"] == "nothing"


def test_status_without_a_record_shows_the_latest(desk: Desk) -> None:
    desk.run("push", "--submit")
    (desk.dist / "published.json").unlink()
    status, report = desk.json("status", "--watch")
    assert (status, report["state"], report["submission"]["ref"]) == (0, "scored", 1001)


def test_a_failed_run_is_never_submitted_in_one_go(desk: Desk) -> None:
    failed_run(desk)
    result = desk.run("push", "--submit")
    assert result.status == 1
    assert "ran out of memory" in result.out
    assert desk.server.submissions == []
