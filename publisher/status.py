"""One screen about what was published: data set, run, submission; watched until there is a score or a failure.

Looking changes nothing anywhere. What Kaggle says in words that are not known here is watched for the patience
(--patience) and no longer.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from publisher.journal import read_record, recorded_version
from publisher.kernel import PAGE
from publisher.run import Verdict, describe_end, find_submissions, judge_run, list_submissions, tail
from publisher.screen import Screen
from publisher.service.answers import Submission
from publisher.service.client import Kaggle
from publisher.service.faults import ServiceError
from publisher.target import Target

WORKING, COMPLETE, SCORED, FAILED, NOTHING = "working", "complete", "scored", "failed", "nothing"
EXIT = {SCORED: 0, COMPLETE: 0, FAILED: 1, NOTHING: 1, WORKING: 3}
"""The exit status of each state: 0 only where what was asked for has ended well."""
LOST_LOOKS = 5
"""How many looks in a row may fail before watching is given up."""


@dataclass
class Report:
    """What the service says now."""

    state: str = NOTHING
    dataset: dict[str, Any] = field(default_factory=dict)
    kernel: dict[str, Any] = field(default_factory=dict)
    submission: dict[str, Any] = field(default_factory=dict)
    next: str = ""
    log_tail: tuple[str, ...] = ()
    certain: bool = True
    """Whether it is sure that this will change by itself."""

    def lines(self) -> list[str]:
        """Return the report as people read it."""
        lines = []
        if self.dataset:
            lines.append("data set    {ref}  version {version}  {status}".format(**self.dataset))
        if self.kernel:
            lines.append("kernel      {ref}  version {version}  {status}".format(**self.kernel))
            lines += [f"            {self.kernel[key]}" for key in ("fault", "end") if self.kernel.get(key)]
            lines += [f"            note: {note}" for note in self.kernel["notes"]]
        if self.submission:
            lines.append("submission  {ref}  {status}".format(**self.submission))
            for key, name in (
                ("public_score", "public score"),
                ("private_score", "private score"),
                ("error", "reason"),
            ):
                if self.submission.get(key):
                    lines.append(f"            {name} {self.submission[key]}")
        if self.log_tail:
            lines += ["the end of the log:", *(f"  | {line}" for line in self.log_tail)]
        return [*lines, f"{self.state}: {self.next}"]

    def headline(self) -> str:
        """Return the report in one line, for while it is watched."""
        of = self.submission or self.kernel or self.dataset
        name = (
            "submission"
            if self.submission
            else "run of version {version}".format(**self.kernel)
            if self.kernel
            else "data set"
        )
        return f"{name} {of.get('status', '')}"

    def as_dict(self) -> dict[str, Any]:
        """Return the report for scripts."""
        return asdict(self)


class Watcher:
    """Looks at one target; what has ended is not asked for again."""

    def __init__(self, kaggle: Kaggle, target: Target, dist: Path, *, run_only: bool = False) -> None:
        self.kaggle, self.target, self.run_only = kaggle, target, run_only
        self.record, self.job = read_record(target.job.folder(dist)), target.job.make_option
        self.recorded = self.version = recorded_version(self.record, target)
        self._verdict: Verdict | None = None
        self._dataset: dict[str, Any] | None = None

    def look(self) -> Report:
        """Return what the service says now."""
        report = Report(dataset=self._look_at_dataset())
        if not self.version:
            found = self.kaggle.kernel(self.target.owner, self.target.kernel)
            if found is None:
                report.next = f"there is no kernel {self.target.kernel_ref}; `make push{self.job}` publishes it"
                return report
            self.version = found.version or 1
        verdict = self._look_at_run()
        report.kernel = {
            "ref": self.target.kernel_ref,
            "version": self.version,
            "status": verdict.status,
            "fault": verdict.fault,
            "notes": verdict.notes,
            "end": describe_end(verdict.end) if verdict.end else "",
            "url": f"{PAGE}/{self.target.kernel_ref}",
        }
        report.certain = verdict.known
        submission = None if self.run_only or not self.target.job.submitted else self._look_at_submission(verdict)
        if submission is not None:
            self._judge_submission(report, submission)
        elif not verdict.ended:
            report.state, report.next = WORKING, "Kaggle is at work on the run"
        elif verdict.fault:
            report.state, report.log_tail = FAILED, tail(verdict.log)
            report.next = f"see {report.kernel['url']}; fix it, then `make push{self.job}`"
            if self.target.job.goes_on:
                report.next += " goes on from the last run that left something"
        elif self.target.job.goes_on:
            report.state, report.next = COMPLETE, "`make pull-weights` brings the weights"
            if verdict.end and not verdict.end.get("complete", True):
                report.next = f"not all is done yet: `make push{self.job}` goes on"
        else:
            report.state, report.next = COMPLETE, f"`make output{self.job}` brings its files"
            if self.target.job.submitted:
                report.next += ", `make submit` submits it"
        return report

    def _look_at_dataset(self) -> dict[str, Any]:
        if self._dataset is None or self._dataset["status"] != "READY":
            found = self.kaggle.dataset(self.target.owner, self.target.dataset)
            if found is None:
                return {}
            self._dataset = {"ref": found.ref, "version": found.version, "status": found.status or "status not told"}
        return self._dataset

    def _look_at_run(self) -> Verdict:
        if self._verdict is None or not self._verdict.ended:
            tree = self.record["dataset"]["tree_sha256"] if self.recorded else None
            self._verdict = judge_run(self.kaggle, self.target, self.version, tree)
        return self._verdict

    def _look_at_submission(self, verdict: Verdict) -> Submission | None:
        known = self.record.get("submission")
        if known and known.get("kernel_version") == self.version == self.recorded:
            try:
                return self.kaggle.submission(int(known["ref"]))
            except ServiceError as error:
                if error.status not in (400, 403, 404):
                    raise
                made = [item for item in list_submissions(self.kaggle, self.target) if item.ref == known["ref"]]
        elif not verdict.ended or verdict.fault:
            return None
        else:
            made = find_submissions(self.kaggle, self.target, self.version)
        return made[0] if made else None

    def _judge_submission(self, report: Report, submission: Submission) -> None:
        url = submission.url if submission.url.startswith("http") else "https://www.kaggle.com" + submission.url
        page = url if submission.url else f"https://www.kaggle.com/competitions/{self.target.competition}/submissions"
        report.submission = {
            "ref": submission.ref,
            "status": submission.status,
            "public_score": submission.public_score,
            "private_score": submission.private_score,
            "error": submission.error,
            "url": page,
        }
        if submission.public_score or submission.private_score:
            report.state, report.next = SCORED, f"see {page}"
        elif submission.status == "PENDING":
            report.state, report.next = WORKING, "Kaggle is scoring the submission"
        elif submission.status == "ERROR":
            report.submission["error"] = submission.error or "Kaggle gives no reason"
            report.state, report.next = FAILED, f"the page may say more: {page}"
        else:
            report.state, report.certain = WORKING, False
            report.next = (
                f"Kaggle calls the submission {submission.status!r}, and its score does not show yet: see {page}"
            )


def watch(watcher: Watcher, screen: Screen) -> Report:
    """Look again and again, at growing and bounded intervals, until nothing more will change."""
    told, lost = "", 0
    uncertain_since: float | None = None
    for pause in watcher.kaggle.pace.pauses():
        try:
            report = watcher.look()
            lost = 0
        except ServiceError as error:
            lost += 1
            if not error.transient or lost >= LOST_LOOKS:
                raise
            screen.say(f"{error.said}; still watching")
            screen.wait(pause, "Kaggle does not answer")
            continue
        uncertain_since = None if report.certain else uncertain_since or time.monotonic()
        lasts = uncertain_since is not None and time.monotonic() - uncertain_since > watcher.kaggle.pace.patience
        if report.state != WORKING or lasts:
            return report
        headline = report.headline()
        if headline != told:
            screen.say(headline)
            told = headline
        screen.wait(pause, headline)
    raise AssertionError("unreachable")
