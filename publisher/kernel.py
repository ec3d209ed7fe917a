"""A job's kernel: which version was pushed last, whether the one at Kaggle is ours, and the push of a new one.

The pushed code ends in one comment with a hash of the code and of its data set: by it a killed push finds out whether
its version was saved, and a kernel that is not ours is known and left alone. It carries the run's number and what the
run was asked for, so that a lost record is no loss to a job that needs several runs.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from publisher.journal import Journal
from publisher.service.answers import KernelState
from publisher.service.client import Kaggle
from publisher.service.faults import ServiceError
from publisher.target import SOURCES, Target, fill_kernel_metadata

STEP = "kernel"
STAMP = re.compile(r"\A(.*\n)# published: (\{[^\n]*\})\s*\Z", re.DOTALL)
SECOND = "-2"
"""What the slug of the second kernel of a job that goes on has after the first one's."""


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


@dataclass(frozen=True)
class Push:
    """One push of a job: a version of its kernel, with its run."""

    target: Target
    """With the kernel that runs and the one that it goes on from."""
    arguments: dict[str, str]
    """What the pushed file is called with."""
    tree: str = ""
    """The hash of the data set with the job's code; empty where it is not known."""
    sha256: str = ""
    """The hash of the pushed text."""
    version: int = 0
    """Of the kernel; 0 while it is not pushed."""
    number: int = 1
    """Of the run, where a job needs several."""

    @classmethod
    def read(cls, target: Target, run: dict[str, Any], tree: str, sha256: str, version: int) -> Push:
        """Read a push whose `run` is as `about` describes it."""
        arguments = {str(name): str(value) for name, value in dict(run.get("arguments") or {}).items()}
        target = replace(target, after=str(run.get("after") or ""))
        return cls(target, arguments, tree, sha256, version, int(run.get("number") or 1))

    def about(self) -> dict[str, Any]:
        """Return what the pushed text and the record say of one of several runs; nothing where one is all."""
        run = {"number": self.number, "after": self.target.after, "arguments": self.arguments}
        return {"run": run} if self.target.job.goes_on else {}

    @property
    def submission_name(self) -> str:
        """How the description of its submissions begins."""
        return f"{self.target.kernel_ref} v{self.version} "

    def __str__(self) -> str:
        name = f"{self.target.kernel_ref} version {self.version}"
        return f"run {self.number} ({name})" if self.target.job.goes_on else f"the run of {name}"


def find_kernels(target: Target) -> list[Target]:
    """Return a job's kernel, or the two that take turns."""
    first, second = replace(target, after=""), replace(target, kernel=target.kernel + SECOND, after="")
    return [first, second] if target.job.goes_on else [first]


def find_last(kaggle: Kaggle, target: Target, record: dict[str, Any]) -> Push | None:
    """Return the latest push, as the record and, of a job that goes on, the kernels' sources tell; None without one."""
    found = []
    for place in find_kernels(target):
        known = record.get("kernel", {})
        if known.get("ref") == place.kernel_ref and record.get("competition") == place.competition:
            tree, sha256, version = record["dataset"]["tree_sha256"], known.get("sha256", ""), int(known["version"])
            found.append(Push.read(place, record.get("run") or {}, tree, sha256, version))
        if not target.job.goes_on:
            continue
        state = kaggle.kernel(place.kernel_ref)
        about = read_stamp(state.source)
        if about and "run" in about:
            sha256 = hash_source(state.source)
            found.append(Push.read(place, about["run"], about["tree_sha256"], sha256, state.version))
    return max(found, key=lambda push: (push.number, push.version), default=None)


class KernelPublisher:
    """Brings a job's kernel to the service, once for each data set, code and settings."""

    def __init__(self, kaggle: Kaggle, push: Push, journal: Journal) -> None:
        self.kaggle, self.target, self.journal = kaggle, push.target, journal
        self.folder, self.metadata = push.target.folder / "kernel", fill_kernel_metadata(push.target)
        if push.arguments.get("device") == "cpu":  # a session with a GPU would cost quota all the same
            self.metadata |= {"enable_gpu": False, "machine_shape": ""}
        settings = hashlib.sha256(json.dumps(self.metadata, sort_keys=True).encode()).hexdigest()
        code = push.target.job.read_code(push.arguments)
        self.text = stamp(code, tree_sha256=push.tree, settings_sha256=settings, **push.about())
        self.sha256 = hash_source(self.text)
        self.about = {"ref": push.target.kernel_ref, "sha256": self.sha256}
        recorded = journal.record.get("kernel", {})
        known = recorded if recorded.get("ref") == push.target.kernel_ref else {}
        self.recorded = int(known.get("version", 0))
        """The version that we last pushed."""
        self.same = known.get("sha256") == self.sha256
        """Whether it was this very code with these settings."""

    @property
    def begun(self) -> bool:
        """Whether an earlier command was about to push exactly this."""
        return self.journal.recall(STEP, **self.about) is not None

    def find_there(self) -> int:
        """Return the version that is what would be pushed, if it is the latest one; else 0."""
        state = self._state()
        # Without a version from the service, or with an older one shown, the record knows.
        if self.same and state.version <= self.recorded:
            return self.recorded
        return state.version if self._is_ours(state) else 0

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
        ours = read_stamp(state.source) or (state.version and state.version == self.recorded)
        if force or ours or not state.exists:
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
        there = 0 if self.begun or force else self.find_there()
        if there:
            return there, "unchanged"
        version = self.journal.do_once(
            STEP, self.about, lambda: {"before": self._state().version}, self._save, self._find_newer
        )
        self.journal.forget(STEP)
        return version, "pushed"

    def _state(self) -> KernelState:
        return self.kaggle.kernel(self.target.kernel_ref)

    def _is_ours(self, state: KernelState) -> bool:
        """Whether a version has our code and settings, and lacks none of its sources as far as Kaggle names them."""
        return hash_source(state.source) == self.sha256 and all(
            source.lower() in " ".join(state.sources[kind])
            for kind in SOURCES
            if kind in state.sources
            for source in self.metadata[kind]
        )

    def _find_newer(self, before: int) -> int | None:
        """Return the version, newer than one that was there, that has our code."""
        state = self._state()
        ours = self._is_ours(state) or not state.source
        return state.version if ours and state.version > before else None

    def _save(self, before: int) -> int:
        """Save a version; return its number."""
        rules = f"{self.target.competition_page}/rules"
        version = self.kaggle.save_kernel(self.target.kernel_ref, self.folder, rules)
        if not version:
            version = max(self._state().version, before + 1)
            self.kaggle.say(f"note: Kaggle named no version for the push; it should be {version}")
        return version
