"""Request ids are distinct, and `GET /api/requests/{requestId}` never reports a state too early."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from redis import Redis

from tests.support.client import (
    JSON,
    Connector,
    assert_accepted,
    assert_refused,
    assert_well_formed,
    batch,
    item,
)
from tests.support.processes import PATIENCE, wait_until
from tests.support.raw_http import heartbeats
from tests.support.request_ids import lane_of, request_id_of
from tests.support.stack import Api, Stack

#: Number of requests; 100,000 take half a minute on two cores.
_IDS = int(os.environ.get("REQUEST_IDS", "1600"))
_CONNECTIONS = 16
_ROUNDS = 40
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
#: Bytes that an entry adds to the backlog in addition to its body.
_OVERHEAD = 256


def ask(connector: Connector, request_id: str, url: str, wait: int | None = None) -> httpx.Response:
    """Request the status of a request."""
    with connector.connection(url) as connection:
        return connection.get(f"/api/requests/{request_id}", params={} if wait is None else {"wait": wait})


def assert_status(answer: httpx.Response, request_id: str, state: str, kind: str = "items") -> dict[str, Any]:
    """Assert that a status is well-formed, of this request and in this state; return it."""
    assert answer.status_code == 200, answer.text
    # The id of the answer is that of the request that it reports.
    assert assert_well_formed(answer) == request_id
    status: dict[str, Any] = answer.json()
    assert (status["status"], status["state"], status["kind"]) == ("ok", state, kind), status
    counted = {"log": {"entriesReceived"}, "heartbeat": set(), "retain": {"idsReceived", "removed"}}
    ended = {"diedAt", "reason"} if state == "dead" else set()
    always = {"status", "requestId", "state", "kind", "receivedAt", "appliedAt"}
    assert status.keys() == always | counted.get(kind, {"itemsReceived"}) | ended
    assert _MOMENT.fullmatch(status["receivedAt"])
    if state == "applied":
        assert _MOMENT.fullmatch(status["appliedAt"])
        assert status["appliedAt"] >= status["receivedAt"]
    else:
        assert status["appliedAt"] is None
    return status


def test_ids_of_accepted_requests_are_distinct(workerless: Stack, crowd: list[Connector]) -> None:
    each = _IDS // _CONNECTIONS

    async def send_all(urls: list[str]) -> list[list[tuple[str, str, str]]]:
        # The first two are on one lane; each sends through both processes.
        half = _CONNECTIONS // 2
        return await asyncio.gather(
            *(heartbeats(crowd[number % half], urls[number // half], each) for number in range(_CONNECTIONS))
        )

    with workerless.api() as api:
        answers = [answer for many in asyncio.run(send_all([workerless.url, api.url])) for answer in many]

    assert len(answers) == each * _CONNECTIONS
    assert {status for status, _, _ in answers} == {"202"}
    assert all(header == body for _, header, body in answers)
    ids = [request_id for _, request_id, _ in answers]
    assert len(set(ids)) == len(ids)
    with workerless.worker():
        workerless.lanes_are_empty(PATIENCE + _IDS / 500)
    applied = workerless.value(
        "SELECT count(*) FROM receipts WHERE connector_id = ANY(%s) AND kind = 'heartbeat'",
        [one.id for one in crowd],
    )
    assert applied >= len(ids)


def test_status_from_another_process_right_after_the_202_is_never_404(
    stack: Stack, neighbour: Api, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(stack)
    with connector.connection() as sending, connector.connection(neighbour.url) as asking:
        for number in range(_ROUNDS * 3):
            request_id = assert_accepted(sending.post("/api/ingest", content=batch(item(f"a{number}")), headers=JSON))
            answer = asking.get(f"/api/requests/{request_id}")
            assert answer.status_code == 200, answer.text
            assert answer.json()["state"] in ("queued", "applied")


def test_applied_is_never_reported_before_the_rows_can_be_read(
    stack: Stack, neighbour: Api, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(stack)
    seen: set[str] = set()
    with connector.connection() as sending, connector.connection(neighbour.url) as asking:
        for turn in range(_ROUNDS):
            body = batch(item("always", turn=turn), item(f"once-{turn}"))
            request_id = assert_accepted(sending.post("/api/ingest", content=body, headers=JSON), items=2)

            def is_applied(asked: str = request_id) -> bool:
                state = asking.get(f"/api/requests/{asked}").json()["state"]
                seen.add(state)
                return bool(state == "applied")

            # No pause: Postgres is read as soon as the state is reported.
            deadline = time.monotonic() + PATIENCE
            while not is_applied():
                assert time.monotonic() < deadline
            assert stack.fields(connector, "always") == {"turn": str(turn)}
            assert stack.fields(connector, f"once-{turn}") == {}
    assert seen == {"queued", "applied"}


def test_status_is_queued_until_the_transaction_ends_and_then_a_waiting_request_is_answered(
    stack: Stack, neighbour: Api, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(stack)
    before = datetime.now(UTC) - timedelta(seconds=1)
    with ThreadPoolExecutor(1) as other:
        with stack.items_locked():
            request_id = connector.send(item("agent-1"), item("agent-2"))
            wait_until("the worker is held in its transaction", stack.held_writers)
            began = time.monotonic()
            status = assert_status(ask(connector, request_id, neighbour.url, wait=1), request_id, "queued")
            assert time.monotonic() - began >= 1
            assert status["itemsReceived"] == 2
            waiting = other.submit(ask, connector, request_id, neighbour.url, 30)
            time.sleep(0.1)
            assert not waiting.done()
            assert stack.fields(connector, "agent-1") is None
        status = assert_status(waiting.result(), request_id, "applied")

    assert stack.fields(connector, "agent-2") == {}
    assert status["itemsReceived"] == 2
    received, applied = (datetime.fromisoformat(status[name]) for name in ("receivedAt", "appliedAt"))
    assert before <= received <= applied <= datetime.now(UTC) + timedelta(seconds=1)
    assert_status(ask(connector, request_id, stack.url, wait=30), request_id, "applied")


@pytest.mark.parametrize(
    ("kind", "path", "body", "counted"),
    [
        ("log", "/api/ingest/log", b'{"entries":[{"level":"info","message":"a"}]}', {"entriesReceived": 1}),
        ("heartbeat", "/api/ingest/heartbeat", b"{}", {}),
        ("webhook", "/api/webhook/agents", b'{"id":"agent-1"}', {"itemsReceived": 1}),
        ("items", "/api/ingest", b'{"stream":"agents","items":[]}', {"itemsReceived": 0}),
        ("retain", "/api/ingest/retain", b'{"stream":"agents","ids":["agent-1"]}', {"idsReceived": 1}),
    ],
)
def test_every_kind_of_submission_has_a_status(
    stack: Stack, neighbour: Api, caller: Connector, kind: str, path: str, body: bytes, counted: dict[str, int]
) -> None:
    request_id = caller.post(body, path=path).json()["requestId"]

    status = assert_status(ask(caller, request_id, neighbour.url, wait=30), request_id, "applied", kind)

    assert {name: value for name, value in status.items() if name.endswith("Received")} == counted
    assert stack.value("SELECT kind FROM receipts WHERE connector_id = %s ORDER BY version DESC", caller.id) == kind


@pytest.fixture(scope="module")
def caller(stack: Stack) -> Connector:
    """A connector that tests of this file share."""
    return stack.connector("asks for request status")


def _append_unreadable(redis: Redis, lane: int, connector: Connector, body: bytes) -> str:
    """Append an entry that no route would accept, and count it in the backlog; return its request id."""
    prefix = f"{{lane-{lane:02d}}}"
    redis.hincrby(f"{prefix}:backlog", "bytes", len(body) + _OVERHEAD)
    fields: Any = {"c": connector.id, "m": '{"kind":"items"}', "n": 3, "b": body}
    entry_id: Any = redis.xadd(f"{prefix}:stream", fields)
    return request_id_of(lane, entry_id)


def test_entry_that_cannot_be_applied_is_dead_and_its_neighbours_are_applied(
    stack: Stack, neighbour: Api, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(stack)
    with stack.items_locked():
        first = connector.send(item("before"))
        unreadable = _append_unreadable(stack.redis, lane_of(first), connector, b'{"stream":"agents"}')
        assert_status(ask(connector, unreadable, stack.url), unreadable, "queued")
        last = connector.send(item("after"))

    status = assert_status(ask(connector, unreadable, neighbour.url, wait=30), unreadable, "dead")

    assert status["reason"] == "unreadable"
    assert status["itemsReceived"] == 3
    assert _MOMENT.fullmatch(status["diedAt"])
    for request_id in (first, last):
        assert_status(ask(connector, request_id, neighbour.url, wait=30), request_id, "applied")
    rows = stack.rows("SELECT body, reason FROM dead_letters WHERE connector_id = %s", connector.id)
    assert rows == [{"body": b'{"stream":"agents"}', "reason": "unreadable"}]
    assert stack.fields(connector, "before") == stack.fields(connector, "after") == {}
    stack.lanes_are_empty()


def test_rotated_credential_sees_earlier_requests(stack: Stack, new_connector: Callable[..., Connector]) -> None:
    connector = new_connector(stack)
    request_id = connector.send(item("agent-1"))

    successor = stack.rotate(connector)

    assert_status(ask(successor, request_id, stack.url, wait=30), request_id, "applied")
    assert_refused(ask(connector, request_id, stack.url), 401, "unauthorized")


@pytest.mark.parametrize("wait", ["31", "-1", "1.5", "", "1e1", "\u0661", "0x1", " 1", "999999999999"])
def test_wait_other_than_0_to_30_seconds_is_refused(caller: Connector, wait: str) -> None:
    with caller.connection() as connection:
        answer = connection.get("/api/requests/req_00000000000000", params={"wait": wait})

    error = assert_refused(answer, 409, "invalid_parameter", "wait")
    assert error["limit"] == 30


@pytest.mark.parametrize(
    "request_id",
    [
        "req_00000000000000",
        "req_zzzzzzzzzzzzzz",
        "req_0000000000000",
        "req_0000000000000U",
        "00000000000000",
        "req_%00",
    ],
)
def test_unknown_id_is_refused_without_waiting(caller: Connector, request_id: str) -> None:
    began = time.monotonic()

    with caller.connection() as connection:
        answer = connection.get(f"/api/requests/{request_id}?wait=30")

    assert_refused(answer, 404, "unknown_request")
    assert time.monotonic() - began < 20


def test_id_of_a_refused_submission_is_unknown(stack: Stack, caller: Connector) -> None:
    refused = caller.post(b"[]")

    assert_refused(ask(caller, assert_well_formed(refused), stack.url), 404, "unknown_request")


def test_waiting_request_is_answered_when_the_api_stops(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(workerless)
    request_id = connector.send(item("agent-1"))
    with workerless.api(SHUTDOWN_SECONDS=1) as api, ThreadPoolExecutor(1) as other:
        assert_status(ask(connector, request_id, api.url), request_id, "queued")
        waiting = other.submit(ask, connector, request_id, api.url, 30)
        time.sleep(1)  # so that the API has the request, which cannot be observed
        assert not waiting.done()
        api.stop()
        answer = waiting.result()

    assert_refused(answer, 503, "shutting_down")
    assert int(answer.headers["Retry-After"]) >= 1
    with workerless.worker():
        workerless.lanes_are_empty()
