"""Submissions are accepted while Postgres is away or silent, and applied when it is back."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.support.client import JSON, Connector, assert_accepted, assert_well_formed, batch, get, item
from tests.support.processes import PATIENCE, wait_until
from tests.support.stack import Stack
from tests.support.submissions import all_is_applied_once, stored, submit
from tests.support.tcp_proxy import SECRET, PostgresProxy

#: Data of a connector, which no log may contain.
_PRIVATE = "+44 20 7946 0000"


@pytest.fixture
def postgres(workerless: Stack) -> Iterator[PostgresProxy]:
    """A proxy between the processes of the test and Postgres."""
    with PostgresProxy(workerless.database_url) as proxy:
        yield proxy


def test_submissions_during_an_outage_are_applied_after_it(
    workerless: Stack, postgres: PostgresProxy, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    with (
        workerless.api(DATABASE_URL=postgres.url) as api,
        workerless.worker(DATABASE_URL=postgres.url) as worker,
        connector.connection(api.url) as connection,
    ):
        assert get(f"{api.url}/healthz").status_code == 200
        assert_accepted(connection.post("/api/ingest", content=batch(item("before")), headers=JSON))
        wait_until("the worker applies items", lambda: workerless.fields(connector, "before") is not None)

        postgres.close()
        for number in range(50):
            body = batch(item("during", counter=number, phone=_PRIVATE))
            assert_accepted(connection.post("/api/ingest", content=body, headers=JSON))
        unready = wait_until("readiness reports it", lambda: _unready(api.url))
        assert get(f"{api.url}/healthz").status_code == 200
        worker.says("lane_paused")
        assert workerless.fields(connector, "during") is None

        postgres.open()
        wait_until("all is applied", lambda: _counter(workerless, connector) == "49")
        workerless.lanes_are_empty()
        api.is_ready()
    for process in (api, worker):
        for secret in (SECRET, connector.credential.split("_")[2], _PRIVATE):
            assert secret not in process.printed, f"{process.name} printed a secret"
    assert unready == ["Postgres can't be used now: nothing listens at its address."]
    assert workerless.count("receipts", connector) == 51
    assert workerless.count("dead_letters", connector) == 0


def test_api_started_during_an_outage_accepts_submissions(
    workerless: Stack, postgres: PostgresProxy, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    postgres.close()
    with (
        workerless.starting_api(DATABASE_URL=postgres.url) as api,
        connector.connection(api.url) as connection,
    ):
        wait_until("it listens", lambda: api.answers("/healthz") == 200)

        answer = wait_until(
            "it knows the lanes",
            lambda: _unless_unready(connection.post("/api/ingest", content=batch(item("early")), headers=JSON)),
        )
    assert_accepted(answer)
    with workerless.worker():
        wait_until("it is applied", lambda: workerless.fields(connector, "early") is not None)


def test_silent_connection_is_given_up_and_opened_again(
    workerless: Stack, postgres: PostgresProxy, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    with workerless.worker(DATABASE_URL=postgres.url):
        connector.send(item("before"))
        wait_until("the worker is connected", lambda: stored(workerless, connector) == {"before"})

        postgres.hang()
        names = submit(connector)
        lane = wait_until("it has read a slice", lambda: [lane for lane in workerless.lanes() if lane[1]])
        postgres.resume()

        # No other worker could take the lane: the waiting one notices by itself.
        all_is_applied_once(workerless, connector, names | {"before"}, 2 * PATIENCE)
    assert lane


def _counter(stack: Stack, connector: Connector) -> str | None:
    fields = stack.fields(connector, "during")
    return fields["counter"] if fields else None


def _unless_unready(answer: httpx.Response) -> httpx.Response | None:
    return None if answer.status_code == 503 else answer


def _unready(url: str) -> list[str]:
    answer = get(f"{url}/readyz")
    if answer.status_code == 200:
        return []
    assert answer.status_code == 503
    assert_well_formed(answer)
    assert int(answer.headers["Retry-After"]) >= 1
    missing: list[str] = answer.json()["missing"]
    return missing
