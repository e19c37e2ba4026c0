"""Workers retry dead letters, each of them once, even if a worker or the command is killed meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.support.client import Connector
from tests.support.processes import Python, wait_until
from tests.support.stack import Stack
from tests.support.submissions import SUBMISSIONS, all_is_applied_once, submit


@contextmanager
def _items_are_refused(stack: Stack, connector: Connector) -> Iterator[None]:
    stack.rows(f"ALTER TABLE items ADD CONSTRAINT broken CHECK (connector_id <> {connector.id}) NOT VALID")
    try:
        yield
    finally:
        stack.rows("ALTER TABLE items DROP CONSTRAINT broken")


@pytest.fixture
def dead(workerless: Stack, new_connector: Callable[..., Connector]) -> tuple[Connector, set[str]]:
    """A connector whose submissions, with these items, all died of something that is repaired by now."""
    connector = new_connector(workerless)
    with _items_are_refused(workerless, connector), workerless.worker():
        names = submit(connector)
        wait_until("all are dead", lambda: workerless.count("dead_letters", connector) == SUBMISSIONS)
        workerless.lanes_are_empty()
    return connector, names


def test_letters_are_retried_once_though_their_worker_is_killed(
    workerless: Stack, dead: tuple[Connector, set[str]]
) -> None:
    connector, names = dead
    with ThreadPoolExecutor(1) as hands:
        with workerless.items_locked(), workerless.worker() as victim:
            told = hands.submit(workerless.ingestctl, "dead", "retry", "--connector", str(connector.id), "--yes")
            wait_until("the worker is held in its transaction", workerless.held_writers)
            victim.kill()
        with workerless.worker():
            result = told.result()

            assert (result["letters"], result["retried"], result["diedAgain"]) == (SUBMISSIONS, SUBMISSIONS, 0)
            all_is_applied_once(workerless, connector, names)


def test_letters_are_retried_though_the_command_and_the_memory_of_redis_are_gone(
    workerless: Stack, dead: tuple[Connector, set[str]]
) -> None:
    connector, names = dead
    words = ("dead", "retry", "--connector", str(connector.id), "--yes")
    with Python("operations.cli", *words, folder=workerless.folder) as command:
        query = "SELECT count(*) FROM dead_letters WHERE connector_id = %s AND retry_requested_at IS NOT NULL"
        wait_until("they are marked", lambda: workerless.value(query, connector.id) == SUBMISSIONS)
        command.kill()
    workerless.redis.flushall()
    with workerless.worker():
        all_is_applied_once(workerless, connector, names)
