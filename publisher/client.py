"""The only file that imports `kaggle`: signs in, calls the service with time-outs and retries, explains refusals.

Used by the rest of `publisher`. The package is left as it is; what it lacks is added by a subclass: a time-out on every
call, no debug output (which would print the Authorization header), a stale token that does not shadow a good key, and
no deletion of credentials. Nothing of the package's own types leaves this file.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import time
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import requests
from requests.adapters import HTTPAdapter

from publisher.answers import Credential, DatasetState, KernelState, Limits, Outputs, Run, SavedKernel, Submission
from publisher.pace import Pace, Say, ServiceError, Wait
from publisher.refusal import Redactor, explain

T = TypeVar("T")
SETTINGS_PAGE = "https://www.kaggle.com/settings"


@contextlib.contextmanager
def _without_signing_in() -> Iterator[None]:
    """Hide credentials and debug switches while `kaggle` is imported: it would sign in at once, without a time-out."""
    placeholders = {
        "KAGGLE_API_TOKEN": os.devnull,
        "KAGGLE_USERNAME": "-",
        "KAGGLE_KEY": "-",
        "VERBOSE": "",
        "VERBOSE_OUTPUT": "",
    }
    before = {name: os.environ.get(name) for name in placeholders}
    os.environ.update(placeholders)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


with _without_signing_in(), contextlib.redirect_stdout(io.StringIO()):
    import kaggle
    from kaggle.api.kaggle_api_extended import AuthMethod, KaggleApi
    from kagglesdk import KaggleCredentials, get_access_token_from_env
    from kagglesdk.blobs.types.blob_api_service import ApiBlobType, ApiStartBlobUploadRequest
    from kagglesdk.competitions.types import competition_api_service as competitions
    from kagglesdk.datasets.types import dataset_api_service as datasets
    from kagglesdk.datasets.types.dataset_enums import DatasetSelectionGroup
    from kagglesdk.kernels.types import kernels_api_service as kernels
    from kagglesdk.kernels.types.kernels_enums import KernelsListViewType

CLIENT_VERSION: str = kaggle.__version__


class TimedAdapter(HTTPAdapter):
    """An HTTP adapter whose requests cannot wait for ever."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        super().__init__()

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        """Send with a time-out on connecting and on each read."""
        options["timeout"] = options.get("timeout") or self.timeout
        return super().send(request, *args, **options)


def open_session(timeout: float) -> requests.Session:
    """Return a session for uploads and downloads, which carry their permission in the URL: no credential is sent."""
    session = requests.Session()
    session.mount("http://", TimedAdapter(timeout))
    session.mount("https://", TimedAdapter(timeout))
    return session


class _Api(KaggleApi):
    """Kaggle's own client, with time-outs and without surprises."""

    def __init__(self, timeout: float) -> None:
        super().__init__()
        self.timeout = timeout
        self.stale_token: str | None = None
        self.newest_version = ""

    def build_kaggle_client(self) -> Any:
        """Build the client as the base class does, then put a time-out on its session."""
        client = self.build_kaggle_client_with_params(
            args=[argument for argument in self.args if argument not in ("--verbose", "-v")],
            username=self.config_values.get(self.CONFIG_NAME_USER),
            password=self.config_values.get(self.CONFIG_NAME_KEY),
            api_token=self.config_values.get(self.CONFIG_NAME_TOKEN),
            response_processor=self._note_version,
        )
        http = client.http_client()
        http.__enter__()
        http._session.mount("http://", TimedAdapter(self.timeout))
        http._session.mount("https://", TimedAdapter(self.timeout))
        if self.config_values.get(self.CONFIG_NAME_AUTH_METHOD) == str(AuthMethod.LEGACY_API_KEY):
            # Left alone, the client sends any token it finds, even one that it has just seen refused.
            http._session.auth = (
                self.config_values[self.CONFIG_NAME_USER],
                self.config_values[self.CONFIG_NAME_KEY],
            )
        return client

    def _note_version(self, response: requests.Response) -> None:
        self.newest_version = response.headers.get("X-Kaggle-APIVersion", self.newest_version)

    def _introspect_token(self, access_token: str) -> str | None:
        try:
            username: str | None = super()._introspect_token(access_token)
        except requests.HTTPError as error:
            if error.response is None or error.response.status_code != 401:
                raise
            username = None
        if not username:
            self.stale_token = get_access_token_from_env()[1]
        return username

    def _authenticate_with_oauth_creds(self) -> bool:
        # The base class deletes the credentials file when a refresh is refused, and for half an hour takes a token
        # that has run out for a good one.
        credentials = KaggleCredentials.load(client=self.build_kaggle_client())
        if not credentials:
            return False
        expires = credentials._access_token_expiration
        if expires and expires.tzinfo and expires < datetime.now(UTC):
            credentials.refresh_access_token()
        self.config_values[self.CONFIG_NAME_TOKEN] = credentials.get_access_token()
        self.config_values[self.CONFIG_NAME_USER] = credentials.get_username()
        self.config_values[self.CONFIG_NAME_AUTH_METHOD] = str(AuthMethod.OAUTH)
        return True

    def _authenticate_anonymously(self) -> bool:
        return False


class Kaggle:
    """The service, signed in: every call has a time-out, is retried where that is safe, and explains a refusal."""

    def __init__(self, pace: Pace, say: Say, wait: Wait = time.sleep) -> None:
        self.pace, self.say, self.wait = pace, say, wait
        self.redact = Redactor()
        self._api = _Api(pace.timeout)
        self._credential: Credential | None = None
        for name in ("KAGGLE_API_TOKEN", "KAGGLE_KEY"):
            self.redact.add(os.environ.get(name))
        self.redact.add(get_access_token_from_env()[0])
        self._credential = self._sign_in()
        self._client = self._api.build_kaggle_client()

    def _sign_in(self) -> Credential:
        def authenticate() -> None:
            with contextlib.suppress(SystemExit):  # without credentials the client prints its help and exits
                self._api.authenticate()

        self.call("signing in to Kaggle", authenticate)
        values = self._api.config_values
        for name in (self._api.CONFIG_NAME_KEY, self._api.CONFIG_NAME_TOKEN):
            self.redact.add(values.get(name))
        if not self._api._authenticated:
            refused = f" (Kaggle refuses the token from {self._api.stale_token})" if self._api.stale_token else ""
            raise ServiceError(
                "signing in to Kaggle",
                f"no usable credentials found{refused}",
                f"Make a token at {SETTINGS_PAGE} and save it as ~/.kaggle/access_token, or kaggle.json in "
                f"{self._api.config_dir}",
                status=401,
            )
        method, username = values[self._api.CONFIG_NAME_AUTH_METHOD], values[self._api.CONFIG_NAME_USER]
        if method == str(AuthMethod.ACCESS_TOKEN):
            source = get_access_token_from_env()[1]
            return Credential(
                "access token", "~/.kaggle/access_token" if source == "access_token" else source, username
            )
        if method == str(AuthMethod.OAUTH):
            return Credential("OAuth sign-in", KaggleCredentials.DEFAULT_CREDENTIALS_FILE, username)
        source = "KAGGLE_USERNAME and KAGGLE_KEY" if os.environ.get("KAGGLE_KEY") else self._api.config
        return Credential("API key", source, username)

    @property
    def credential(self) -> Credential:
        """The credential in use."""
        assert self._credential is not None  # set before the constructor returns
        return self._credential

    @property
    def stale_token(self) -> str | None:
        """Where a token was found that Kaggle refuses, if any."""
        return self._api.stale_token

    @property
    def newest_client(self) -> str:
        """The version of the client that the service names as the newest, or nothing."""
        return self._api.newest_version

    @property
    def key_file(self) -> Path:
        """Where the client looks for `kaggle.json`."""
        return Path(self._api.config)

    @property
    def private_dir(self) -> Path:
        """The folder of the user's credentials, where the state of unfinished uploads is kept too."""
        return Path(self._api.config_dir)

    def call(self, doing: str, send: Callable[[], T], *, repeatable: bool = True) -> T:
        """Send one call; try again after a passing fault, and only where repeating it cannot do something twice."""

        def once() -> T:
            try:
                with contextlib.redirect_stdout(io.StringIO()):  # the client prints remarks on stdout
                    return send()
            except (requests.RequestException, json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
                # The cause is cut off: its text can carry URLs with permissions in them.
                raise explain(doing, error, self._credential, self.redact) from None

        policy = self.pace.retrying(lambda error: error.transient and (repeatable or error.refused), self.say)
        return policy(once)

    def watch(self, look: Callable[[], T | None], within: float) -> T | None:
        """Look until there is an answer or the time is up; return the answer, or None."""
        return self.pace.watch(look, within, self.wait)

    # data set

    def dataset(self, owner: str, slug: str) -> DatasetState | None:
        """Return the data set's state, or None where there is none."""
        doing = f"asking for the data set {owner}/{slug}"
        request, status_request = datasets.ApiGetDatasetRequest(), datasets.ApiGetDatasetStatusRequest()
        request.owner_slug = status_request.owner_slug = owner
        request.dataset_slug = status_request.dataset_slug = slug
        service = self._client.datasets.dataset_api_client
        try:
            found = self.call(doing, lambda: service.get_dataset(request))
            status = self.call(doing, lambda: service.get_dataset_status(status_request)).status.name
        except ServiceError as error:
            if error.status == 404 or (error.status == 403 and not self._owns_dataset(owner, slug)):
                return None
            raise
        notes = {version.version_number: version.version_notes or "" for version in found.versions or []}
        return DatasetState(f"{owner}/{slug}", found.current_version_number or 0, status, found.is_private, notes)

    def _owns_dataset(self, owner: str, slug: str) -> bool:
        # Kaggle answers 403 for what does not exist as for what is forbidden: one's own list tells them apart.
        request = datasets.ApiListDatasetsRequest()
        request.group, request.search = DatasetSelectionGroup.DATASET_SELECTION_GROUP_MY, slug
        listed = self.call(
            "listing your data sets", lambda: self._client.datasets.dataset_api_client.list_datasets(request)
        )
        return any((item.ref or "").lower() == f"{owner}/{slug}".lower() for item in listed.datasets or [])

    def dataset_files(self, owner: str, slug: str, version: int) -> list[tuple[str, int]]:
        """Return (name, bytes) of every file of one version."""
        request = datasets.ApiListDatasetFilesRequest()
        request.owner_slug, request.dataset_slug, request.dataset_version_number = owner, slug, version
        request.page_size = 200
        files: list[tuple[str, int]] = []
        for page in self._pages(
            f"listing the files of {owner}/{slug} version {version}",
            self._client.datasets.dataset_api_client.list_dataset_files,
            request,
        ):
            files += [(item.name or "", item.total_bytes) for item in page.dataset_files or []]
        return files

    def dataset_file(self, owner: str, slug: str, version: int, name: str) -> bytes:
        """Return the content of one small file of one version."""
        request = datasets.ApiDownloadDatasetRequest()
        request.owner_slug, request.dataset_slug, request.dataset_version_number = owner, slug, version
        request.file_name = name
        service = self._client.datasets.dataset_api_client
        doing = f"reading {name} of {owner}/{slug} version {version}"
        content: bytes = self.call(doing, lambda: service.download_dataset(request).content)
        if content[:4] == b"PK\x03\x04":  # single files may come zipped
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                content = archive.read(archive.namelist()[0])
        return content

    def start_upload(self, name: str, size: int, modified: int) -> tuple[str, str]:
        """Announce a file; return (the token that names it in a version, the URL to put it to)."""
        request = ApiStartBlobUploadRequest()
        request.type, request.name = ApiBlobType.DATASET, name
        request.content_length, request.last_modified_epoch_seconds = size, modified
        # Announcing twice leaves an empty upload behind that expires by itself: safe to repeat.
        started = self.call(f"announcing {name}", lambda: self._client.blobs.blob_api_client.start_blob_upload(request))
        if not started.token or not started.create_url:
            raise ServiceError(f"announcing {name}", "Kaggle gave no place to upload to", "Run the same command again")
        return started.token, started.create_url

    def create_dataset(self, metadata: dict[str, Any], tokens: list[str]) -> None:
        """Create the data set, private, of uploaded files."""
        request = datasets.ApiCreateDatasetRequest()
        request.owner_slug, request.slug = metadata["id"].split("/")
        request.title, request.subtitle = metadata["title"], metadata.get("subtitle")
        request.license_name, request.is_private = metadata["licenses"][0]["name"], True
        request.files = [self._uploaded(token) for token in tokens]
        service = self._client.datasets.dataset_api_client
        self._publish(f"creating the data set {metadata['id']}", lambda: service.create_dataset(request))

    def create_dataset_version(self, owner: str, slug: str, tokens: list[str], notes: str) -> None:
        """Add a version to the data set, of uploaded files."""
        request = datasets.ApiCreateDatasetVersionRequest()
        request.owner_slug, request.dataset_slug = owner, slug
        request.body = datasets.ApiCreateDatasetVersionRequestBody()
        request.body.version_notes, request.body.files = notes, [self._uploaded(token) for token in tokens]
        service = self._client.datasets.dataset_api_client
        self._publish(f"adding a version to {owner}/{slug}", lambda: service.create_dataset_version(request))

    @staticmethod
    def _uploaded(token: str) -> Any:
        file = datasets.ApiDatasetNewFile()
        file.token = token
        return file

    def _publish(self, doing: str, send: Callable[[], Any]) -> None:
        answer = self.call(doing, send, repeatable=False)
        if answer.error or (answer.status or "ok").lower() != "ok":
            said = self.redact(answer.error or f"Kaggle answered the status {answer.status!r}")
            raise ServiceError(doing, said, "Nothing was published; mend it and run the same command again", status=400)

    # kernel

    def kernel(self, owner: str, slug: str) -> KernelState | None:
        """Return the kernel's latest version, or None where there is none."""
        request = kernels.ApiGetKernelRequest()
        request.user_name, request.kernel_slug = owner, slug
        try:
            found = self.call(
                f"asking for the kernel {owner}/{slug}",
                lambda: self._client.kernels.kernels_api_client.get_kernel(request),
            )
        except ServiceError as error:
            if error.status == 404 or (error.status == 403 and not self._owns_kernel(owner, slug)):
                return None
            raise
        about, blob = found.metadata, found.blob
        return KernelState(
            f"{owner}/{slug}",
            about.current_version_number or 0,
            (blob.source if blob else "") or "",
            tuple(about.dataset_data_sources or ()),
            tuple(about.competition_data_sources or ()),
            tuple(about.category_ids or ()),
            about.is_private if "is_private" in about else None,
            about.enable_internet if "enable_internet" in about else None,
        )

    def _owns_kernel(self, owner: str, slug: str) -> bool:
        request = kernels.ApiListKernelsRequest()
        request.group, request.search = KernelsListViewType.PROFILE, slug
        request.page, request.page_size = 1, 100
        listed = self.call(
            "listing your kernels", lambda: self._client.kernels.kernels_api_client.list_kernels(request)
        )
        return any((item.ref or "").lower() == f"{owner}/{slug}".lower() for item in listed.kernels or [])

    def save_kernel(self, folder: Path) -> SavedKernel:
        """Push a folder with `kernel-metadata.json` and its code file: saves a version and starts its run."""
        answer = self.call("pushing the kernel", lambda: self._api.kernels_push(str(folder)), repeatable=False)
        invalid = {
            kind: [str(item) for item in getattr(answer, f"invalid_{name}") or []]
            for name, kind in (
                ("dataset_sources", "data set"),
                ("competition_sources", "competition"),
                ("kernel_sources", "kernel"),
                ("model_sources", "model"),
                ("tags", "keyword"),
            )
        }
        invalid = {kind: items for kind, items in invalid.items() if items}
        return SavedKernel(answer.ref, answer.url, answer.version_number or 0, self.redact(answer.error or ""), invalid)

    def run(self, owner: str, slug: str, version: int) -> Run:
        """Return the state of the run of one version."""
        request = kernels.ApiGetKernelSessionStatusRequest()
        request.user_name, request.kernel_slug, request.version_label = owner, slug, f"v{version}"
        service = self._client.kernels.kernels_api_client
        doing = f"asking for the run of {owner}/{slug} version {version}"
        answer = self.call(doing, lambda: service.get_kernel_session_status(request))
        return Run(answer.status.name, self.redact(answer.failure_message or ""))

    def outputs(self, owner: str, slug: str, version: int) -> Iterator[Outputs]:
        """Yield what the run of one version left, page by page; the log comes with the first."""
        request = kernels.ApiListKernelSessionOutputRequest()
        request.user_name, request.kernel_slug, request.version_label = owner, slug, f"v{version}"
        request.page_size = 100
        for page in self._pages(
            f"listing the outputs of {owner}/{slug} version {version}",
            self._client.kernels.kernels_api_client.list_kernel_session_output,
            request,
        ):
            yield Outputs(
                [(item.file_name or "", item.url or "") for item in page.files or []], self.redact(page.log or "")
            )

    # submission

    def limits(self, competition: str) -> Limits:
        """Return how many submissions the user's team may still make."""
        answer = self.call(
            f"asking how many submissions {competition} still allows",
            lambda: self._api.competition_get_submission_limits(competition),
        )
        return Limits(answer.num_today, answer.num_total, answer.num_allowed_now, answer.limited_by_total)

    def submit(self, competition: str, kernel: str, version: int, file_name: str, description: str) -> int:
        """Submit the output of one kernel version; return the submission's number."""
        answer = self.call(
            f"submitting {kernel} version {version} to {competition}",
            lambda: self._api.competition_submit_code(file_name, description, competition, kernel, version, quiet=True),
            repeatable=False,
        )
        return int(answer.ref)

    def submission(self, ref: int) -> Submission:
        """Return one submission."""
        request = competitions.ApiGetSubmissionRequest()
        request.ref = ref
        service = self._client.competitions.competition_api_client
        return self._as_submission(self.call(f"asking for submission {ref}", lambda: service.get_submission(request)))

    def submissions(self, competition: str) -> Iterator[Submission]:
        """Yield the user's submissions, newest first."""
        request = competitions.ApiListSubmissionsRequest()
        request.competition_name, request.page_size = competition, 100
        for page in self._pages(
            f"listing your submissions to {competition}",
            self._client.competitions.competition_api_client.list_submissions,
            request,
        ):
            yield from (self._as_submission(item) for item in page.submissions or [])

    def _as_submission(self, item: Any) -> Submission:
        return Submission(
            item.ref,
            item.status.name,
            item.description or "",
            item.public_score or "",
            item.private_score or "",
            self.redact(item.error_description or ""),
            item.url or "",
        )

    def _pages(self, doing: str, ask: Callable[[Any], Any], request: Any) -> Iterator[Any]:
        seen: set[str] = set()
        while True:
            page = self.call(doing, lambda: ask(request))
            yield page
            token = page.next_page_token
            if not token:
                return
            if token in seen:
                raise ServiceError(
                    doing, "Kaggle repeats the same page without end", "Run the same command again later"
                )
            seen.add(token)
            request.page_token = token
