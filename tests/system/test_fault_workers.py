"""Workers die or hang in the middle of their work; what was accepted is applied, once, and without a new submission.

A worker that is to die is held where its end is to meet it: in Postgres by a lock, before it by a gate that swallows
what it says, before Redis by a wire that does.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.system.client import Connector
from tests.system.effects import all_is_applied_once, stored, submit
from tests.system.gate import gate
from tests.system.processes import Process, wait_until
from tests.system.redis_wire import Wire, wire
from tests.system.stack import Stack


@pytest.fixture
def redis(workerless: Stack) -> Iterator[Wire]:
    """What stands between the worker that is to die and Redis."""
    with wire(workerless.redis_url) as wire_:
        yield wire_


@pytest.fixture
def victim(workerless: Stack, redis: Wire) -> Iterator[Process]:
    """The worker that is to die."""
    with workerless.worker(REDIS_URL=redis.url) as victim:
        yield victim
        victim.kill()


def _another_applies(stack: Stack, connector: Connector, names: set[str]) -> None:
    with stack.worker():
        all_is_applied_once(stack, connector, names)


def _pending(stack: Stack) -> int:
    return sum(pending for _, pending, _ in stack.lanes())


def test_worker_killed_after_it_read_a_slice_loses_its_lane_to_another(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    with gate(workerless.database_url) as postgres, workerless.worker(DATABASE_URL=postgres.url) as victim:
        postgres.swallows.set()
        names = submit(connector)
        wait_until("it has read a slice", lambda: _pending(workerless))
        assert stored(workerless, connector) == set()
        victim.kill()
        _another_applies(workerless, connector, names)


def test_worker_killed_in_its_transaction_loses_its_lane_to_another(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    with workerless.worker() as victim:
        with _held_in_its_transaction(workerless, connector) as names:
            assert _pending(workerless) > 0
            victim.kill()
        _another_applies(workerless, connector, names)


def test_worker_killed_after_its_commit_and_before_it_settles_leaves_what_is_written_once(
    workerless: Stack, redis: Wire, victim: Process, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    with _held_in_its_transaction(workerless, connector) as names:
        redis.loses = b""
    wait_until("its transaction is over", lambda: stored(workerless, connector))
    assert _pending(workerless) > 0
    victim.kill()
    _another_applies(workerless, connector, names)


def test_worker_killed_after_it_settled_and_before_it_gives_its_lane_back_holds_nobody_up(
    workerless: Stack, redis: Wire, victim: Process, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    with _held_in_its_transaction(workerless, connector) as names:
        _has_renewed_its_lease(workerless)  # it has nothing more to ask until it settles
        read = _pending(workerless)
        redis.swallows.set()
    wait_until("it has settled what it wrote", lambda: _pending(workerless) < read)
    victim.kill()
    # The dead one's lease may stand in the way of these wake-ups.
    _another_applies(workerless, connector, names | submit(connector, "later"))


@contextmanager
def _held_in_its_transaction(stack: Stack, connector: Connector) -> Iterator[set[str]]:
    """A worker stands in the middle of what was submitted, whose items these are, until the block ends."""
    with stack.items_locked():
        names = submit(connector)
        wait_until("the worker is held in its transaction", stack.held_writers)
        yield names


def _has_renewed_its_lease(stack: Stack) -> None:
    (lease,) = stack.redis.scan_iter("{lane-*}:lease")
    left = int(str(stack.redis.pttl(lease)))
    wait_until("some time has passed", lambda: int(str(stack.redis.pttl(lease))) < left - 100)
    wait_until("the lease is renewed", lambda: int(str(stack.redis.pttl(lease))) > left - 100)


def test_lane_whose_worker_hangs_for_ever_is_drained_by_another_and_once_where_it_wakes_after_all(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    with ExitStack() as contexts:
        with workerless.items_locked():
            hung = contexts.enter_context(workerless.worker())
            names = submit(connector)
            wait_until("the worker is held in its transaction", workerless.held_writers)
            hung.send(signal.SIGSTOP)
        # The lease of the one that hangs runs out; the other takes the same entries, writes and settles them.
        contexts.enter_context(workerless.worker())
        all_is_applied_once(workerless, connector, names)

        # Two drains on one lane.
        hung.send(signal.SIGCONT)
        later = submit(connector, "later")
        all_is_applied_once(workerless, connector, names | later)


def test_lane_that_a_worker_gives_back_on_sigterm_is_taken_up_at_once(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    with workerless.worker() as first:
        with _held_in_its_transaction(workerless, connector) as names:
            first.send(signal.SIGTERM)
        assert first.ends() == 0
    with workerless.worker():
        all_is_applied_once(workerless, connector, names)


def test_wake_up_that_was_lost_is_sent_again_by_the_sweeper(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    names = submit(connector)
    wait_until("the wake-up is queued", lambda: workerless.redis.llen("rq:queue:drain") > 0)

    workerless.redis.delete("rq:queue:drain")

    with workerless.worker():
        all_is_applied_once(workerless, connector, names)


def test_four_workers_after_a_while_without_any_work_off_what_has_gathered(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connectors = [new_connector(workerless) for _ in range(4)]
    names = [submit(connector) for connector in connectors]
    # A lane's job stands in the queue once, however often the sweeper finds the lane waiting.
    assert workerless.redis.llen("rq:queue:drain") <= len(connectors)
    with ExitStack() as contexts:
        for _ in range(4):
            contexts.enter_context(workerless.worker())
        for connector, its_names in zip(connectors, names, strict=True):
            all_is_applied_once(workerless, connector, its_names)
    assert workerless.failed_jobs() == 0
