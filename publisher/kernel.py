"""Pushes the inference kernel: writes `dist/kernel`, saves a version where it is not there yet, checks the answer.

Called by `publisher.push`. The pushed code ends in one comment that names the bundle and a hash of the code: by it a
killed push finds out whether its version was saved, and a kernel that is not ours is known and left alone.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dataset_builder.metadata import ROOT, Target, fill_kernel_metadata, read_kernel_template
from publisher.answers import KernelState
from publisher.client import Kaggle
from publisher.once import do_once, look_first
from publisher.pace import ServiceError
from publisher.record import Journal

STEP = "kernel"
STAMP = re.compile(r"\A(.*\n)# published: (\{[^\n]*\})\s*\Z", re.DOTALL)


@dataclass(frozen=True)
class Pushed:
    """A kernel version at the service: what it is, and what was done to have it there."""

    version: int
    sha256: str
    action: str


def stamp(code: str, **about: Any) -> str:
    """Return the code with the comment that says what it was published with."""
    code = code.replace("\r\n", "\n").rstrip() + "\n"
    about["code_sha256"] = hashlib.sha256(code.encode()).hexdigest()
    return f"{code}# published: {json.dumps(about, sort_keys=True)}\n"


def is_stamped(source: str) -> bool:
    """Whether a kernel's source is, unchanged, what this project once published."""
    match = STAMP.match(source.replace("\r\n", "\n"))
    if match is None:
        return False
    try:
        about = json.loads(match[2])
    except ValueError:
        return False
    return bool(about.get("code_sha256") == hashlib.sha256(match[1].encode()).hexdigest())


def refuse_foreign(kaggle: Kaggle, target: Target, *, force: bool) -> None:
    """Raise if the kernel of this name was written or changed elsewhere, or cannot be asked for."""
    state = kaggle.kernel(target.owner, target.kernel)
    if state is not None and not is_stamped(state.source) and not force:
        raise ServiceError(
            f"pushing the kernel {target.kernel_ref}",
            f"version {state.version} there is not what this project published (written or changed elsewhere)",
            "Nothing was changed. Choose another name with --kernel, or overwrite it with FORCE=1 (--force)",
        )


class KernelPublisher:
    """Brings the kernel to the service, once for each bundle, code and settings."""

    def __init__(self, kaggle: Kaggle, target: Target, manifest: dict[str, Any], journal: Journal) -> None:
        self.kaggle, self.target, self.journal = kaggle, target, journal
        template = read_kernel_template()
        self.metadata = fill_kernel_metadata(target, template)
        code = (ROOT / template["code_file"]).read_text(encoding="utf-8")
        settings = hashlib.sha256(json.dumps(self.metadata, sort_keys=True).encode()).hexdigest()
        self.text = stamp(code, tree_sha256=manifest["tree_sha256"], settings_sha256=settings)
        self.sha256 = hashlib.sha256(self.text.encode()).hexdigest()

    def write(self, folder: Path) -> Path:
        """Write the folder that is pushed: the metadata and the one code file, whose path is returned."""
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        (folder / self.metadata["code_file"]).write_text(self.text, encoding="utf-8", newline="\n")
        (folder / "kernel-metadata.json").write_text(json.dumps(self.metadata, indent=2) + "\n", encoding="utf-8")
        return folder / self.metadata["code_file"]

    def publish(self, dist: Path, *, known: int = 0, force: bool = False) -> Pushed:
        """Push the written folder; return the version that runs our code.

        `known` is the version under which this very code was saved before, if it was.
        """
        folder = dist / "kernel"
        state = self._state()
        sent = self.journal.recall(STEP, ref=self.target.kernel_ref, sha256=self.sha256)
        if sent is None:
            if not force and known and (state is None or state.version < known):
                return Pushed(known, self.sha256, "unchanged")  # the service shows an older state
            if state is not None and self._is_ours(state) and not force:
                return Pushed(state.version, self.sha256, "unchanged")
        else:
            before = sent["before"]
            found = look_first(self.kaggle, lambda: self._newer(before))
            if found is not None:
                return self._done(found)
        before = state.version if state else 0
        self.journal.note(STEP, ref=self.target.kernel_ref, sha256=self.sha256, before=before)
        try:
            version = do_once(self.kaggle, lambda: self._save(folder), lambda: self._newer(before))
        except ServiceError as error:
            if error.refused:
                self.journal.forget(STEP)
            raise
        return self._done(version)

    def _state(self) -> KernelState | None:
        return self.kaggle.kernel(self.target.owner, self.target.kernel)

    def _is_ours(self, state: KernelState) -> bool:
        """Whether a version has our code, bundle and settings, and was given all its sources."""
        given = " ".join((*state.dataset_sources, *state.competition_sources, *state.keywords)).lower()
        wanted = (
            *self.metadata["dataset_sources"],
            *self.metadata["competition_sources"],
            *self.metadata.get("keywords", ()),
        )
        return (
            state.source.replace("\r\n", "\n").strip() == self.text.strip()
            and all(source.lower() in given for source in wanted)
            and state.internet in (None, self.metadata["enable_internet"])
        )

    def _newer(self, before: int) -> int | None:
        state = self._state()
        return state.version if state is not None and state.version > before and self._is_ours(state) else None

    def _save(self, folder: Path) -> int:
        saved = self.kaggle.save_kernel(folder)
        doing = f"pushing the kernel {self.target.kernel_ref}"
        if saved.error:
            todo = "Nothing was submitted; mend it and run the same command again"
            if "session" in saved.error.lower():
                todo = (
                    "Wait until a run ends, or stop one at https://www.kaggle.com/code, then run the same command again"
                )
            raise ServiceError(doing, f"Kaggle saved no running version: {saved.error}", todo, status=400)
        if saved.invalid:
            refused = "; ".join(f"{kind} {', '.join(items)}" for kind, items in saved.invalid.items())
            raise ServiceError(
                doing,
                f"version {saved.version} was saved without what Kaggle calls invalid: {refused}",
                f"Its run is of no use: stop it at {saved.url or 'https://www.kaggle.com/code'}, check the names with "
                "`python build.py doctor`, that the competition's rules are accepted, and run the same command again",
                status=400,
            )
        ref = saved.ref.strip("/").lower()
        if ref and not ref.endswith(self.target.kernel_ref.lower()):
            raise ServiceError(
                doing, f"Kaggle saved it as {ref!r}", "Give the kernel a title that matches its slug", status=400
            )
        if saved.version:
            return saved.version
        state = self._state()
        if state is None or not self._is_ours(state):
            raise ServiceError(doing, "Kaggle named no version", "Run the same command again")
        return state.version

    def _done(self, version: int) -> Pushed:
        self.journal.forget(STEP)
        return Pushed(version, self.sha256, "pushed")
