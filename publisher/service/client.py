"""Kaggle's service, call by call: what is asked, in the words of the wire, and what the answer means in ours.

None of this was seen from the real service: it is read from the client's source and from its users' reports. An answer
that is other than assumed may bring a note, and stops nothing:

| assumed | where it is otherwise |
|---|---|
| a list shows every file of a data set | a note: root files, a first page, archives or nothing at all prove nothing |
| a status is spelled as in the client | any case and prefix will do |
| a status is one that the client knows | data set: its manifest decides; run: its end marker; submission: its score |
| a data set's status can be asked for | its manifest, read back with our hash, decides |
| a data set names its current version | the greatest of the versions it lists counts, else its manifest alone |
| a file can be had of one version | the file of the latest version is taken |
| `isPrivate`, `enableInternet` are told | nothing is said about what is not told |
| what does not exist answers 404 | 403 too, where one's own list does not show it; where there is no list as well |
| creating answers the status `ok` | a note: the manifest that reads back decides; an error that is named is one |
| a kernel's source and sources are told | what was recorded of the last push decides; what is unknown is pushed over |
| a push names the version and our `ref` | the kernel is asked for its version, else the next number counts; a note |
| a push refuses sources, not keywords | a note for keywords: the run is not touched by them |
| `versionLabel` pins a run's status, outputs | the latest run is taken, with a note; its log names its bundle |
| a run's log comes with its outputs | a note: without a log the submission alone is looked at |
| a list shows every output | a note where the end marker says that `submission.csv` was written |
| outputs are named from the root | `submission.csv` is found in any folder |
| a next page's token leads on | a page that repeats or holds nothing is the last |
| how many may be submitted can be asked | a note: Kaggle refuses what it does not allow |
| a submission carries its description | a new one without any counts as ours |
| a submission can be asked for by number | it is looked for in the list |
| a submission that is complete has a score | watching ends after the patience (--patience) |
"""

from __future__ import annotations

import io
import itertools
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from publisher.service.answers import SOURCE_KINDS, DatasetState, Fields, KernelState, Limits, Run, Submission, number
from publisher.service.faults import ServiceError, none_if_refused
from publisher.service.session import Session

T = TypeVar("T")
BLOBS, DATASETS = "blobs.BlobApiService", "datasets.DatasetApiService"
KERNELS, COMPETITIONS = "kernels.KernelsApiService", "competitions.CompetitionApiService"
CODE_PAGE = "https://www.kaggle.com/code"


class Kaggle(Session):
    """The service, signed in. A `ref` is `owner/slug`."""

    # data set

    def dataset(self, ref: str) -> DatasetState:
        """Return the data set's state."""
        doing, asked = f"asking for the data set {ref}", _split(ref, "ownerSlug", "datasetSlug")
        mine = {"group": "DATASET_SELECTION_GROUP_MY", "search": asked["datasetSlug"]}
        found = self._find(doing, f"{DATASETS}/GetDataset", asked, f"{DATASETS}/ListDatasets", mine, "datasets")
        if found is None:
            return DatasetState()
        told = none_if_refused(lambda: self.ask(doing, f"{DATASETS}/GetDatasetStatus", asked)) or {}
        return DatasetState.read(found, told.get("status"))

    def _find(
        self, doing: str, method: str, asked: Fields, list_method: str, mine: Fields, holds: str
    ) -> Fields | None:
        """Ask for something; None where it does not exist, for which Kaggle answers 403 where one's list lacks it."""
        try:
            return self.ask(doing, method, asked)
        except ServiceError as error:
            if error.status == 404:
                return None
            if error.status != 403:
                raise
            listed = none_if_refused(lambda: self.ask(f"listing your {holds}", list_method, mine)) or {}
            ref = "/".join(asked.values()).lower()
            if any(str(item.get("ref") or "").lower().endswith(ref) for item in listed.get(holds) or []):
                raise
            return None

    def dataset_files(self, ref: str, version: int) -> list[str]:
        """Return the names of the files that one version is said to have, as far as they are listed."""
        asked = _split(ref, "ownerSlug", "datasetSlug") | {"datasetVersionNumber": version or None, "pageSize": 200}
        doing = f"listing the files of {ref} version {version}"
        pages = self.pages(doing, f"{DATASETS}/ListDatasetFiles", asked, "datasetFiles", attempts=2)
        return [str(item.get("name") or "") for page in pages for item in page.get("datasetFiles") or []]

    def dataset_file(self, ref: str, version: int, name: str) -> bytes:
        """Return the content of one small file of one version, of the latest for version 0."""
        asked = _split(ref, "ownerSlug", "datasetSlug") | {"fileName": name, "datasetVersionNumber": version or None}
        doing = f"reading {name} of {ref} version {version}"
        content = self.call(doing, lambda: self.post(f"{DATASETS}/DownloadDataset", asked).content)
        if content[:4] == b"PK\x03\x04":  # single files may come zipped
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                content = archive.read(archive.namelist()[0])
        return content

    def start_upload(self, name: str, size: int, modified: int) -> tuple[str, str]:
        """Announce a file; return (the token that names it in a version, the URL to put it to)."""
        asked = {"type": "DATASET", "name": name, "contentLength": size, "lastModifiedEpochSeconds": modified}
        # Announcing twice leaves an empty upload behind that expires by itself: safe to repeat.
        started = self.ask(f"announcing {name}", f"{BLOBS}/StartBlobUpload", asked)
        if not started.get("token") or not started.get("createUrl"):
            raise ServiceError(f"announcing {name}", "Kaggle gave no place to upload to", "Run the same command again")
        return str(started["token"]), str(started["createUrl"])

    def create_dataset(self, metadata: Fields, tokens: list[str]) -> None:
        """Create the data set, private, of uploaded files."""
        asked = _split(metadata["id"], "ownerSlug", "slug") | {
            "title": metadata["title"],
            "subtitle": metadata["subtitle"],
            "licenseName": metadata["licenses"][0]["name"],
            "isPrivate": True,
            "files": [{"token": token} for token in tokens],
        }
        self._publish(f"creating the data set {metadata['id']}", f"{DATASETS}/CreateDataset", asked)

    def create_dataset_version(self, ref: str, tokens: list[str], notes: str) -> None:
        """Add a version to the data set, of uploaded files."""
        body = {"versionNotes": notes, "files": [{"token": token} for token in tokens]}
        asked = _split(ref, "ownerSlug", "datasetSlug") | {"body": body}
        self._publish(f"adding a version to {ref}", f"{DATASETS}/CreateDatasetVersion", asked)

    def _publish(self, doing: str, method: str, asked: Fields) -> None:
        answer = self.ask(doing, method, asked, repeatable=False)
        status, error = str(answer.get("status") or "ok"), str(answer.get("error") or "")
        if error or any(word in status.lower() for word in ("error", "fail")):
            said = error or f"Kaggle answered the status {status!r}"
            raise ServiceError(doing, said, "Nothing was published; fix it and run the same command again", status=400)
        if status.lower() != "ok":
            self.say(f"note: {doing}: Kaggle answered the status {status!r}; what reads back decides")

    # kernel

    def kernel(self, ref: str) -> KernelState:
        """Return the kernel's latest version."""
        doing, asked = f"asking for the kernel {ref}", _split(ref, "userName", "kernelSlug")
        mine = {"group": "PROFILE", "search": asked["kernelSlug"], "page": 1, "pageSize": 100}
        found = self._find(doing, f"{KERNELS}/GetKernel", asked, f"{KERNELS}/ListKernels", mine, "kernels")
        return KernelState() if found is None else KernelState.read(found)

    def save_kernel(self, ref: str, folder: Path, rules: str) -> int:
        """Push a folder with `kernel-metadata.json` and its code file: saves a version and starts its run.

        Returns the version, 0 where Kaggle names none. `rules` is the page where the competition's are accepted.
        """
        doing, rules = f"pushing the kernel {ref}", f"; the competition's rules are at {rules}"
        push = partial(self.official.push_kernel, str(folder), self.credential.auth)
        try:
            answer = self.call(doing, push, repeatable=False)
        except ServiceError as error:
            error.todo += rules if error.status == 403 else ""
            raise
        if answer.error:
            said = self.redact(str(answer.error))
            todo = "Nothing was submitted; fix it and run the same command again"
            if any(word in said.lower() for word in ("session", "quota")):
                wait = "Wait for the end of a run or the next week's quota"
                todo = f"{wait}, or stop a run at {CODE_PAGE}, then run this again"
            raise ServiceError(doing, f"Kaggle saved no running version: {said}", todo, status=400)
        if keywords := getattr(answer, "invalid_tags", None):
            self.say(f"note: Kaggle does not know the keywords {', '.join(keywords)}; the run does without them")
        refused = [
            f"{kind.replace('dataset', 'data set')} {', '.join(names)}"
            for kind in SOURCE_KINDS
            if (names := getattr(answer, f"invalid_{kind}_sources", None))
        ]
        if refused:
            said = f"version {answer.version_number} was saved without what Kaggle calls invalid: {'; '.join(refused)}"
            todo = (
                f"Its run is of no use: stop it at {answer.url or CODE_PAGE}. Check the names with `python build.py "
                "doctor`; a competition's rules and a model's licence must be accepted, a kernel must have run"
            )
            raise ServiceError(doing, said, f"{todo}{rules}. Then run the same command again", status=400)
        if answer.ref and answer.ref.strip("/").rpartition("/")[2].lower() != ref.rpartition("/")[2].lower():
            self.say(f"note: Kaggle calls the kernel {answer.ref!r}, not {ref}")
        return number(answer.version_number)

    def run(self, ref: str, version: int) -> Run:
        """Return the state of the run of one version."""
        doing, method = f"asking for the run of {ref} version {version}", f"{KERNELS}/GetKernelSessionStatus"
        pinned, answer = self._pinned(ref, version, lambda asked: self.ask(doing, method, asked))
        return Run.read(answer, pinned)

    def outputs(self, ref: str, version: int) -> Iterator[tuple[list[tuple[str, str]], str]]:
        """Yield what the run of one version left, page by page: (name, URL) of files, and the log, on the first."""
        doing, method = f"listing the outputs of {ref} version {version}", f"{KERNELS}/ListKernelSessionOutput"

        def first(asked: Fields) -> tuple[Fields, Iterator[Fields]]:
            pages = self.pages(doing, method, {**asked, "pageSize": 100}, "files")
            return next(pages), pages

        _, (page, others) = self._pinned(ref, version, first)
        for found in itertools.chain([page], others):
            files = [(str(file.get("fileName") or ""), str(file.get("url") or "")) for file in found.get("files") or []]
            yield files, str(found.get("log") or "")

    def _pinned(self, ref: str, version: int, send: Callable[[Fields], T]) -> tuple[bool, T]:
        """Ask about the run of one version, or of the latest where the label of a version is refused."""
        asked = _split(ref, "userName", "kernelSlug")
        try:
            return True, send({**asked, "versionLabel": f"v{version}"})
        except ServiceError as error:
            if error.status not in (400, 404):
                raise
            try:
                return False, send(asked)
            except ServiceError:
                raise error from None

    # submission

    def limits(self, competition: str) -> Limits:
        """Return how many submissions the user's team may still make."""
        doing = f"asking how many submissions {competition} still allows"
        return Limits.read(self.ask(doing, f"{COMPETITIONS}/GetSubmissionLimits", {"competitionName": competition}))

    def submit(self, competition: str, ref: str, version: int, file_name: str, description: str) -> int:
        """Submit the output of one kernel version; return the submission's number, 0 where Kaggle names none."""
        asked = _split(ref, "kernelOwner", "kernelSlug") | {
            "competitionName": competition,
            "kernelVersion": version,
            "fileName": file_name,
            "submissionDescription": description,
        }
        doing = f"submitting {ref} version {version} to {competition}"
        return number(self.ask(doing, f"{COMPETITIONS}/CreateCodeSubmission", asked, repeatable=False).get("ref"))

    def submission(self, ref: int) -> Submission:
        """Return one submission."""
        return Submission.read(self.ask(f"asking for submission {ref}", f"{COMPETITIONS}/GetSubmission", {"ref": ref}))

    def submissions(self, competition: str) -> list[Submission]:
        """Return the user's submissions, newest first; none for who is not in the competition."""
        doing, asked = f"listing your submissions to {competition}", {"competitionName": competition, "pageSize": 100}
        pages = self.pages(doing, f"{COMPETITIONS}/ListSubmissions", asked, "submissions")
        found = none_if_refused(lambda: list(pages), (401, 403, 404)) or []
        return [Submission.read(item) for page in found for item in page.get("submissions") or []]


def _split(ref: str, owner: str, slug: str) -> Fields:
    """Return the two parts of `owner/slug` under the names that a call gives them."""
    return dict(zip((owner, slug), ref.split("/"), strict=True))
