"""Publishes a built folder as a data set: creates it, versions it, or leaves it alone; waits until it reads back.

Whether the service holds our content is decided by the manifest that it serves, never by a version number, a status or
a list of files, which may be wrong or describe the previous version for a while.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

from dataset_builder.metadata import MANIFEST, check_manifest, dataset_metadata
from publisher.journal import Journal
from publisher.service.answers import DatasetState
from publisher.service.client import Kaggle
from publisher.service.faults import ServiceError, none_if_refused
from publisher.upload import pack, upload


class DatasetPublisher:
    """Brings one built folder to one data set."""

    def __init__(self, kaggle: Kaggle, ref: str, folder: Path, manifest: dict[str, Any], journal: Journal) -> None:
        self.kaggle, self.ref, self.folder, self.manifest, self.journal = kaggle, ref, folder, manifest, journal
        self.tree = str(manifest["tree_sha256"])
        self.step = f"data set {self.ref}"
        self.unreadable = ""
        """Why the manifest could not be read when it was last asked for."""

    def publish(self, *, force: bool = False) -> dict[str, Any]:
        """Have our content at the service; return what is recorded of it."""
        known = self.journal.record.get("dataset", {})
        recorded = int(known.get("version", 0)) if known.get("ref") == self.ref else 0
        same = recorded if known.get("tree_sha256") == self.tree else 0
        about = {"tree_sha256": self.tree}
        state = self._settled()
        if state.exists and state.version < same and self.journal.recall(self.step, **about) is None:
            # The service shows an older state than the one that was recorded.
            self.journal.note(self.step, **about, before=same - 1, action="unchanged")
        sent = self.journal.recall(self.step, **about)
        served = self._served_tree(state) if state.exists else None
        ours = state.status != "FAILED" and served == self.tree
        if ours and (self._seems_whole(state.version) or not force):
            version, action = state.version or same, sent["action"] if sent else "unchanged"
        else:
            if state.public:
                self.kaggle.say(f"note: the data set {self.ref} is public: everyone can read what is published there")
            if state.exists and served is None and not force:
                self._refuse_foreign(state, recorded)
            if ours:  # but not whole: a whole version goes over it
                self.journal.forget(self.step)
            self.journal.do_once(
                self.step, about, lambda: self._prepare(state), lambda _: self._create(state), self._arrived
            )
            sent = self.journal.recall(self.step) or {}
            version, action = self._wait_for_ours(sent["before"]), sent["action"]
            self._seems_whole(version)
        self.journal.forget(self.step, parts=True)
        self.kaggle.say(f"data set {self.ref} version {version}: {action}, its manifest reads back with our hash")
        return {"ref": self.ref, "version": version, **about}

    def _state(self) -> DatasetState:
        state = self.kaggle.dataset(self.ref)
        if state.status == "DELETED":
            raise self._error("it was deleted", "Choose another name with --dataset", status=410)
        return state

    def _settled(self) -> DatasetState:
        """Return the state once no version is being processed: a second one would be refused until then."""
        told = False

        def look() -> DatasetState | None:
            nonlocal told
            state = self._state()
            if state.processing and not told:
                self.kaggle.say(f"Kaggle is processing a version of {self.ref} ({state.status}): waiting for it")
                told = True
            return None if state.processing else state

        settled = self.kaggle.watch(look, self.kaggle.pace.patience)
        if settled is None:
            raise self._too_slow("is still processing an earlier version")
        return settled

    def _prepare(self, state: DatasetState) -> dict[str, Any]:
        """Upload the folder; return what the journal notes of the version that is made of it."""
        files = pack(self.folder, self.journal.folder / "upload")
        self.tokens = upload(self.kaggle, self.journal, self.step, files)
        return {"before": state.version, "action": "versioned" if state.exists else "created"}

    def _create(self, state: DatasetState) -> bool:
        """Make a version of what was uploaded."""
        if not state.exists:
            self.kaggle.create_dataset(dataset_metadata(*self.ref.split("/")), self.tokens)
            return True
        notes = f"bundle {self.tree[:16]}, commit {str(self.manifest.get('commit', 'unknown'))[:12]}"

        def add() -> bool:
            self.kaggle.create_dataset_version(self.ref, self.tokens, notes)
            return True

        def add_when_allowed() -> bool | None:
            # While a version is being processed, which the status may not show yet, a second one is forbidden.
            added = none_if_refused(add, (403, 409))
            if not added:
                self._settled()
            return added

        return self.kaggle.watch(add_when_allowed, self.kaggle.pace.settle) or add()

    def _arrived(self, before: int) -> bool | None:
        """Look whether a version newer than `before` shows at the service, be it still in processing."""
        state = self._state()
        return state.processing or max(state.version, state.newest) > before or None

    def _wait_for_ours(self, before: int) -> int:
        """Wait until the data set is READY and serves our manifest; return the version."""
        said, wrong_since = "", dict[str, float]()

        def look() -> int | None:
            nonlocal said
            state, wrong = self._state(), ""
            now = f"data set {self.ref}: {state.status}" + (f" at version {state.version}" if state.exists else "")
            if now != said:
                self.kaggle.say(now)
                said = now
            if not state.exists or state.processing:
                return None
            if state.status == "FAILED":
                wrong = "failed"
            elif state.version > before or not state.version:
                served = self._served_tree(state)
                if served == self.tree:
                    return state.version or before + 1
                wrong = "foreign" if served is not None and state.version else ""
            # A failure or a foreign bundle may belong to the version before: it counts once it lasts.
            lasts = time.monotonic() - wrong_since.setdefault(wrong, time.monotonic()) >= self.kaggle.pace.settle
            if wrong == "failed" and (lasts or state.version > before):
                self.journal.note(self.step, failed=True)
                page = f"https://www.kaggle.com/datasets/{self.ref}"
                raise self._error("Kaggle failed to process it", f"Look at {page} and run the same command again")
            if wrong == "foreign" and lasts:
                self.journal.forget(self.step)
                todo = "Someone else may be publishing too: make sure that nobody is, then run the same command again"
                raise self._error("its newest version holds another bundle than ours", todo)
            return None

        version = self.kaggle.watch(look, self.kaggle.pace.patience)
        if version is None:
            raise self._too_slow(f"does not show the new version with its {MANIFEST}{self.unreadable}")
        return version

    def _served_tree(self, state: DatasetState) -> str | None:
        """Return the tree hash in the manifest that the service serves, None where there is no such manifest."""
        self.unreadable = ""
        for version in dict.fromkeys((state.version, 0)):  # of this version, else of the latest
            try:
                content = self.kaggle.dataset_file(self.ref, version, MANIFEST)
                return str(check_manifest(content, MANIFEST)["tree_sha256"])
            except ServiceError as error:
                if error.status not in (400, 403, 404):
                    raise
                self.unreadable = f" ({error.said})"
            except ValueError:
                break
        return None

    def _seems_whole(self, version: int) -> bool:
        """Whether Kaggle's list shows all files. It is known to leave out files: this may bring a note, and no more."""
        try:
            served = self.kaggle.dataset_files(self.ref, version)
        except ServiceError as error:
            self.kaggle.say(f"note: {error.doing}: {error.said}; the manifest reads back, so the push goes on")
            return True
        # Wheels arrive as files for some and unpacked for others; the kernel takes both.
        names = Counter(PurePosixPath(name).name for name in served)
        wanted = Counter(PurePosixPath(file["path"]).name for file in self.manifest["files"])
        lacking = sorted(name for name in wanted - names if not name.endswith(".whl"))
        if lacking:
            self.kaggle.say(
                f"note: Kaggle's list of {self.ref} version {version} lacks {len(lacking)} of {len(wanted)} files "
                f"({', '.join(lacking[:3])}). Such lists are often incomplete: the kernel verifies every file when it "
                "starts. Where it says that one is missing, FORCE=1 (--force) uploads all of them again"
            )
        return not lacking

    def _refuse_foreign(self, state: DatasetState, recorded: int) -> None:
        """Raise where what is there is not ours, as far as can be known."""
        if state.status == "FAILED" and self.journal.recall(self.step):
            return  # the failed version was ours
        if recorded and recorded == state.version and self.unreadable:
            self.kaggle.say(
                f"note: the {MANIFEST} of {self.ref} cannot be read{self.unreadable}; the record says: ours"
            )
            return
        said = f"version {state.version} there was not published by this project: it has no {MANIFEST} of ours"
        todo = "Nothing was changed. Choose another name with --dataset, or overwrite it with FORCE=1 (--force)"
        raise self._error(said, todo)

    def _too_slow(self, what: str) -> ServiceError:
        said = f"Kaggle {what} after {self.kaggle.pace.patience / 60:.0f} minutes"
        return self._error(said, "Run the same command again: it goes on from here, and nothing is sent twice")

    def _error(self, said: str, todo: str, status: int = 0) -> ServiceError:
        return ServiceError(f"publishing the data set {self.ref}", said, todo, status=status)
