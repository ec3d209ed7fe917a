"""Judges a run: whether it ended, ended well, and left a submission; a status alone is not believed.

Used by status, submit and output. Scripts that crashed can show COMPLETE: the kernel's own end marker is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dataset_builder.metadata import Target
from publisher.answers import Submission
from publisher.client import Kaggle
from publisher.log import END, decode_log, find_marker, tail

SUBMISSION = "submission.csv"


@dataclass(frozen=True)
class Verdict:
    """What is known of a run: the service's status, the kernel's end marker, and why it is not good if it is not."""

    status: str
    ended: bool
    fault: str
    end: dict[str, Any] | None
    log_tail: tuple[str, ...]


def judge_run(kaggle: Kaggle, target: Target, version: int, tree_sha256: str | None = None) -> Verdict:
    """Ask for a run and, once it ended, for its log and outputs; an empty `fault` means that it ended well."""
    run = kaggle.run(target.owner, target.kernel, version)
    if not run.ended:
        return Verdict(run.status, False, "", None, ())
    log, names = "", []
    for page in kaggle.outputs(target.owner, target.kernel, version):
        log = log or page.log
        names += [name for name, _ in page.files]
    end, fault = find_marker(log, END), ""
    if run.status != "COMPLETE":
        fault = f"the run ended as {run.status}" + (f": {run.message}" if run.message else "")
    elif end is None:
        fault = (
            "Kaggle calls the run COMPLETE, and its log lacks the kernel's end marker: the script crashed on the way"
        )
    elif SUBMISSION not in names:
        fault = f"Kaggle calls the run COMPLETE, and it left no {SUBMISSION}"
    elif tree_sha256 and end.get("tree_sha256") not in (None, tree_sha256):
        fault = f"the run used the bundle {str(end['tree_sha256'])[:16]}, not the published {tree_sha256[:16]}"
    return Verdict(run.status, True, fault, end, tuple(tail(decode_log(log))) if fault else ())


def describe_end(end: dict[str, Any] | None) -> str:
    """Return the end marker as one line for people."""
    if not end:
        return "the run left no end marker"
    models = end.get("models")
    names = (
        [item.get("name") if isinstance(item, dict) else item for item in models] if isinstance(models, list) else None
    )
    said = {
        "rows": end.get("rows"),
        "fallbacks": end.get("fallbacks"),
        "seconds": end.get("seconds"),
        "models": ", ".join(map(str, names)) if names else None,
        "bundle": str(end.get("tree_sha256", ""))[:16] or None,
    }
    return "the run's end marker: " + ", ".join(f"{name} {value}" for name, value in said.items() if value is not None)


def find_submissions(kaggle: Kaggle, competition: str, kernel_ref: str, version: int) -> list[Submission]:
    """Return the submissions of one kernel version, newest first, as their descriptions tell."""
    prefix = f"{kernel_ref} v{version} "
    return [item for item in kaggle.submissions(competition) if item.description.startswith(prefix)]
