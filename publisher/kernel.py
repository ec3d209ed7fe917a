"""Pushes a job's kernel: writes `dist/kernel`, saves a version where it is not there yet, checks the answer.

The pushed code ends in one comment that names the data set and a hash of the code: by it a killed push finds out
whether its version was saved, and a kernel that is not ours is known and left alone.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

from publisher.journal import Journal
from publisher.service.answers import KernelState
from publisher.service.client import Kaggle
from publisher.service.faults import ServiceError
from publisher.target import SOURCES, Target, fill_kernel_metadata

STEP = "kernel"
STAMP = re.compile(r"\A(.*\n)# published: (\{[^\n]*\})\s*\Z", re.DOTALL)


def stamp(code: str, **about: Any) -> str:
    """Return the code with the comment that says what it was published with."""
    code = code.replace("\r\n", "\n").rstrip() + "\n"
    about["code_sha256"] = hashlib.sha256(code.encode()).hexdigest()
    return f"{code}# published: {json.dumps(about, sort_keys=True)}\n"


def read_stamp(source: str) -> dict[str, Any] | None:
    """Return what a kernel's source was published with; None where it is not, unchanged, of this project."""
    match = STAMP.match(source.replace("\r\n", "\n"))
    try:
        about = json.loads(match[2]) if match else {}
    except ValueError:
        return None
    ours = match and about.get("code_sha256") == hashlib.sha256(match[1].encode()).hexdigest()
    return dict(about) if ours else None


def hash_source(source: str) -> str:
    """Return the hash of a kernel's source, which Kaggle may show with other line ends than it was sent."""
    return hashlib.sha256((source.replace("\r\n", "\n").strip() + "\n").encode()).hexdigest()


class KernelPublisher:
    """Brings a job's kernel to the service, once for each data set, code and settings."""

    def __init__(
        self,
        kaggle: Kaggle,
        target: Target,
        tree_sha256: str,
        journal: Journal,
        arguments: dict[str, str],
        **about: Any,
    ) -> None:
        self.kaggle, self.target, self.journal = kaggle, target, journal
        self.folder = target.folder / "kernel"
        self.metadata = fill_kernel_metadata(target)
        if arguments.get("device") == "cpu":  # a session with a GPU would cost quota all the same
            self.metadata |= {"enable_gpu": False, "machine_shape": ""}
        settings = hashlib.sha256(json.dumps(self.metadata, sort_keys=True).encode()).hexdigest()
        code = target.job.read_code(arguments)
        self.text = stamp(code, tree_sha256=tree_sha256, settings_sha256=settings, **about)
        self.sha256 = hash_source(self.text)
        self.about = {"ref": target.kernel_ref, "sha256": self.sha256}
        recorded = journal.record.get("kernel", {})
        known = recorded if recorded.get("ref") == target.kernel_ref else {}
        self.recorded = int(known.get("version", 0))
        """The version that we last pushed."""
        self.same = known.get("sha256") == self.sha256
        """Whether it was this very code with these settings."""

    @property
    def is_there(self) -> bool:
        """Whether the latest version, as recorded or as Kaggle shows it, is what would be pushed."""
        state = self._state()
        return self.same or (state is not None and self._is_ours(state))

    @property
    def begun(self) -> bool:
        """Whether an earlier command was about to push exactly this."""
        return self.journal.recall(STEP, **self.about) is not None

    def write(self) -> Path:
        """Write the folder that is pushed: the metadata and the one code file, whose path is returned."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        code_file = self.folder / self.metadata["code_file"]
        code_file.write_text(self.text, encoding="utf-8", newline="\n")
        metadata = json.dumps(self.metadata, indent=2) + "\n"
        (self.folder / "kernel-metadata.json").write_text(metadata, encoding="utf-8")
        return code_file

    def refuse_foreign(self, *, force: bool) -> None:
        """Raise if the kernel of this name was written or changed elsewhere, or cannot be asked for."""
        state = self._state()
        if force or state is None or read_stamp(state.source) or (state.version and state.version == self.recorded):
            return
        if not state.source:
            self.kaggle.say(f"note: Kaggle does not show the source of {self.target.kernel_ref}: taking it for ours")
            return
        raise ServiceError(
            f"pushing the kernel {self.target.kernel_ref}",
            f"version {state.version} there is not what this project published (written or changed elsewhere)",
            "Nothing was changed. Choose another name with --kernel, or overwrite it with FORCE=1 (--force)",
        )

    def publish(self, *, force: bool = False) -> tuple[int, str]:
        """Push the kernel; return (the version that runs our code, what was done: "pushed" or "unchanged")."""
        state = self._state()
        if not self.begun and not force:
            # Without a version from the service, or with an older one shown, the record knows.
            if self.same and self.recorded and (state is None or state.version <= self.recorded):
                return self.recorded, "unchanged"
            if state is not None and state.version and self._is_ours(state):
                return state.version, "unchanged"
        version = self.journal.find_done(STEP, self.about, self._newer)
        if version is None:
            before = state.version if state else 0
            version = self.journal.do_once(STEP, self.about, before, lambda: self._save(before), self._newer)
        self.journal.forget(STEP)
        return version, "pushed"

    def _state(self) -> KernelState | None:
        return self.kaggle.kernel(self.target.kernel_ref)

    def _is_ours(self, state: KernelState) -> bool:
        """Whether a version has our code and settings, and lacks none of its sources as far as Kaggle names them."""
        return hash_source(state.source) == self.sha256 and all(
            source.lower() in " ".join(state.sources[kind])
            for kind in SOURCES
            if kind in state.sources
            for source in self.metadata[kind]
        )

    def _newer(self, before: int) -> int | None:
        """Return the version, newer than one that was there, that has our code."""
        state = self._state()
        newer = state is not None and state.version > before and (self._is_ours(state) or not state.source)
        return state.version if state is not None and newer else None

    def _save(self, before: int) -> int:
        """Save a version; return its number."""
        rules = f"{self.target.competition_page}/rules"
        version = self.kaggle.save_kernel(self.target.kernel_ref, self.folder, rules)
        if not version:
            state = self._state()
            version = state.version if state is not None and state.version > before else before + 1
            self.kaggle.say(f"note: Kaggle named no version for the push; it should be {version}")
        return version
