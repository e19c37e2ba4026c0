"""Workers are killed or hang within a slice; what was accepted is applied once, without a further submission.

A worker is held at the point where it is killed: in Postgres by a lock, before Postgres or Redis by a proxy that drops
what it sends.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.support.client import Connector
from tests.support.processes import Process, is_asleep, wait_until
from tests.support.stack import Stack
from tests.support.submissions import all_is_applied_once, stored, submit
from tests.support.tcp_proxy import PostgresProxy, RedisProxy


@pytest.fixture
def redis(workerless: Stack) -> Iterator[RedisProxy]:
    """A proxy between the worker that is killed and Redis."""
    with RedisProxy(workerless.redis_url) as proxy:
        yield proxy


@pytest.fixture
def victim(workerless: Stack, redis: RedisProxy) -> Iterator[Process]:
    """The worker that is killed."""
    with workerless.worker(REDIS_URL=redis.url) as victim:
        yield victim
        victim.kill()


def _assert_another_applies(stack: Stack, connector: Connector, names: set[str]) -> None:
    with stack.worker():
        all_is_applied_once(stack, connector, names)


def _pending(stack: Stack) -> int:
    return sum(pending for _, pending, _ in stack.lanes())


def test_worker_killed_after_reading_a_slice_is_replaced(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    with PostgresProxy(workerless.database_url) as postgres, workerless.worker(DATABASE_URL=postgres.url) as victim:
        postgres.hang()
        names = submit(connector)
        wait_until("it has read a slice", lambda: _pending(workerless))
        assert stored(workerless, connector) == set()
        victim.kill()
        _assert_another_applies(workerless, connector, names)


def test_worker_killed_in_its_transaction_is_replaced(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    with workerless.worker() as victim:
        with _held_in_its_transaction(workerless, connector) as names:
            assert _pending(workerless) > 0
            victim.kill()
        _assert_another_applies(workerless, connector, names)


def test_worker_killed_between_commit_and_acknowledgement_has_written_once(
    workerless: Stack, redis: RedisProxy, victim: Process, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    with _held_in_its_transaction(workerless, connector) as names:
        redis.drops_requests_with = b""
    wait_until("its transaction is over", lambda: stored(workerless, connector))
    assert _pending(workerless) > 0
    victim.kill()
    _assert_another_applies(workerless, connector, names)


def test_worker_killed_between_acknowledgement_and_release_does_not_block_its_lane(
    workerless: Stack, redis: RedisProxy, victim: Process, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    with _held_in_its_transaction(workerless, connector) as names:
        _lease_is_renewed(workerless)  # the next request of the worker is its acknowledgement
        read = _pending(workerless)
        redis.drops_replies = True
    wait_until("what it wrote is acknowledged", lambda: _pending(workerless) < read)
    victim.kill()
    # The lease of the killed worker may suppress the wake-ups of these.
    _assert_another_applies(workerless, connector, names | submit(connector, "later"))


@contextmanager
def _held_in_its_transaction(stack: Stack, connector: Connector) -> Iterator[set[str]]:
    """Hold a worker in its transaction until the block ends; yield the ids of its items."""
    with stack.items_locked():
        names = submit(connector)
        wait_until("the worker is held in its transaction", stack.held_writers)
        yield names


def _lease_is_renewed(stack: Stack) -> None:
    (lease,) = stack.redis.scan_iter("{lane-*}:lease")
    left = int(str(stack.redis.pttl(lease)))
    wait_until("some time has passed", lambda: int(str(stack.redis.pttl(lease))) < left - 100)
    wait_until("the lease is renewed", lambda: int(str(stack.redis.pttl(lease))) > left - 100)


def test_lane_of_a_hung_worker_is_drained_by_another_and_only_once_if_it_wakes(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    with ExitStack() as contexts:
        with workerless.items_locked():
            hung = contexts.enter_context(workerless.worker())
            names = submit(connector)
            wait_until("the worker is held in its transaction", workerless.held_writers)
            # Stopped before its COMMIT is sent, it would hold the lane until Postgres ends its transaction.
            wait_until("the worker has sent all of it", lambda: is_asleep(hung.pid))
            hung.send(signal.SIGSTOP)
        # The lease of the hung worker runs out; the other reads, writes and acknowledges the same entries.
        contexts.enter_context(workerless.worker())
        all_is_applied_once(workerless, connector, names)

        # Now two drains are on one lane.
        hung.send(signal.SIGCONT)
        later = submit(connector, "later")
        all_is_applied_once(workerless, connector, names | later)


def test_lane_released_on_sigterm_is_drained_by_the_next_worker(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    with workerless.worker() as first:
        with _held_in_its_transaction(workerless, connector) as names:
            first.send(signal.SIGTERM)
        assert first.ends() == 0
    with workerless.worker():
        all_is_applied_once(workerless, connector, names)


def test_lost_wake_up_is_repeated_by_the_sweeper(workerless: Stack, new_connector: Callable[..., Connector]) -> None:
    connector = new_connector(workerless)
    names = submit(connector)
    wait_until("the wake-up is queued", lambda: workerless.redis.llen("rq:queue:drain") > 0)

    workerless.redis.delete("rq:queue:drain")

    with workerless.worker():
        all_is_applied_once(workerless, connector, names)


def test_backlog_of_a_time_without_workers_is_drained_by_four(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connectors = [new_connector(workerless) for _ in range(4)]
    names = [submit(connector) for connector in connectors]
    # A lane has one job in the queue, however often the sweeper finds the lane waiting.
    assert workerless.redis.llen("rq:queue:drain") <= len(connectors)
    with ExitStack() as contexts:
        for _ in range(4):
            contexts.enter_context(workerless.worker())
        for connector, its_names in zip(connectors, names, strict=True):
            all_is_applied_once(workerless, connector, its_names)
    assert workerless.failed_jobs() == 0
