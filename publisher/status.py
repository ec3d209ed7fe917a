"""One screen about what was published: data set, run, submission; watched until there is a score or a failure.

Looking changes nothing anywhere. What Kaggle says in words that are not known here is watched for the patience
(--patience) and no longer.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from publisher.journal import read_record
from publisher.kernel import Push, find_last
from publisher.run import Verdict, describe_end, judge_run
from publisher.screen import Shown
from publisher.service.answers import Submission
from publisher.service.client import Kaggle
from publisher.service.faults import ServiceError, none_if_refused
from publisher.target import Target

WORKING, COMPLETE, SCORED, FAILED, NOTHING = "working", "complete", "scored", "failed", "nothing"
EXIT = {SCORED: 0, COMPLETE: 0, FAILED: 1, NOTHING: 1, WORKING: 3}
"""The exit status of each state: 0 only where what was asked for has ended well."""
LOST_LOOKS = 5
"""How many looks in a row may fail before watching is given up."""
DETAILS = {
    "fault": "",
    "end": "",
    "public_score": "public score ",
    "private_score": "private score ",
    "error": "reason ",
}
"""What is shown below a line, where there is any -> what is written before it."""


@dataclass
class Report:
    """What the service says now."""

    state: str = NOTHING
    dataset: dict[str, Any] = field(default_factory=dict)
    kernel: dict[str, Any] = field(default_factory=dict)
    submission: dict[str, Any] = field(default_factory=dict)
    next: str = ""
    log_tail: list[str] = field(default_factory=list)
    certain: bool = True
    """Whether it is sure that this will change by itself."""

    def lines(self) -> list[str]:
        """Return the report as people read it."""
        lines = []
        for name, of in (("data set", self.dataset), ("kernel", self.kernel), ("submission", self.submission)):
            if of:
                version = f"  version {of['version']}" if "version" in of else ""
                lines.append(f"{name:12}{of['ref']}{version}  {of['status']}")
                lines += [f"{'':12}{label}{of[key]}" for key, label in DETAILS.items() if of.get(key)]
                lines += [f"{'':12}note: {note}" for note in of.get("notes", [])]
        if self.log_tail:
            lines += ["the end of the log:", *(f"  | {line}" for line in self.log_tail)]
        return [*lines, f"{self.state}: {self.next}"]


class Watcher:
    """Looks at one target; what has ended is not asked for again."""

    def __init__(self, kaggle: Kaggle, target: Target, *, run_only: bool = False) -> None:
        self.kaggle, self.run_only, self.record = kaggle, run_only, read_record(target.folder)
        last = find_last(kaggle, target, self.record)
        self.recorded, self.push = last is not None, last or Push(target, {})
        self._verdict: Verdict | None = None
        self._dataset: dict[str, Any] = {}

    def look(self) -> Report:
        """Return what the service says now."""
        target, job = self.push.target, self.push.target.job
        report = Report(dataset=self._look_at_dataset())
        if not self.push.version:
            found = self.kaggle.kernel(target.kernel_ref)
            if not found.exists:
                report.next = f"there is no kernel {target.kernel_ref}; `make push{job.make_option}` publishes it"
                return report
            self.push = replace(self.push, version=found.version or 1)
        if self._verdict is None or not self._verdict.ended:
            self._verdict = judge_run(self.kaggle, self.push)
        verdict = self._verdict
        report.kernel = {
            "ref": target.kernel_ref,
            "version": self.push.version,
            "status": verdict.run.status,
            "fault": verdict.fault,
            "notes": verdict.notes,
            "end": describe_end(verdict.end) if verdict.end else "",
            "url": target.kernel_page,
        }
        report.certain = verdict.run.known
        submission = None if self.run_only or not job.submitted else self._find_submission(verdict)
        if submission is not None:
            self._judge_submission(report, submission)
        elif not verdict.ended:
            report.state, report.next = WORKING, "Kaggle is at work on the run"
        elif verdict.fault:
            lines = [line[:300] for line in verdict.log.splitlines() if line.strip()]
            report.state, report.log_tail = FAILED, lines[-15:]
            report.next = f"see {target.kernel_page}; fix it, then `make push{job.make_option}`"
            if job.goes_on:
                report.next += " goes on from the last run that left something"
        elif job.goes_on:
            report.state, report.next = COMPLETE, "`make pull-weights` brings the weights"
            if verdict.end and not verdict.end.get("complete", True):
                report.next = f"not all is done yet: `make push{job.make_option}` goes on"
        else:
            report.state, report.next = COMPLETE, f"`make output{job.make_option}` brings its files"
            if job.submitted:
                report.next += ", `make submit` submits it"
        return report

    def _look_at_dataset(self) -> dict[str, Any]:
        if self._dataset.get("status") != "READY":
            ref = self.push.target.dataset_ref
            found = self.kaggle.dataset(ref)
            about = {"ref": ref, "version": found.version, "status": found.status}
            self._dataset = about if found.exists else {}
        return self._dataset

    def _find_submission(self, verdict: Verdict) -> Submission | None:
        """Return the submission that was recorded, or the latest whose description names the version."""
        known = self.record.get("submission")
        if known and self.recorded and known.get("kernel_version") == self.push.version:
            ref = int(known["ref"])
            found = none_if_refused(lambda: self.kaggle.submission(ref))
            if found is not None:
                return found
            made = [item for item in self.kaggle.submissions(self.push.target.competition) if item.ref == ref]
        elif verdict.ended and not verdict.fault:
            made = find_submissions(self.kaggle, self.push)
        else:
            made = []
        return made[0] if made else None

    def _judge_submission(self, report: Report, submission: Submission) -> None:
        page = submission.url or f"{self.push.target.competition_page}/submissions"
        page = page if page.startswith("http") else f"https://www.kaggle.com{page}"
        report.submission = {**asdict(submission), "url": page}
        if submission.public_score or submission.private_score:
            report.state, report.next = SCORED, f"see {page}"
        elif submission.status == "PENDING":
            report.state, report.next = WORKING, "Kaggle is scoring the submission"
        elif submission.status == "ERROR":
            report.submission["error"] = submission.error or "Kaggle gives no reason"
            report.state, report.next = FAILED, f"the page may say more: {page}"
        else:
            report.state, report.certain = WORKING, False
            said = f"Kaggle calls the submission {submission.status!r}, and its score does not show yet"
            report.next = f"{said}: see {page}"


def find_submissions(kaggle: Kaggle, push: Push) -> list[Submission]:
    """Return the submissions of one kernel version, newest first, as their descriptions tell."""
    made = kaggle.submissions(push.target.competition)
    return [item for item in made if item.description.startswith(push.submission_name)]


def watch(watcher: Watcher) -> Report:
    """Look again and again, at growing and bounded intervals, until nothing more will change."""
    kaggle, told, lost = watcher.kaggle, "", 0
    uncertain_since: float | None = None
    for pause in kaggle.pace.pauses():
        try:
            report, lost = watcher.look(), 0
        except ServiceError as error:
            lost += 1
            if not error.transient or lost >= LOST_LOOKS:
                raise
            kaggle.say(f"{error.said}; still watching")
            kaggle.wait(pause, "Kaggle does not answer")
            continue
        uncertain_since = None if report.certain else uncertain_since or time.monotonic()
        lasts = uncertain_since is not None and time.monotonic() - uncertain_since > kaggle.pace.patience
        if report.state != WORKING or lasts:
            break
        headline = f"run of version {report.kernel['version']} {report.kernel['status']}"
        if report.submission:
            headline = f"submission {report.submission['status']}"
        if headline != told:
            kaggle.say(headline)
            told = headline
        kaggle.wait(pause, headline)
    return report


def show_status(kaggle: Kaggle, target: Target, *, watching: bool) -> Shown:
    """Look once, or until there is a score or a failure."""
    watcher = Watcher(kaggle, target)
    report = watch(watcher) if watching else watcher.look()
    return vars(report), report.lines(), EXIT[report.state]
