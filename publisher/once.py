"""Things that must not happen twice: after any doubt the service is asked whether they happened, before they are sent.

Used by the data set's, the kernel's and the submission's steps. `find` looks for the thing done and returns it, or
None; as the service may show the state before a change for a while, looking goes on for the settling time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from publisher.client import Kaggle
from publisher.pace import ServiceError

T = TypeVar("T")


def look_first(kaggle: Kaggle, find: Callable[[], T | None]) -> T | None:
    """Look for what an earlier, killed command may have done."""
    kaggle.say("an earlier run may have got this far: looking whether it did")
    return kaggle.watch(find, kaggle.pace.settle)


def do_once(kaggle: Kaggle, send: Callable[[], T], find: Callable[[], T | None]) -> T:
    """Send; where the answer was lost look whether it happened all the same, and send again only if it did not."""
    for attempt in range(kaggle.pace.attempts):
        try:
            return send()
        except ServiceError as error:
            if error.refused or not error.transient or error.must_come_back_later:
                # What is refused as done already may be the doing of the attempt before, seen late.
                found = find() if attempt else None
                if found is not None:
                    return found
                raise
            kaggle.say(f"{error.doing}: {error.said}; looking whether it happened all the same")
            found = kaggle.watch(find, kaggle.pace.settle)
            if found is not None:
                return found
            if attempt + 1 == kaggle.pace.attempts:
                raise
    raise AssertionError("unreachable")
