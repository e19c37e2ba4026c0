"""What the service owes: every 202 is an obligation.

Of each item the newest one stays, of the rest what fits a number, so that a soak of hours fits into memory.

An attempt whose answer was lost may have been taken or not, and may be taken later than those after it: it obliges to
nothing and allows what it would have left behind.
"""

from __future__ import annotations

import threading
from array import array
from collections import Counter
from dataclasses import dataclass, field

from tests.system.payloads import ItemKey, Submission
from tests.system.request_ids import entry_of

_SEQUENCE_BITS = 20


def version_of(request_id: str) -> int:
    """The version that an accepted submission writes."""
    return version_of_entry(entry_of(request_id))


def version_of_entry(entry_id: bytes) -> int:
    """The same for an entry of a lane's stream."""
    milliseconds, sequence = map(int, entry_id.split(b"-"))
    return milliseconds << _SEQUENCE_BITS | sequence


@dataclass(slots=True)
class ItemDebt:
    """What is known of one item."""

    #: The newest version that was accepted, and the state that it brought.
    version: int = 0
    counter: int = -1
    #: The lowest version since which that state was sent again and again.
    since: int = 0
    #: States of attempts whose answer was lost.
    unsure: set[int] = field(default_factory=set)

    def accept(self, version: int, counter: int) -> None:
        """A 202 for this state; answers may come in another order than that of acceptance."""
        if version > self.version:
            if counter != self.counter:
                self.counter, self.since = counter, version
            self.version = version
        elif counter == self.counter:
            self.since = min(self.since, version)


@dataclass(slots=True)
class LogDebt:
    """What is known of one producer's submissions of logs, by their number."""

    accepted: Counter[int] = field(default_factory=Counter)
    #: Attempts whose answer was lost.
    unsure: Counter[int] = field(default_factory=Counter)


class Ledger:
    """One connector's account."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: Of each submission that was accepted, once.
        self.versions = array("q")
        #: What their 202s counted.
        self.received = 0
        #: Items that a later one of the same batch replaced: never written.
        self.repeats = 0
        #: Attempts whose answer was lost.
        self.unsure = 0
        self.items: dict[ItemKey, ItemDebt] = {}
        self.logs: dict[str, LogDebt] = {}
        #: Entries that can never be applied, put into the lane by hand; and those of them that were dropped.
        self.poison: set[int] = set()
        self.dropped: set[int] = set()

    def accept(self, submission: Submission, request_id: str) -> None:
        """A 202, the first one of this request id."""
        version = version_of(request_id)
        with self._lock:
            self.versions.append(version)
            self.received += submission.received
            self.repeats += submission.repeats
            for key, counter in submission.items.items():
                self._item(key).accept(version, counter)
            if submission.log:
                producer, number = submission.log
                self.logs.setdefault(producer, LogDebt()).accepted[number] += 1

    def doubt(self, submission: Submission) -> None:
        """An attempt whose answer was lost, for good."""
        with self._lock:
            self.unsure += 1
            for key, counter in submission.items.items():
                self._item(key).unsure.add(counter)
            if submission.log:
                producer, number = submission.log
                self.logs.setdefault(producer, LogDebt()).unsure[number] += 1

    def may_be(self, key: ItemKey, counter: int) -> bool:
        """Whether an attempt with this state got no answer."""
        with self._lock:
            return key in self.items and counter in self.items[key].unsure

    def _item(self, key: ItemKey) -> ItemDebt:
        return self.items.setdefault(key, ItemDebt())
