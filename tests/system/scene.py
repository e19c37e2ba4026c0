"""What faults happen to, and what they have in common: a worker met in its transaction, and what was seen since."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator

from tests.system.fleet import Fleet
from tests.system.ledger import version_of
from tests.system.look import until
from tests.system.payloads import batch_of
from tests.system.processes import PATIENCE
from tests.system.producers import Account, Line, Tally

#: How long what was ended may take to be there again; half of it belongs to a machine that others work on.
BACK_SECONDS = 120.0
#: Within so long something is to be met in the middle of its work.
MEET_SECONDS = 30.0


class Scene:
    """What faults happen to, and where it is read what they did."""

    def __init__(self, fleet: Fleet, accounts: list[Account], quiet: Account, tally: Tally) -> None:
        self.fleet = fleet
        self.accounts = accounts
        #: A connector on a lane of its own, to which nobody else submits.
        self.quiet = quiet
        self.tally = tally
        #: Of each kill in the middle of a slice: seconds until that lane moved again, without another submission.
        self.moved_again: list[tuple[str, float]] = []
        #: Statuses that nobody was to see, and by which fault.
        self.surprises: Counter[str] = Counter()
        #: When that which is broken now was broken.
        self.broken_at = float("inf")
        self._numbers = iter(range(1 << 62))

    def strike(self) -> None:
        """Something is broken from now on."""
        self.broken_at = min(self.broken_at, time.monotonic())

    def counts(self) -> Counter[str]:
        """All that was logged and answered, up to now."""
        return self.fleet.logs.counts() + self.tally.counts()

    def submit_quietly(self) -> int:
        """One submission on the quiet lane, accepted; its version."""
        submission = batch_of("agents", [("quiet", next(self._numbers))], packed=False)
        line = Line(self.quiet, self.tally)
        deadline = time.monotonic() + PATIENCE
        try:
            while not (answer := line.attempt(self.fleet.urls[0], submission)).request_id:
                if answer.unsure:
                    self.quiet.ledger.doubt(submission)
                assert time.monotonic() < deadline, f"The quiet connector was not heard: {answer.what}."
                time.sleep(0.1)
        finally:
            line.close()
        self.quiet.ledger.accept(submission, answer.request_id)
        return version_of(answer.request_id)

    def is_applied(self, account: Account, version: int) -> bool:
        """Whether a submission's receipt can be read."""
        query = "SELECT FROM receipts WHERE connector_id = %s AND version = %s"
        return bool(self.fleet.database.rows(query, account.id, version))


def grew(scene: Scene, before: Counter[str], *names: str) -> Callable[[], str]:
    """What was logged or answered since, of these."""

    def look() -> str:
        now = scene.counts()
        return ", ".join(f"{now[name] - before[name]} {name}" for name in names if now[name] > before[name])

    return look


@contextlib.contextmanager
def in_the_middle(scene: Scene) -> Iterator[tuple[str, int]]:
    """A worker that stands in the middle of its transaction on the quiet lane: its name, and the version."""
    fleet, lane = scene.fleet, scene.quiet.lane
    before = scene.submit_quietly()
    until("the quiet item is there", lambda: scene.is_applied(scene.quiet, before), BACK_SECONDS)
    with fleet.items_locked(scene.quiet.id):
        version = scene.submit_quietly()
        until("it is read", lambda: lane in fleet.lanes.pending(), MEET_SECONDS)
        until("a worker is in the middle of it", lambda: fleet.worker_of(lane) and fleet.is_held(), MEET_SECONDS)
        worker = fleet.worker_of(lane)
        assert worker
        yield worker, version


def moves_again(scene: Scene, what: str, version: int, began: float) -> str:
    """Settled, by another drain: what Postgres had of the first one's transaction, it may have committed by itself."""
    lane = scene.quiet.lane
    until(f"the lane moves after: {what}", lambda: not scene.fleet.lanes.entries(lane), BACK_SECONDS)
    assert scene.is_applied(scene.quiet, version), f"After {what}, an entry is gone that was not applied."
    seconds = time.monotonic() - began
    scene.moved_again.append((what, seconds))
    return f"its lane was taken over after {seconds:.1f} s"
