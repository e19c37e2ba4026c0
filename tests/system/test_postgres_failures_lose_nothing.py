"""Postgres is killed, full, read-only, or aborts a transaction; what was accepted is applied."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.support.client import Connector, get, item
from tests.support.processes import Process, wait_until
from tests.support.stack import Stack
from tests.support.submissions import all_is_applied_once, stored, submit


@pytest.fixture(scope="module")
def worker(workerless: Stack) -> Iterator[Process]:
    """One worker for all tests of this file: it outlives every failure of Postgres."""
    with workerless.worker() as worker:
        yield worker
        assert worker.runs, worker.printed


_FAILING = """
CREATE SEQUENCE tries;
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  IF nextval('tries') <= {times} THEN RAISE EXCEPTION 'simulated' USING ERRCODE = '{code}'; END IF;
  RETURN new;
END $$;
CREATE TRIGGER fail BEFORE INSERT ON items FOR EACH STATEMENT EXECUTE FUNCTION fail();
"""
_WORKING = "DROP TRIGGER fail ON items; DROP FUNCTION fail; DROP SEQUENCE tries"


@contextmanager
def _failing(stack: Stack, code: str, times: int) -> Iterator[Callable[[], int]]:
    """Fail the first writes of items with an SQLSTATE; yield a count of all tries, which no rollback reverts."""
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        connection.execute(_FAILING.format(times=times, code=code).encode())
        try:
            yield lambda: int(stack.value("SELECT last_value FROM tries"))
        finally:
            connection.execute(_WORKING)


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("53100", id="disk full"),
        pytest.param("40P01", id="deadlock"),
        pytest.param("40001", id="serialization failure"),
    ],
)
def test_slice_that_postgres_refused_is_written_again(
    workerless: Stack, worker: Process, new_connector: Callable[..., Connector], code: str
) -> None:
    connector = new_connector(workerless)
    with _failing(workerless, code, times=1) as tried:
        connector.send(item("agent-1"))

        all_is_applied_once(workerless, connector, {"agent-1"})

        assert tried() == 2
    assert code in worker.printed or "simulated" in worker.printed


def test_read_only_postgres_is_reported_and_waited_for(
    workerless: Stack, worker: Process, new_connector: Callable[..., Connector]
) -> None:
    del worker
    connector = new_connector(workerless)
    with workerless.read_only():
        names = submit(connector)
        where = f"{workerless.url}/healthz/pipeline"
        wait_until("the pipeline's health reports it", lambda: "takes no writes" in get(where).text)
        assert stored(workerless, connector) == set()
        failed = wait_until("a drain has failed", workerless.failed_jobs)
    all_is_applied_once(workerless, connector, names)
    assert failed > 0
    wait_until("no failed job is left", lambda: workerless.failed_jobs() == 0)


def test_killed_postgres_is_restarted_and_written_to(
    workerless: Stack, worker: Process, new_connector: Callable[..., Connector]
) -> None:
    del worker
    connector = new_connector(workerless)
    # The lock ends with Postgres too.
    with contextlib.suppress(psycopg.OperationalError), workerless.items_locked():
        names = submit(connector)
        wait_until("the worker is held in its transaction", workerless.held_writers)
        os.kill(workerless.postgres_pid(), signal.SIGKILL)
        names |= submit(connector, "while it is away")
    all_is_applied_once(workerless, connector, names)
