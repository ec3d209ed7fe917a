"""Publishes the bundle as a data set: creates it, versions it, or leaves it alone; waits until it reads back as sent.

Called by `publisher.push`. Whether the service holds our bundle is decided by the manifest that it serves, never by a
version number or a status, which may describe the previous version for a while.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

from dataset_builder.metadata import Target, dataset_metadata
from publisher.answers import DatasetState
from publisher.archive import MANIFEST, check_manifest, pack
from publisher.client import Kaggle
from publisher.once import do_once, look_first
from publisher.pace import ServiceError
from publisher.record import Journal
from publisher.upload import Uploads

STEP = "dataset"


class DatasetPublisher:
    """Brings one bundle to one data set."""

    def __init__(
        self, kaggle: Kaggle, target: Target, bundle: Path, manifest: dict[str, Any], journal: Journal
    ) -> None:
        self.kaggle, self.target, self.bundle, self.journal = kaggle, target, bundle, journal
        self.manifest = manifest
        self.tree = str(manifest["tree_sha256"])
        self.ref = target.dataset_ref

    def publish(self, dist: Path, *, known: int = 0, force: bool = False) -> tuple[int, str]:
        """Return (the version that holds our bundle, what was done: "created", "versioned" or "unchanged").

        `known` is the version under which this very bundle was seen before, if it was.
        """
        state = self._settled()
        sent = self.journal.recall(STEP, ref=self.ref, tree_sha256=self.tree)
        if sent is None and state is not None and state.version < known:  # the service shows an older state
            sent = {"before": known - 1, "action": "unchanged"}
        if state is not None:
            self._refuse_deleted(state)
            if state.status == "READY" and self._served_tree(state) == self.tree:
                if self._is_whole(state.version, force):
                    self._done()
                    return state.version, sent["action"] if sent else "unchanged"
                sent = None  # what was sent before has arrived in part: a whole version goes over it
            if not state.private:
                self.kaggle.say(f"note: the data set {self.ref} is public: everyone can read what is published there")
            self._refuse_foreign(state, force)
        before = sent["before"] if sent else 0
        if sent is None or not look_first(self.kaggle, lambda: self._arrived(before)):
            sent = self._send(dist, state)
        version = self._wait_for_ours(sent["before"])
        self._done()
        return version, sent["action"]

    def _state(self) -> DatasetState | None:
        return self.kaggle.dataset(self.target.owner, self.target.dataset)

    def _settled(self) -> DatasetState | None:
        """Return the state once no version is being processed: a second one would be refused until then."""
        told = False

        def look() -> tuple[DatasetState | None] | None:
            nonlocal told
            state = self._state()
            if state is not None and state.processing:
                if not told:
                    self.kaggle.say(f"Kaggle is processing a version of {self.ref} ({state.status}): waiting for it")
                told = True
                return None
            return (state,)

        settled = self.kaggle.watch(look, self.kaggle.pace.patience)
        if settled is None:
            raise self._too_slow("is still processing an earlier version")
        return settled[0]

    def _send(self, dist: Path, state: DatasetState | None) -> dict[str, Any]:
        """Upload the bundle and make a version of it; return what was noted in the journal."""
        parcels = pack(self.bundle, dist / "upload")
        uploads = Uploads(self.kaggle, self.ref)
        tokens = uploads.send(parcels)
        before, action = (state.version, "versioned") if state else (0, "created")
        sent = {"ref": self.ref, "tree_sha256": self.tree, "before": before, "action": action}
        self.journal.note(STEP, **sent)

        def send() -> bool:
            if state is None:
                self.kaggle.create_dataset(dataset_metadata(self.target.owner, self.target.dataset), tokens)
            else:
                self._add_version(tokens)
            return True

        try:
            do_once(self.kaggle, send, lambda: self._arrived(before))
        except ServiceError as error:
            if error.refused:
                self.journal.forget(STEP)
            raise
        uploads.forget()
        return sent

    def _add_version(self, tokens: list[str]) -> None:
        notes = f"bundle {self.tree[:16]}, commit {str(self.manifest.get('commit', 'unknown'))[:12]}"
        refusal: ServiceError | None = None

        def attempt() -> bool | None:
            nonlocal refusal
            try:
                self.kaggle.create_dataset_version(self.target.owner, self.target.dataset, tokens, notes)
            except ServiceError as error:
                # While a version is being processed, which the status may not show yet, a second one is forbidden.
                if error.status not in (403, 409):
                    raise
                refusal = error
                self._settled()
                return None
            return True

        if self.kaggle.watch(attempt, self.kaggle.pace.settle) is None and refusal is not None:
            raise refusal

    def _arrived(self, before: int) -> bool | None:
        """Look whether a version newer than `before` shows at the service, be it still in processing."""
        state = self._state()
        if state is None:
            return None
        newer = state.version > before or state.processing or any(version > before for version in state.notes)
        return newer or None

    def _wait_for_ours(self, before: int) -> int:
        """Wait until the data set is READY and serves our manifest and all files; return the version."""
        said = ""
        wrong_since: dict[str, float] = {}

        def look() -> int | None:
            nonlocal said
            state = self._state()
            now = f"{state.status} at version {state.version}" if state else "not visible yet"
            if now != said:
                self.kaggle.say(f"data set {self.ref}: {now}")
                said = now
            if state is None or state.processing:
                return None
            self._refuse_deleted(state)
            # A failure or a foreign bundle may belong to the version before: it counts once it lasts.
            if state.status == "FAILED":
                self._fail_if_lasting(wrong_since, "failed", at_once=state.version > before)
            elif state.version > before:
                served = self._served_tree(state)
                if served == self.tree:
                    return None if self._lacking(state.version) else state.version
                if served is not None:
                    self._fail_if_lasting(wrong_since, "foreign", at_once=False)
            return None

        version = self.kaggle.watch(look, self.kaggle.pace.patience)
        if version is None:
            raise self._too_slow("does not show the new version with all its files")
        return version

    def _fail_if_lasting(self, since: dict[str, float], what: str, *, at_once: bool) -> None:
        first = since.setdefault(what, time.monotonic())
        if not at_once and time.monotonic() - first < self.kaggle.pace.settle:
            return
        doing = f"publishing the data set {self.ref}"
        if what == "failed":
            self.journal.note(STEP, ref=self.ref, failed=True)
            page = f"https://www.kaggle.com/datasets/{self.ref}"
            raise ServiceError(doing, "Kaggle failed to process it", f"Look at {page} and run the same command again")
        self.journal.forget(STEP)
        raise ServiceError(
            doing,
            "its newest version holds another bundle than ours",
            "Someone else may be publishing too: make sure that nobody is, then run the same command again",
        )

    def _served_tree(self, state: DatasetState) -> str | None:
        """Return the tree hash in the manifest that the service serves, None where there is no such manifest."""
        try:
            content = self.kaggle.dataset_file(self.target.owner, self.target.dataset, state.version, MANIFEST)
            return str(check_manifest(content, MANIFEST)["tree_sha256"])
        except ServiceError as error:
            if error.status not in (400, 403, 404):
                raise
        except ValueError:
            pass
        return None

    def _lacking(self, version: int) -> list[str]:
        """Return the manifest's files that the version does not show, by name."""
        served = self.kaggle.dataset_files(self.target.owner, self.target.dataset, version)
        # Wheels arrive as files for some and unpacked for others; the kernel takes both.
        names = Counter(PurePosixPath(name).name for name, _ in served)
        wanted = Counter(PurePosixPath(file["path"]).name for file in self.manifest["files"])
        return sorted(name for name in wanted - names if not name.endswith(".whl"))

    def _is_whole(self, version: int, force: bool) -> bool:
        """Whether the version shows all files; one that lacks some is only replaced with `force`."""
        lacking = self._lacking(version)
        if lacking:
            self.kaggle.watch(lambda: None if self._lacking(version) else True, self.kaggle.pace.settle)
            lacking = self._lacking(version)
        if lacking and not force:
            raise ServiceError(
                f"checking the data set {self.ref} version {version}",
                f"it serves our manifest and lacks {len(lacking)} of its files ({', '.join(lacking[:3])})",
                "Publish a whole version over it with FORCE=1 (--force)",
            )
        return not lacking

    def _refuse_foreign(self, state: DatasetState, force: bool) -> None:
        if force or self._served_tree(state) is not None:
            return
        if state.status == "FAILED" and self.journal.recall(STEP, ref=self.ref):
            return  # the failed version was ours
        raise ServiceError(
            f"publishing the data set {self.ref}",
            f"version {state.version} there was not published by this project: it has no {MANIFEST} of ours",
            "Nothing was changed. Choose another name with --dataset, or overwrite it with FORCE=1 (--force)",
        )

    def _refuse_deleted(self, state: DatasetState) -> None:
        if state.status == "DELETED":
            raise ServiceError(
                f"publishing the data set {self.ref}",
                "it was deleted",
                "Choose another name with --dataset",
                status=410,
            )

    def _too_slow(self, what: str) -> ServiceError:
        minutes = self.kaggle.pace.patience / 60
        return ServiceError(
            f"publishing the data set {self.ref}",
            f"Kaggle {what} after {minutes:.0f} minutes",
            "Run the same command again: it goes on from here, and nothing is sent twice",
        )

    def _done(self) -> None:
        self.journal.forget(STEP)
        Uploads(self.kaggle, self.ref).forget()
