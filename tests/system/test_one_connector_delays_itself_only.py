"""What one connector keeps in flight, makes the service do, or lets wait takes nothing from another connector."""

from __future__ import annotations

import contextlib
import gzip
import select
import socket
from collections.abc import Callable
from contextlib import ExitStack

from tests.support.client import GZIP, JSON, MB, Connector, assert_accepted, assert_refused, batch, item
from tests.support.processes import wait_until
from tests.support.raw_http import begin
from tests.support.stack import Stack

_BODY_LIMIT = 30 * MB
_HOSTILE = 20
_WAITING_OF_CONNECTOR = 50
#: Pipelined behind a request that waits: more than are read, so that the service reads no further.
_PIPELINED = 40


def _answered(connection: socket.socket, seconds: float = 0) -> bool:
    return bool(select.select([connection], [], [], seconds)[0])


def test_half_sent_bodies_fill_the_share_of_their_connector_only(
    stack: Stack, new_connector: Callable[..., Connector]
) -> None:
    hostile, other = new_connector(stack), new_connector(stack)
    large = batch(item("large", notes="x" * (4 * MB)), item("too", notes="x" * MB))
    with stack.api(MAX_INFLIGHT_BYTES=128 * MB, BODY_TIMEOUT_SECONDS=60) as api, ExitStack() as held:
        half = hostile.head(_BODY_LIMIT) + b"x" * (_BODY_LIMIT // 2)
        for _ in range(2):
            held.enter_context(begin(api.url, half))

        def refused() -> bool:
            with hostile.connection(api.url) as connection:
                return connection.post("/api/ingest", content=large, headers=JSON).status_code == 503

        wait_until("the share is used up", refused)
        with hostile.connection(api.url) as connection:
            answer = connection.post("/api/ingest", content=large, headers=JSON)
            assert_refused(answer, 503, "connector_overloaded")
            assert int(answer.headers["Retry-After"]) >= 1
        with other.connection(api.url) as connection:
            for _ in range(3):
                assert_accepted(connection.post("/api/ingest", content=large, headers=JSON), items=2)
    with hostile.connection() as connection:
        assert_accepted(connection.post("/api/ingest", content=batch(item("later")), headers=JSON))


def test_bodies_that_take_long_make_their_own_connector_wait(
    stack: Stack, new_connector: Callable[..., Connector]
) -> None:
    hostile, other = new_connector(stack), new_connector(stack)
    contrived = gzip.compress(b'{"stream":"s","items":[' + b"1," * (_BODY_LIMIT // 2 - 20) + b"1]}")
    head = b"Content-Encoding: gzip\r\nContent-Type:".join(hostile.head(len(contrived)).split(b"Content-Type:"))
    usual = batch(*(item(str(number), notes="x" * 1000) for number in range(200)))
    with stack.api() as api, ExitStack() as held:
        sent = [held.enter_context(begin(api.url, head + contrived)) for _ in range(_HOSTILE)]
        with other.connection(api.url) as connection:
            for headers, body in ((JSON, usual), (GZIP, gzip.compress(usual)), (JSON, batch(item("small")))):
                answer = connection.post("/api/ingest", content=body, headers=headers)
                assert_accepted(answer, items=1 if len(body) < 1000 else 200)
        assert sum(map(_answered, sent)) < _HOSTILE, "the other connector waited for all of them"
        answered, _, _ = select.select(sent, [], [], 60)
        assert answered[0].recv(12) == b"HTTP/1.1 409"


def test_requests_that_wait_have_places_of_their_connector_which_leaving_gives_back(
    workerless: Stack, new_connector: Callable[..., Connector]
) -> None:
    hostile, other = new_connector(workerless), new_connector(workerless)
    ids = {one: one.send(item("waits")) for one in (hostile, other)}

    def poll(connector: Connector, url: str, more: int = 0) -> socket.socket:
        lines = f"Host: localhost\r\nAuthorization: Bearer {connector.credential}\r\n\r\n"
        waits = f"GET /api/requests/{ids[connector]}?wait=30 HTTP/1.1\r\n{lines}"
        return begin(url, (waits + f"GET /healthz HTTP/1.1\r\n{lines}" * more).encode())

    def may_wait(connector: Connector, url: str) -> bool:
        with poll(connector, url) as connection:
            return not _answered(connection, 1)

    with workerless.api() as api:
        with ExitStack() as held:
            for number in range(_WAITING_OF_CONNECTOR):
                held.enter_context(poll(hostile, api.url, _PIPELINED if number % 2 else 0))
            wait_until("all places of the connector are taken", lambda: not may_wait(hostile, api.url))
            assert may_wait(other, api.url)
        with contextlib.ExitStack() as again:
            polls = [again.enter_context(poll(hostile, api.url)) for _ in range(_WAITING_OF_CONNECTOR // 2)]

            def all_wait() -> bool:
                for number, one in enumerate(polls):
                    if _answered(one):
                        one.close()
                        polls[number] = again.enter_context(poll(hostile, api.url))
                return not any(_answered(one, 0.02) for one in polls)

            wait_until("those of clients that have left are free", all_wait, 10)
    with workerless.worker():
        workerless.lanes_are_empty()
