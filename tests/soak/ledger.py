"""What the service owes: every 202 is an obligation.

A ledger keeps the newest state of each item and otherwise only numbers, so that a soak of hours fits into memory.

An attempt whose answer was lost may have been accepted or not, and even later than those after it: it obliges to
nothing, and allows the state that it would have left.
"""

from __future__ import annotations

import threading
from array import array
from collections import Counter
from dataclasses import dataclass, field

from tests.soak.payloads import ItemKey, Submission, is_deletion
from tests.support.request_ids import entry_of

_SEQUENCE_BITS = 20


def version_of(request_id: str) -> int:
    """Return the version that an accepted submission writes."""
    return version_of_entry(entry_of(request_id))


def version_of_entry(entry_id: bytes) -> int:
    """Return the version of an entry of a lane's stream."""
    milliseconds, sequence = map(int, entry_id.split(b"-"))
    return milliseconds << _SEQUENCE_BITS | sequence


@dataclass(slots=True)
class ExpectedItem:
    """The states in which an item may be."""

    #: Newest version that was accepted, and the state that it wrote.
    version: int = 0
    counter: int = -1
    #: Lowest version since which every accepted submission had that state.
    since: int = 0
    #: States of attempts whose answer was lost.
    uncertain: set[int] = field(default_factory=set)

    @property
    def is_gone(self) -> bool:
        """Whether it was deleted, and no attempt whose answer was lost may have brought it back."""
        return is_deletion(self.counter) and all(map(is_deletion, self.uncertain))

    @property
    def may_be_gone(self) -> bool:
        """Whether it was deleted, or may have been by an attempt whose answer was lost."""
        return is_deletion(self.counter) or any(map(is_deletion, self.uncertain))

    def accept(self, version: int, counter: int) -> None:
        """Record a 202 for this state. Answers may come in another order than that of acceptance."""
        if version > self.version:
            if counter != self.counter:
                self.counter, self.since = counter, version
            self.version = version
        elif counter == self.counter:
            self.since = min(self.since, version)


@dataclass(slots=True)
class ExpectedLogs:
    """How often each of a producer's submissions of logs may be stored, by its number."""

    accepted: Counter[int] = field(default_factory=Counter)
    #: Attempts whose answer was lost.
    uncertain: Counter[int] = field(default_factory=Counter)


class Ledger:
    """The obligations to one connector."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        #: Version of each accepted submission.
        self.versions = array("q")
        #: Sum of the counts in their 202s.
        self.received = 0
        #: Items that were never written, since a later one of the same batch replaced them.
        self.repeats = 0
        #: Accepted submissions that were signed.
        self.signed = 0
        #: Attempts whose answer was lost.
        self.uncertain = 0
        #: Accepted submissions that a failover was allowed to lose; they count as attempts whose answer was lost.
        self.excused = 0
        #: Repeats under a key that were accepted anew.
        self.accepted_again = 0
        self.items: dict[ItemKey, ExpectedItem] = {}
        #: Items that are never sent again once they are deleted.
        self.retired: set[ItemKey] = set()
        self.logs: dict[str, ExpectedLogs] = {}
        #: Entries that can never be applied, appended by the soak itself; and those of them that were dropped.
        self.unreadable: set[int] = set()
        self.dropped: set[int] = set()
        #: Submissions that were accepted while it is in doubt what the service may lose, with their request ids.
        self._doubted: list[tuple[Submission, str]] | None = None

    @property
    def is_in_doubt(self) -> bool:
        """Whether a failover is under way: keys of what is not on the replica are forgotten."""
        return self._doubted is not None

    def doubt(self) -> None:
        """Put off recording 202s until `settle` tells which of them may be lost."""
        with self._lock:
            self._doubted = []

    def settle(self, lost: set[int]) -> None:
        """Record the 202s that were put off; those of versions in `lost` oblige to nothing."""
        with self._lock:
            doubted, self._doubted = self._doubted or [], None
            for submission, request_id in doubted:
                if version_of(request_id) in lost:
                    self.excused += 1
                    self.accept_maybe(submission)
                else:
                    self.accept(submission, request_id)

    def accept(self, submission: Submission, request_id: str) -> None:
        """Record the first 202 with this request id."""
        version = version_of(request_id)
        with self._lock:
            if self._doubted is not None:
                self._doubted.append((submission, request_id))
                return
            self.versions.append(version)
            self.received += submission.received
            self.repeats += submission.repeats
            self.signed += submission.signed
            for key, counter in submission.items.items():
                self._item(key).accept(version, counter)
            if submission.log:
                producer, number = submission.log
                self.logs.setdefault(producer, ExpectedLogs()).accepted[number] += 1

    def accept_maybe(self, submission: Submission) -> None:
        """Record an attempt whose answer is lost for good."""
        with self._lock:
            self.uncertain += 1
            for key, counter in submission.items.items():
                self._item(key).uncertain.add(counter)
            if submission.log:
                producer, number = submission.log
                self.logs.setdefault(producer, ExpectedLogs()).uncertain[number] += 1

    def may_be(self, key: ItemKey, counter: int) -> bool:
        """Return whether an attempt with this state got no answer."""
        with self._lock:
            return key in self.items and counter in self.items[key].uncertain

    def gone(self, applied: int) -> set[ItemKey]:
        """Return the items that must be gone forever, since every version up to `applied` is applied."""
        with self._lock:
            if self.is_in_doubt:
                return set()
            found = {key: self.items[key] for key in self.retired if key in self.items}
            return {key for key, item in found.items() if item.is_gone and item.version <= applied}

    def retire(self, key: ItemKey) -> None:
        """Record that an item is not sent again once it is deleted."""
        with self._lock:
            self.retired.add(key)

    def _item(self, key: ItemKey) -> ExpectedItem:
        return self.items.setdefault(key, ExpectedItem())
