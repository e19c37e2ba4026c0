"""What every fault works on, and what faults have in common: a worker caught in its transaction, signs, endings."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.soak.engine_inspection import BACK_SECONDS, until
from tests.soak.fleet import Fleet
from tests.soak.ledger import version_of
from tests.soak.payloads import batch_of
from tests.soak.producers import Account, Client, Tally
from tests.support.processes import PATIENCE

#: Deadline in seconds for something to be caught in the middle of its work.
CATCH_SECONDS = 30.0


class FaultContext:
    """The fleet, the connectors, and a record of what faults did to them."""

    def __init__(self, fleet: Fleet, accounts: list[Account], quiet: Account, tally: Tally) -> None:
        self.fleet = fleet
        self.accounts = accounts
        #: A connector on a lane of its own, to which only faults submit.
        self.quiet = quiet
        self.tally = tally
        #: Of each fault within a slice: its name, and seconds until that lane moved again without another submission.
        self.moved_again: list[tuple[str, float]] = []
        #: Answers that no client should get, counted by fault.
        self.unexpected: Counter[str] = Counter()
        #: Lanes that the current fault of a node hits: `None` if there is none.
        self.hit: frozenset[int] | None = None
        #: Whether no fault was injected for a while, and none is.
        self.is_calm = False
        #: When the current fault began: `time.monotonic()`.
        self.broken_at = float("inf")
        self._numbers = iter(range(1 << 62))

    @contextlib.contextmanager
    def in_doubt(self) -> Iterator[set[int]]:
        """Put off what is owed for 202s until the end of a failover; yield the set of versions that may be lost."""
        lost = set[int]()
        ledgers = [account.ledger for account in (*self.accounts, self.quiet)]
        for ledger in ledgers:
            ledger.doubt()
        try:
            yield lost
        finally:
            for ledger in ledgers:
                ledger.settle(lost)

    @contextlib.contextmanager
    def hitting(self, lanes: frozenset[int]) -> Iterator[None]:
        """Tell that a fault hits these lanes, and no others, within the block."""
        self.hit = lanes
        try:
            yield
        finally:
            self.hit = None

    def mark_broken(self) -> None:
        """Record that the current fault begins now, if it did not begin before."""
        self.broken_at = min(self.broken_at, time.monotonic())

    def counts(self) -> Counter[str]:
        """Count everything logged and answered so far, by event and answer."""
        return self.fleet.logs.counts() + self.tally.counts()

    def next_number(self) -> int:
        """Return a number that is higher than those before: a newer state of any item of the faults' own."""
        return next(self._numbers)

    def submit_quietly(self) -> int:
        """Submit an item on the quiet lane until it is accepted; return its version."""
        return self.submit(self.quiet, "quiet")

    def submit(self, account: Account, item_id: str) -> int:
        """Submit a newer state of an item until it is accepted; return its version."""
        submission = batch_of("agents", [(item_id, self.next_number())], packed=False)
        client = Client(account, self.tally)
        deadline = time.monotonic() + PATIENCE
        try:
            while not (answer := client.attempt(self.fleet.urls[0], submission)).request_id:
                if answer.uncertain:
                    account.ledger.accept_maybe(submission)
                assert time.monotonic() < deadline, f"The submission of {account.name} was not accepted: {answer.what}."
                time.sleep(0.1)
        finally:
            client.close()
        account.ledger.accept(submission, answer.request_id)
        return version_of(answer.request_id)

    def is_applied(self, account: Account, version: int) -> bool:
        """Return whether a submission has its receipt."""
        query = "SELECT FROM receipts WHERE connector_id = %s AND version = %s"
        return bool(self.fleet.database.rows(query, account.id, version))


@dataclass
class Injection:
    """One occurrence of a fault: what was counted before it, and what it reports of itself."""

    before: Counter[str]
    #: Version of a submission that the fault met in the middle of its work.
    version: int = 0
    began: float = field(default_factory=time.monotonic)
    #: The process that was killed or stopped.
    victim: int = 0
    #: What the fault itself saw of its effect.
    evidence: list[str] = field(default_factory=list)


#: Returns what was seen of a fault's effect, '' as long as nothing was.
Sign = Callable[[FaultContext, Injection], str]
#: Waits until a fault's effect is over.
Ending = Callable[[FaultContext, Injection], None]


def grown(*names: str) -> Sign:
    """Return a sign: these events or answers were counted since the fault began."""

    def look(context: FaultContext, injection: Injection) -> str:
        now, before = context.counts(), injection.before
        return ", ".join(f"{now[name] - before[name]} {name}" for name in names if now[name] > before[name])

    return look


def reported(_context: FaultContext, injection: Injection) -> str:
    """A sign: what the fault itself saw."""
    return ", ".join(injection.evidence)


def either(first: Sign, second: Sign) -> Sign:
    """Return a sign that is there if one of two is."""

    def look(context: FaultContext, injection: Injection) -> str:
        return ", ".join(filter(None, (first(context, injection), second(context, injection))))

    return look


def when_mended(_context: FaultContext, _injection: Injection) -> None:
    """An ending: the effect is over as soon as the fault is mended."""


@contextlib.contextmanager
def caught_in_transaction(context: FaultContext) -> Iterator[tuple[str, int]]:
    """Hold a worker in its transaction on the quiet lane; yield the worker's name and the submission's version."""
    fleet, lane = context.fleet, context.quiet.lane
    before = context.submit_quietly()
    until("the quiet item is there", lambda: context.is_applied(context.quiet, before), BACK_SECONDS)
    with fleet.items_locked(context.quiet.id):
        version = context.submit_quietly()
        until("it is read", lambda: lane in fleet.lanes.pending(), CATCH_SECONDS)
        until("a worker is held in its transaction", lambda: fleet.worker_of(lane) and fleet.is_held(), CATCH_SECONDS)
        worker = fleet.worker_of(lane)
        assert worker
        yield worker, version


def wait_for_lane(context: FaultContext, injection: Injection, fault: str) -> None:
    """Wait until the quiet lane is drained and its submission applied; record how long that took since the fault."""
    lane = context.quiet.lane
    until(f"the lane moves after: {fault}", lambda: not context.fleet.lanes.entries(lane), BACK_SECONDS)
    # Postgres may have committed what it had of the first worker's transaction, so this is not another drain's work
    # for certain; but it has to be there.
    applied = context.is_applied(context.quiet, injection.version)
    assert applied, f"After {fault}, an entry is gone that was not applied."
    seconds = time.monotonic() - injection.began
    context.moved_again.append((fault, seconds))
    injection.evidence.append(f"its lane was taken over after {seconds:.1f} s")
