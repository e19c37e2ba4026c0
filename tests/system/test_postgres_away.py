"""Postgres goes away, or falls silent, and comes back: what is submitted meanwhile is accepted, and applied then."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest

from tests.system.client import JSON, Connector, assert_accepted, assert_well_formed, batch, get, item
from tests.system.effects import all_is_applied_once, stored, submit
from tests.system.gate import SECRET, Gate, gate
from tests.system.processes import wait_until
from tests.system.stack import Stack

#: What a connector sends is its own business.
_PRIVATE = "+44 20 7946 0000"


@pytest.fixture
def postgres(workerless: Stack) -> Iterator[Gate]:
    """What stands between the processes of the test and the database."""
    with gate(workerless.database_url) as gate_:
        yield gate_


def test_what_is_submitted_while_postgres_is_away_is_applied_once_it_is_back(
    workerless: Stack, postgres: Gate, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    with (
        workerless.api(DATABASE_URL=postgres.url) as api,
        workerless.worker(DATABASE_URL=postgres.url) as worker,
        connector.connection(api.url) as connection,
    ):
        assert get(f"{api.url}/healthz").status_code == 200
        assert_accepted(connection.post("/api/ingest", content=batch(item("before")), headers=JSON))
        wait_until("the worker is at work", lambda: workerless.fields(connector, "before") is not None)

        postgres.shut()
        for number in range(50):
            body = batch(item("during", counter=number, phone=_PRIVATE))
            assert_accepted(connection.post("/api/ingest", content=body, headers=JSON))
        unready = wait_until("the API says so", lambda: _unready(api.url))
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
    assert unready == ["Postgres does not answer."]
    assert workerless.count("receipts", connector) == 51
    assert workerless.count("dead_letters", connector) == 0


def test_api_that_starts_while_postgres_is_away_accepts_submissions(
    workerless: Stack, postgres: Gate, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    postgres.shut()
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


def test_postgres_whose_bytes_are_swallowed_is_given_up_and_asked_anew(
    workerless: Stack, postgres: Gate, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    with workerless.worker(DATABASE_URL=postgres.url):
        connector.send(item("before"))
        wait_until("the worker is connected", lambda: stored(workerless, connector) == {"before"})

        postgres.swallows.set()
        names = submit(connector)
        lane = wait_until("it has read a slice", lambda: [lane for lane in workerless.lanes() if lane[1]])
        postgres.swallows.clear()

        # Nobody else is there to take the lane: it is the one that waits who finds out.
        all_is_applied_once(workerless, connector, names | {"before"}, 25)
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
