"""A stand-in for Kaggle on loopback, for the tests of `publisher`: keeps state, and plays the service's faults.

Commands are pointed at it as at a proxy (see `environment`). It speaks the wire protocol of Kaggle's API: POST
{service}/{Method} with JSON, resumable PUT uploads, GET downloads. What is posted is held against the official client's
own types of requests. Built on Werkzeug.
"""

from __future__ import annotations

import base64
import copy
import importlib
import io
import json
import os
import re
import signal
import socket
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from kernel.main import END, START

USER, KEY, TOKEN = "alice", "0123456789abcdef0123456789abcdef", "KGAT_fedcba9876543210fedcba9876543210"
REFRESH = "refresh-0011223344556677"
STEPS = ("NOT_YET_PERSISTED", "BLOBS_RECEIVED", "BLOBS_DECOMPRESSED", "BLOBS_COPIED_TO_SDS")


@dataclass
class Fault:
    """What to do with the next calls of a name; `before` leaves them undone, else they are done and the answer lost."""

    name: str
    play: Callable[[Request], Response]
    times: int = 1
    before: bool = True
    skip: int = 0


Deviation = Callable[[dict[str, Any], dict[str, Any]], "dict[str, Any] | Response"]
"""Takes what was asked and what would be answered; returns what is answered."""


@dataclass
class DatasetVersion:
    files: dict[str, bytes]
    notes: str
    polls: int = 0
    failed: bool = False


@dataclass
class Dataset:
    title: str
    private: bool
    versions: list[DatasetVersion] = field(default_factory=list)
    shown: int = 0
    """How many versions the service shows: the last may lag."""
    lag: int = 0


@dataclass
class KernelVersion:
    request: dict[str, Any]
    polls: int = 0
    outputs: dict[str, bytes] | None = None
    log: str = ""
    status: str = ""
    """How its run ended, where it was executed."""


@dataclass
class Submission:
    request: dict[str, Any]
    polls: int = 0


class Handler(WSGIRequestHandler):
    def log(self, *_: Any) -> None:
        """Say nothing."""


class Kaggle:
    """The service: set what it should play, look at what it holds."""

    def __init__(self) -> None:
        self.datasets: dict[str, Dataset] = {}
        self.blobs: dict[str, dict[str, Any]] = {}
        self.kernels: dict[str, list[KernelVersion]] = {}
        self.submissions: list[Submission] = []
        self.faults: list[Fault] = []
        self.deviations: dict[str, Deviation] = {}  # what becomes of every good answer to a method
        self.calls: list[str] = []
        self.times: list[float] = []  # when each call came
        self.unknown: list[str] = []  # methods and fields that the official client does not know
        self.authorized: list[tuple[str, bool]] = []  # path, and whether a credential came with it
        self.processing = 1  # polls until a version is READY
        self.fails = 0  # how many of the next versions fail in processing
        self.lag = 0  # reads for which a new version, of data set or kernel, or a submission does not show
        self.lags: dict[str, int] = {}
        self.drops: set[str] = set()  # files that get lost in processing
        self.run_polls = 1  # polls until a run ends
        self.run_status = "COMPLETE"
        self.failure = ""
        self.run_log: Callable[[KernelVersion], str] = end_log
        self.execute: Callable[[str, KernelVersion], None] | None = None  # runs what is pushed, instead of playing it
        self.judge: Callable[[bytes], str] | None = None  # scores what is submitted
        self.run_outputs: Callable[[KernelVersion], dict[str, bytes]] = submission_output
        self.page_size = 100
        self.ranges = True  # whether the store gives a part of a file
        self.save_answer: dict[str, Any] = {}
        self.score_polls = 1
        self.score: dict[str, Any] = {"status": "COMPLETE", "publicScore": "0.31", "privateScore": "0.35"}
        self.limits = {"numToday": 1, "numTotal": 9, "numAllowedNow": 4}
        self.member = True
        self.stale_tokens: set[str] = set()
        self.forbid_missing = False  # whether what does not exist answers 403, as Kaggle does
        self.victim: Callable[[], int] | None = None
        self.kill_at = (0, True)  # (which call, before it is done?)
        self.release = threading.Event()
        self._lock = threading.RLock()
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()

    def environment(self, home: Path, **extra: str) -> dict[str, str]:
        """Return the environment in which the client talks to this server and to nothing else."""
        home.mkdir(parents=True, exist_ok=True)
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "TMPDIR": str(home),
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "http_proxy": f"http://127.0.0.1:{self.port}",
            "https_proxy": f"http://127.0.0.1:{self.port}",
            "no_proxy": "",
            "KAGGLE_USERNAME": USER,
            "KAGGLE_KEY": KEY,
            "PYTHONDONTWRITEBYTECODE": "1",
            **extra,
        }

    def fault(
        self, name: str, play: Callable[[Request], Response], *, times: int = 1, before: bool = True, skip: int = 0
    ) -> None:
        self.faults.append(Fault(name, play, times, before, skip))

    def take_over(self, other: Kaggle) -> None:
        """Hold what another server holds, and play what it plays."""
        for name in ("datasets", "blobs", "kernels", "lags", "submissions", "lag", "run_polls"):
            setattr(self, name, copy.deepcopy(getattr(other, name)))

    def state(self) -> dict[str, Any]:
        """Return what counts of the state: what was published, as often as it was."""
        return {
            "datasets": {
                ref: [sorted(version.files) for version in dataset.versions] for ref, dataset in self.datasets.items()
            },
            "trees": {
                ref: [json.loads(version.files["manifest.json"])["tree_sha256"] for version in dataset.versions]
                for ref, dataset in self.datasets.items()
            },
            "kernels": {
                ref: [version.request["text"] for version in versions] for ref, versions in self.kernels.items()
            },
            "submissions": [item.request["submissionDescription"] for item in self.submissions],
        }

    # the wire

    @Request.application
    def _answer(self, request: Request) -> Response:
        body = request.get_data()
        name = request.path.rsplit("/", 1)[-1] if request.method == "POST" else request.method
        with self._lock:
            self.calls.append(name)
            self.times.append(time.monotonic())
            number = len(self.calls)
            self.authorized.append((request.path, "Authorization" in request.headers))
            fault = self._take_fault(name)
        if self._kill(number, before=True):
            return Response("")
        if fault and fault.before:
            return fault.play(request)
        with self._lock:
            answer = self._do(request, name, body)
        self._kill(number, before=False)
        if fault:
            return fault.play(request)
        return answer

    def _take_fault(self, name: str) -> Fault | None:
        for fault in self.faults:
            if fault.name == name:
                if fault.skip:
                    fault.skip -= 1
                    return None
                fault.times -= 1
                if not fault.times:
                    self.faults.remove(fault)
                return fault
        return None

    def _kill(self, number: int, *, before: bool) -> bool:
        if self.victim is None or self.kill_at != (number, before):
            return False
        os.kill(self.victim(), signal.SIGKILL)
        return True

    def _do(self, request: Request, name: str, body: bytes) -> Response:
        if request.method == "PUT":
            return self._put(request, body)
        if request.method == "GET":
            return self._get(request)
        asked = json.loads(body or b"{}")
        service = request.path.rsplit("/", 2)[-2]
        self.unknown += [f"{service}/{name}: {field}" for field in asked.keys() - known_fields(service, name)]
        if name in ("IntrospectToken", "GenerateAccessToken"):
            return getattr(self, f"do_{name}")(asked)
        if not self._knows(request.headers.get("Authorization", "")):
            return refuse(401, "Unauthenticated")
        answer = getattr(self, f"do_{name}")(asked)
        deviation = self.deviations.get(name)
        if deviation is None or answer.status_code >= 400:
            return answer
        changed = deviation(asked, json.loads(answer.get_data() or b"{}"))
        return answer if changed is None else reply(changed) if isinstance(changed, dict) else changed

    def _knows(self, authorization: str) -> bool:
        kind, _, value = authorization.partition(" ")
        if kind == "Basic":
            return base64.b64decode(value).decode() == f"{USER}:{KEY}"
        return kind == "Bearer" and value == TOKEN and value not in self.stale_tokens

    def _put(self, request: Request, body: bytes) -> Response:
        blob = self.blobs.get(request.path.rsplit("/", 1)[-1])
        if blob is None:
            return Response("gone", 404)
        content_range = request.headers.get("Content-Range", "")
        if not content_range.startswith("bytes */"):
            start = int(content_range.split(" ")[1].split("-")[0]) if content_range else 0
            if start != len(blob["data"]):
                blob["data"] = blob["data"][:start]
            blob["data"] += body
            blob["sent"] = blob.get("sent", 0) + len(body)
        if len(blob["data"]) == blob["size"]:
            return Response("", 200)
        headers = {"Range": f"bytes=0-{len(blob['data']) - 1}"} if blob["data"] else {}
        return Response("", 308, headers=headers)

    def _get(self, request: Request) -> Response:
        kind, *rest = request.path.strip("/").split("/")
        if kind == "dataset":
            return Response(self.datasets["/".join(rest[:2])].versions[int(rest[2]) - 1].files["/".join(rest[3:])])
        outputs = self.kernels["/".join(rest[:2])][int(rest[2]) - 1].outputs or {}
        content = list(outputs.values())[int(rest[3])]
        answer = Response(content)
        if self.ranges:
            answer.make_conditional(request.environ, accept_ranges=True, complete_length=len(content))
        return answer

    # the service

    def do_IntrospectToken(self, asked: dict[str, Any]) -> Response:
        if asked["token"] == TOKEN and TOKEN not in self.stale_tokens:
            return reply({"active": True, "username": USER})
        return reply({"active": False})

    def do_GenerateAccessToken(self, asked: dict[str, Any]) -> Response:
        if asked["refreshToken"] != REFRESH:
            return refuse(401, "The refresh token was revoked")
        return reply({"token": TOKEN, "expiresIn": 3600, "userName": USER})

    def do_ListDatasets(self, asked: dict[str, Any]) -> Response:
        return reply({"datasets": [{"ref": ref} for ref in self.datasets]})

    def do_ListKernels(self, asked: dict[str, Any]) -> Response:
        return reply({"kernels": [{"ref": ref} for ref in self.kernels]})

    def do_StartBlobUpload(self, asked: dict[str, Any]) -> Response:
        token = f"blob-{len(self.blobs) + 1}"
        self.blobs[token] = {"name": asked["name"], "size": asked.get("contentLength", 0), "data": b""}
        return reply({"token": token, "createUrl": f"http://localhost/upload/{token}"})

    def do_CreateDataset(self, asked: dict[str, Any]) -> Response:
        ref = f"{asked['ownerSlug']}/{asked['slug']}"
        if ref in self.datasets:
            return reply({"status": "Error", "error": f'The requested title "{asked["title"]}" is already in use'})
        dataset = self.datasets[ref] = Dataset(asked["title"], asked.get("isPrivate", False))
        return self._add_version(ref, dataset, asked["files"], "")

    def do_CreateDatasetVersion(self, asked: dict[str, Any]) -> Response:
        ref = f"{asked['ownerSlug']}/{asked['datasetSlug']}"
        dataset = self.datasets[ref]
        if self._status(dataset.versions[-1]) not in ("READY", "FAILED"):
            return refuse(403, "A version is being created already")
        return self._add_version(ref, dataset, asked["body"]["files"], asked["body"].get("versionNotes", ""))

    def _add_version(self, ref: str, dataset: Dataset, files: list[dict[str, Any]], notes: str) -> Response:
        content: dict[str, bytes] = {}
        for item in files:
            blob = self.blobs[item["token"]]
            assert len(blob["data"]) == blob["size"], "a version is made of a broken upload"
            if blob["name"].endswith(".zip"):
                folder = blob["name"].removesuffix(".zip")
                with zipfile.ZipFile(io.BytesIO(blob["data"])) as archive:
                    content |= {f"{folder}/{name}": archive.read(name) for name in archive.namelist()}
            else:
                content[blob["name"]] = blob["data"]
        content = {name: data for name, data in content.items() if name not in self.drops}
        dataset.versions.append(DatasetVersion(content, notes, failed=self.fails > 0))
        self.fails = max(0, self.fails - 1)
        dataset.lag = self.lag
        return reply({"ref": f"/{ref}", "url": f"https://www.kaggle.com/datasets/{ref}", "status": "Ok"})

    def _status(self, version: DatasetVersion) -> str:
        if version.polls >= self.processing:
            return "FAILED" if version.failed else "READY"
        return STEPS[min(version.polls, len(STEPS) - 1)]

    def _shown(self, asked: dict[str, Any], *, read: bool = True) -> tuple[str, Dataset | None]:
        """Return the data set, its last version showing only once the lag has run out."""
        ref = f"{asked['ownerSlug']}/{asked['datasetSlug']}"
        dataset = self.datasets.get(ref)
        if dataset is None or not dataset.versions:
            return ref, None
        if dataset.lag > 0 and read:
            dataset.lag -= 1
        elif dataset.lag == 0:
            dataset.shown = len(dataset.versions)
        return ref, dataset if dataset.shown else None

    def _missing(self) -> Response:
        return refuse(403, "Permission 'datasets.get' was denied") if self.forbid_missing else refuse(404, "Not found")

    def do_GetDataset(self, asked: dict[str, Any]) -> Response:
        ref, dataset = self._shown(asked)
        if dataset is None:
            return self._missing()
        shown = dataset.versions[: dataset.shown]
        ready = [
            number for number, version in enumerate(shown, 1) if version.polls >= self.processing and not version.failed
        ]
        versions = [{"versionNumber": number, "versionNotes": version.notes} for number, version in enumerate(shown, 1)]
        number = len(shown) if shown[-1].failed else (ready or [1])[-1]
        return reply({"ref": ref, "currentVersionNumber": number, "isPrivate": dataset.private, "versions": versions})

    def do_GetDatasetStatus(self, asked: dict[str, Any]) -> Response:
        _, dataset = self._shown(asked, read=False)
        if dataset is None:
            return self._missing()
        version = dataset.versions[dataset.shown - 1]
        status = self._status(version)
        version.polls += 1
        return reply({"status": status})

    def do_ListDatasetFiles(self, asked: dict[str, Any]) -> Response:
        _, dataset = self._shown(asked, read=False)
        if dataset is None or asked["datasetVersionNumber"] > dataset.shown:
            return refuse(404, "Not found")
        files = dataset.versions[asked["datasetVersionNumber"] - 1].files
        items = [{"name": name, "totalBytes": len(data)} for name, data in files.items()]
        return self._page("datasetFiles", items, asked)

    def do_DownloadDataset(self, asked: dict[str, Any]) -> Response:
        ref, dataset = self._shown(asked, read=False)
        number = asked.get("datasetVersionNumber") or (dataset.shown if dataset else 0)
        if dataset is None or number > dataset.shown or asked["fileName"] not in dataset.versions[number - 1].files:
            return refuse(404, "Not found")
        return Response("", 302, headers={"Location": f"http://localhost/dataset/{ref}/{number}/{asked['fileName']}"})

    def _lags(self, name: str) -> bool:
        """Whether the newest of something does not show yet; each look brings it nearer."""
        left = self.lags.get(name, 0)
        self.lags[name] = max(0, left - 1)
        return left > 0

    def do_GetKernel(self, asked: dict[str, Any]) -> Response:
        ref = f"{asked['userName']}/{asked['kernelSlug']}"
        versions = self.kernels.get(ref, [])
        if self._lags(ref):
            versions = versions[:-1]
        if not versions:
            return refuse(403 if self.forbid_missing else 404, "Permission 'kernels.get' was denied")
        saved = versions[-1].request
        metadata = {
            "ref": ref,
            "currentVersionNumber": len(versions),
            "datasetDataSources": saved.get("datasetDataSources", []),
            "competitionDataSources": saved.get("competitionDataSources", []),
            "kernelDataSources": saved.get("kernelDataSources", []),
            "modelDataSources": saved.get("modelDataSources", []),
            "isPrivate": saved.get("isPrivate", False),
            "enableInternet": saved.get("enableInternet", False),
        }
        return reply({"metadata": metadata, "blob": {"source": saved["text"], "slug": asked["kernelSlug"]}})

    def do_SaveKernel(self, asked: dict[str, Any]) -> Response:
        ref = asked["slug"]
        if self.save_answer.get("error"):
            return reply(self.save_answer)
        wanted = asked.get("datasetDataSources", [])
        invalid = [source for source in wanted if not self._is_ready(source)]
        asked = {**asked, "datasetDataSources": [source for source in wanted if source not in invalid]}
        for name, key in (
            ("invalidCompetitionSources", "competitionDataSources"),
            ("invalidDatasetSources", "datasetDataSources"),
            ("invalidKernelSources", "kernelDataSources"),
            ("invalidModelSources", "modelDataSources"),
        ):
            refused = self.save_answer.get(name, [])
            asked[key] = [source for source in asked.get(key, []) if source not in refused]
        versions = self.kernels.setdefault(ref, [])
        versions.append(KernelVersion(asked))
        if self.execute:
            threading.Thread(target=self.execute, args=(ref, versions[-1]), daemon=True).start()
        self.lags[ref] = self.lag
        answer = {
            "ref": f"/{ref}",
            "url": f"https://www.kaggle.com/code/{ref}",
            "versionNumber": len(versions),
            "kernelId": 7,
        }
        return reply({**answer, **({"invalidDatasetSources": invalid} if invalid else {}), **self.save_answer})

    def _is_ready(self, source: str) -> bool:
        dataset = self.datasets.get(source)
        return dataset is not None and bool(dataset.versions) and self._status(dataset.versions[-1]) == "READY"

    def _run(self, asked: dict[str, Any]) -> KernelVersion | None:
        versions = self.kernels.get(f"{asked['userName']}/{asked['kernelSlug']}", [])
        label = asked.get("versionLabel", f"v{len(versions)}")
        if not label.startswith("v") or not 0 < int(label[1:]) <= len(versions):
            return None
        return versions[int(label[1:]) - 1]

    def do_GetKernelSessionStatus(self, asked: dict[str, Any]) -> Response:
        run = self._run(asked)
        if run is None:
            return refuse(404, "Not found")
        run.polls += 1
        if self.execute:
            return reply({"status": run.status or "RUNNING"})
        if run.polls <= self.run_polls:
            return reply({"status": "QUEUED" if run.polls == 1 else "RUNNING"})
        if run.outputs is None:
            run.outputs, run.log = self.run_outputs(run), self.run_log(run)
        return reply({"status": self.run_status, "failureMessage": self.failure})

    def do_ListKernelSessionOutput(self, asked: dict[str, Any]) -> Response:
        run = self._run(asked)
        if run is None:
            return refuse(404, "Not found")
        ref = f"{asked['userName']}/{asked['kernelSlug']}"
        number = asked.get("versionLabel", f"v{len(self.kernels[ref])}")[1:]
        base = f"http://localhost/output/{ref}/{number}"
        items = [{"fileName": name, "url": f"{base}/{n}"} for n, name in enumerate(run.outputs or {})]
        return self._page("files", items, asked, log=run.log)

    def _page(self, name: str, items: list[Any], asked: dict[str, Any], **extra: Any) -> Response:
        start = int(asked.get("pageToken") or 0)
        size = min(asked.get("pageSize", 20), self.page_size)
        token = {"nextPageToken": str(start + size)} if start + size < len(items) else {}
        return reply({name: items[start : start + size], **token, **extra})

    def do_GetSubmissionLimits(self, asked: dict[str, Any]) -> Response:
        return reply(self.limits) if self.member else refuse(403, "You must accept the rules")

    def do_CreateCodeSubmission(self, asked: dict[str, Any]) -> Response:
        if not self.member:
            return refuse(403, "You must accept the rules")
        if not self.limits.get("numAllowedNow"):
            return refuse(400, "You have no submissions left")
        self.submissions.append(Submission(asked))
        self.lags["submissions"] = self.lag
        return reply({"message": "Successfully submitted", "ref": 1000 + len(self.submissions)})

    def _submission(self, number: int) -> dict[str, Any]:
        item = self.submissions[number]
        about = {
            "ref": 1001 + number,
            "description": item.request.get("submissionDescription", ""),
            "date": "2026-01-01T00:00:00Z",
        }
        item.polls += 1
        score = self.score
        if self.judge:
            ref = f"{item.request['kernelOwner']}/{item.request['kernelSlug']}"
            outputs = self.kernels[ref][item.request["kernelVersion"] - 1].outputs or {}
            score = {"status": "COMPLETE", "publicScore": self.judge(outputs[item.request["fileName"]])}
        return {**about, **({"status": "PENDING"} if item.polls <= self.score_polls else score)}

    def do_GetSubmission(self, asked: dict[str, Any]) -> Response:
        return reply(self._submission(asked["ref"] - 1001))

    def do_ListSubmissions(self, asked: dict[str, Any]) -> Response:
        if not self.member:
            return refuse(403, "You must accept the rules")
        count = len(self.submissions) - self._lags("submissions")
        return self._page("submissions", [self._submission(n) for n in reversed(range(count))], asked)


@cache
def known_fields(service: str, method: str) -> frozenset[str]:
    """Return the fields that the official client can send with a method."""
    package, kind = service.split(".")
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.replace("OAuth", "Oauth")).lower()
    types = importlib.import_module(f"kagglesdk.{package}.types.{name}")
    request = getattr(types, f"Api{method}Request", None) or getattr(types, f"{method}Request")
    return frozenset(one.json_name for one in request._fields)


def reply(content: dict[str, Any]) -> Response:
    return Response(json.dumps(content), content_type="application/json")


def refuse(status: int, message: str, **headers: str) -> Response:
    content = json.dumps({"error": {"code": status, "message": message}})
    return Response(content, status, content_type="application/json", headers=headers)


# faults to play


def answer(status: int, message: str = "", **headers: str) -> Callable[[Request], Response]:
    """Answer with a status and a message; underscores in the names of headers stand for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: refuse(status, message, **named)


def web_page(status: int) -> Callable[[Request], Response]:
    """Answer with an error page."""
    page = "<!DOCTYPE html><html><head><title>Server Error</title></head><body>Oops</body></html>"
    return lambda _: Response(page, status, content_type="text/html")


def cut(request: Request) -> Response:
    """Close the connection without an answer."""
    connection = request.environ["werkzeug.socket"]
    connection.shutdown(socket.SHUT_RDWR)
    return Response("")


def hang(server: Kaggle) -> Callable[[Request], Response]:
    """Take the call and never answer."""

    def play(_: Request) -> Response:
        server.release.wait(60)
        return Response("")

    return play


def take_part(server: Kaggle, share: float, then: Callable[[Request], Response]) -> Callable[[Request], Response]:
    """Keep a part of an upload, then fail."""

    def play(request: Request) -> Response:
        body = request.get_data()
        blob = server.blobs[request.path.rsplit("/", 1)[-1]]
        part = body[: int(len(body) * share)]
        blob["data"] += part
        blob["sent"] = blob.get("sent", 0) + len(part)
        return then(request)

    return play


# what a run leaves


def as_log(text: str) -> str:
    """Return a log as the service keeps it."""
    lines = [
        {"stream_name": "stdout", "time": 0.1 * n, "data": line + "\n"} for n, line in enumerate(text.splitlines())
    ]
    return json.dumps(lines)


def end_log(version: KernelVersion) -> str:
    """Return the log of a run that ended well."""
    tree = json.loads(version.request["text"].rsplit("# published: ", 1)[1])["tree_sha256"]
    end = {"rows": 3, "fallbacks": 0, "seconds": 12.5, "models": [{"name": "b2"}], "tree_sha256": tree}
    return as_log(f"{START} {json.dumps({'tree_sha256': tree})}\nworking\n{END} {json.dumps(end)}")


def submission_output(_: KernelVersion) -> dict[str, bytes]:
    """Return the outputs of a run that ended well."""
    header = "eeg_id,seizure_vote,lpd_vote,gpd_vote,lrda_vote,grda_vote,other_vote"
    rows = [f"{number},0.5,0.1,0.1,0.1,0.1,0.1" for number in (11, 22, 33)]
    return {"submission.csv": "\n".join([header, *rows, ""]).encode(), "report/timing.json": b"{}"}
