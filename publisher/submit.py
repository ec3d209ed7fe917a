"""Submits the exact kernel version that was pushed: once, and only a run that ended well.

The submission's description names the version, so that the service itself can be asked whether it was submitted before.
"""

from __future__ import annotations

from publisher.journal import Journal, read_record
from publisher.kernel import Push
from publisher.run import describe_end, find_ended
from publisher.screen import Shown
from publisher.service.answers import Limits
from publisher.service.client import Kaggle
from publisher.service.faults import ServiceError
from publisher.status import COMPLETE, Watcher, find_submissions, watch
from publisher.target import Target

STEP = "submission"


def submit(kaggle: Kaggle, target: Target, *, force: bool = False) -> Shown:
    """Submit what was pushed."""
    if not target.job.submitted:
        raise ValueError(f"the job {target.job.name} makes no submission: `make output` brings what its run left")
    journal = Journal(kaggle, target.folder)
    known = journal.record.get("submission")
    if known and not force:
        raise ValueError(
            f"version {known['kernel_version']} of {target.kernel_ref} was submitted as {known['ref']} already: `make "
            "status` shows its score; FORCE=1 (--force) submits it once more"
        )
    last, verdict = find_ended(kaggle, target, journal.record)
    if verdict.fault:
        raise ValueError(f"{verdict.fault}: nothing was submitted; `make status` shows the end of its log")
    for line in (describe_end(verdict.end), *(f"note: {note}" for note in verdict.notes)):
        kaggle.say(line)

    made = find_submissions(kaggle, last)
    if made and not known and not force:
        ref = made[0].ref
        kaggle.say(f"Kaggle has it already, as submission {ref}")
    else:
        bundle, commit = f"bundle {last.tree[:16]}", f"commit {str(journal.record.get('commit') or 'unknown')[:12]}"
        ref = _submit_once(kaggle, last, journal, f"{bundle} {commit}" + (f" ({len(made) + 1})" if made else ""))
    journal.write_record(**{**journal.record, "submission": {"ref": ref, "kernel_version": last.version}})
    journal.forget(STEP)
    about = {"kernel": target.kernel_ref, "version": last.version, "competition": target.competition}
    return {"submission": ref, **about}, [f"submitted as {ref}; `make status` shows its score"], 0


def _submit_once(kaggle: Kaggle, last: Push, journal: Journal, description: str) -> int:
    """Submit, unless an earlier command did; return the submission's number."""
    target, name = last.target, last.submission_name
    about = {"kernel": target.kernel_ref, "version": last.version}

    def find(before: list[int]) -> int | None:
        # A description that Kaggle does not show may be ours.
        found = [item for item in kaggle.submissions(target.competition) if item.ref not in before]
        return next((item.ref for item in found if item.description.startswith(name) or not item.description), None)

    def send(before: list[int]) -> int:
        asked = (target.competition, target.kernel_ref, last.version, target.job.leaves, f"{name}{description}")
        ref = kaggle.submit(*asked) or kaggle.watch(lambda: find(before), kaggle.pace.settle) or 0
        if not ref:
            said = "Kaggle gave no number for the submission"
            raise ServiceError("submitting", said, "Look at `make status`", status=400)
        return ref

    def prepare() -> dict[str, list[int]]:
        return {"before": [item.ref for item in kaggle.submissions(target.competition)]}

    limits = ask_limits(kaggle, target)
    if limits is not None:
        kaggle.say(str(limits))
    try:
        return journal.do_once(STEP, about, prepare, send, find)
    except ServiceError as error:
        if not error.refused:
            raise
        if error.status == 403:
            page = target.competition_page
            error.todo = f"Join the competition and accept its rules at {page}; some kinds of token may not submit"
        elif error.status == 400:
            error.todo = f"See {target.competition_page}/submissions for the limits"
        by_hand = f"By hand: open {target.kernel_page}, choose version {last.version}, `Submit to competition`"
        error.todo = f"{_explain(limits)}{error.todo}. {by_hand}"
        raise


def ask_limits(kaggle: Kaggle, target: Target) -> Limits | None:
    """Ask how many submissions are left; where Kaggle does not tell, say why, and where the rules are accepted."""
    try:
        return kaggle.limits(target.competition)
    except ServiceError as error:
        page = f"{target.competition_page}/rules"
        kaggle.say(f"note: {error.doing}: {error.said}. The data are mounted for who has accepted the rules: {page}")
        return None


def _explain(limits: Limits | None) -> str:
    """Return what it means where no submissions seem to be left."""
    if limits is None or limits.allowed_now > 0:
        return ""
    if not limits.today and not limits.total:
        return "Kaggle knows of no submission and allows none: join the competition and accept its rules. "
    when = "in all: no more can be made" if limits.limited_by_total else "for today: submit again after midnight UTC"
    return f"The submissions seem used up {when} ({limits.today} made today, {limits.total} in all). "


def submit_when_complete(kaggle: Kaggle, target: Target) -> tuple[list[str], int]:
    """Follow the run to its end and submit it if it ended well; return (lines for people, exit status)."""
    report = watch(Watcher(kaggle, target, run_only=True))
    if report.state != COMPLETE:
        return report.lines(), 1
    known = read_record(target.folder).get("submission")
    if known:
        return [f"submitted as {known['ref']} before; `make status` shows its score"], 0
    return submit(kaggle, target)[1:]
