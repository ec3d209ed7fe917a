"""Judges a run: whether it ended, ended well, and left what it should; a status alone is not believed.

Scripts that crashed can show COMPLETE: the end marker of the pushed file is looked for in the log. Where Kaggle gives
no log at all, what the run left is looked at alone.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from kernel.main import END
from publisher.kernel import Push, find_last
from publisher.service.answers import Run
from publisher.service.client import Kaggle
from publisher.service.faults import strip_controls
from publisher.target import Target


@dataclass(frozen=True)
class Verdict:
    """What is known of a run: what the service says, the kernel's end marker, and why it is not good if it is not."""

    run: Run
    fault: str = ""
    notes: tuple[str, ...] = ()
    end: dict[str, Any] | None = None
    log: str = ""
    """The whole log as text."""
    left: str = ""
    """The name under which Kaggle lists the output that the run should leave; empty where it does not."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen; the end marker says it where Kaggle's word for it is not known here."""
        return self.run.ended or self.end is not None


def judge_run(kaggle: Kaggle, push: Push) -> Verdict:
    """Ask for a run and, once it ended, for its log and outputs; an empty `fault` means that it ended well."""
    ref, version, leaves = push.target.kernel_ref, push.version, push.target.job.leaves
    run = kaggle.run(ref, version)
    if run.known and not run.ended:
        return Verdict(run)
    pieces, names = "", []
    for files, log in kaggle.outputs(ref, version):
        pieces = pieces or log
        names += [name for name, _ in files]
    log, end = decode_log(pieces), find_marker(pieces, END)
    if not run.known and end is None:
        return Verdict(run, notes=(f"Kaggle calls the run {run.status!r}, which is not known here",))
    notes, fault = [], ""
    # Kaggle may name a file by its folder in the session.
    nested = [name for name in names if name.rpartition("/")[2] == leaves]
    left = leaves if leaves in names else nested[0] if len(nested) == 1 else ""
    if not run.pinned:
        notes.append(f"Kaggle does not tell the runs of versions apart: this is the latest, which may not be {version}")
    if run.known and run.status != "COMPLETE":
        said = re.findall(r"^error: (.+)$", log, re.MULTILINE)[-1:]
        fault = ": ".join([f"the run ended as {run.status}", *filter(None, (run.message, *said))])
    elif end is None and log.strip():
        fault = (
            "Kaggle calls the run COMPLETE, and its log lacks the kernel's end marker: the script crashed on the way"
        )
    elif end is None and not left:
        fault = f"Kaggle calls the run COMPLETE, and it left neither a log nor {leaves}"
    elif push.tree and end and end.get("tree_sha256") not in (None, push.tree):
        fault = f"the run used the bundle {str(end['tree_sha256'])[:16]}, not the published {push.tree[:16]}"
    elif end is None:
        notes.append(f"Kaggle shows no log of the run: that it left {leaves} is all that is known")
    elif not left:
        notes.append(f"Kaggle's list of what the run left lacks {leaves}, which the log says was written")
    return Verdict(run, fault, tuple(notes), end, log, left)


def find_ended(kaggle: Kaggle, target: Target, record: dict[str, Any]) -> tuple[Push, Verdict]:
    """Return the latest push and what is known of its run, which must have ended."""
    last, option = find_last(kaggle, target, record), target.job.make_option
    if last is None:
        found = f"nothing that was pushed as {target.kernel_ref} is recorded in {target.folder}"
        raise ValueError(f"{found}: run `make push{option}` first")
    verdict = judge_run(kaggle, last)
    if not verdict.ended:
        todo = f"`make status{option}` follows it; run this again when it is complete"
        raise ValueError(f"{last} has not ended ({verdict.run.status}): {todo}")
    return last, verdict


def describe_end(end: dict[str, Any] | None) -> str:
    """Return the end marker as one line for people."""
    if not end:
        return "the run left no end marker"
    models = end["models"] if isinstance(end.get("models"), list) else []
    said = {
        **{name: end.get(name) for name in ("rows", "fallbacks", "seconds")},
        "epochs": f"{end['epochs']} of {end.get('of_epochs')}" if "epochs" in end else None,
        "kl": ", ".join(f"fold {fold} {kl:.3f}" for fold, kl in (end.get("kl") or {}).items()) or None,
        "error": end.get("error"),
        "models": ", ".join(str(item.get("name") if isinstance(item, dict) else item) for item in models) or None,
        "bundle": str(end.get("tree_sha256", ""))[:16] or None,
    }
    return "the run's end marker: " + ", ".join(f"{name} {value}" for name, value in said.items() if value is not None)


def decode_log(log: str) -> str:
    """Return a log as text; the service keeps it as a JSON array of pieces, cut off anywhere while the run goes on."""
    return strip_controls("".join(data for _, data in _pieces(log)))


def find_marker(log: str, name: str) -> dict[str, Any] | None:
    """Return what the kernel said in its last marker line of this name, or None where it did not get that far."""
    pieces = _pieces(log)
    for text in ("".join(data for stream, data in pieces if stream == "stdout"), "".join(data for _, data in pieces)):
        for line in reversed(re.findall(rf"^{name} (\{{.*\}})\s*$", text, re.MULTILINE)):
            try:
                said = json.loads(line)
            except ValueError:
                continue
            if isinstance(said, dict):
                return said
    return None


def _pieces(log: str) -> list[tuple[str, str]]:
    """Return (stream, text) of every piece; a text that is no such array is one piece of itself."""
    if not log.lstrip().startswith("["):
        return [("stdout", log)]
    decoder, position, pieces = json.JSONDecoder(), 0, []
    while match := re.compile(r"[\s,\[]*(?=\{)").match(log, position):
        try:
            item, position = decoder.raw_decode(log, match.end())
        except ValueError:  # the point where the array was cut off
            break
        pieces.append((str(item.get("stream_name", "stdout")), str(item.get("data", ""))))
    return pieces or [("stdout", log if log.strip() != "[]" else "")]
