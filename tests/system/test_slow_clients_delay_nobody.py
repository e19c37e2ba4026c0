"""Clients that stall, drip, idle or close halfway get their answers, and delay no other client."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import ExitStack

import httpx

from tests.support.client import JSON, Connector, assert_accepted, batch, item
from tests.support.raw_http import begin
from tests.support.stack import Api, Stack

_IDLE = 2000
_SLOW = 50
_BODY_SECONDS = 2
#: Maximum time in seconds of another client's request; generous, for a slow machine.
_SECONDS = 10.0


def _open_half(connector: Connector, api: Api) -> socket.socket:
    """Send a request, and close the client's half of the connection before the answer."""
    body = batch(item("half-closed"))
    connection = begin(api.url, connector.head(len(body)) + body)
    connection.shutdown(socket.SHUT_WR)
    return connection


def _received(connection: socket.socket) -> bytes:
    """Return everything that the server sends until it closes."""
    return b"".join(iter(lambda: connection.recv(65_536), b""))


def _post(connection: httpx.Client, name: str) -> float:
    started = time.monotonic()
    assert_accepted(connection.post("/api/ingest", content=batch(item(name)), headers=JSON))
    return time.monotonic() - started


def test_slow_stalled_and_idle_clients_delay_no_other_and_get_408(
    stack: Stack, new_connector: Callable[..., Connector]
) -> None:
    connector = new_connector(stack)
    head = connector.head(1000)
    with stack.api(BODY_TIMEOUT_SECONDS=_BODY_SECONDS) as api, ExitStack() as held:
        for _ in range(_IDLE):
            held.enter_context(begin(api.url, b""))
        in_headers = [held.enter_context(begin(api.url, head[:60])) for _ in range(_SLOW)]
        in_body = [held.enter_context(begin(api.url, head + b"{")) for _ in range(_SLOW)]
        for _ in range(_SLOW):
            held.enter_context(_open_half(connector, api))

        with connector.connection(api.url) as connection:
            times = [_post(connection, f"quick-{number}") for number in range(100)]
            for dripping in in_headers:  # to keep a connection open for long
                dripping.sendall(b"x")
            times += [_post(connection, f"later-{number}") for number in range(100)]
        assert max(times) < _SECONDS
        for stalled in in_body:
            answer = _received(stalled)
            assert answer.startswith(b"HTTP/1.1 408 "), answer
            assert b'"body_timeout"' in answer
        assert api.runs
