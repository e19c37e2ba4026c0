"""Clients that stall, drip, idle or hang up halfway: each gets its answer in time, and nobody else waits for them."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import ExitStack

import httpx

from tests.system.client import JSON, Connector, assert_accepted, batch, item
from tests.system.raw import begin
from tests.system.stack import Api, Stack

_IDLE = 2000
_SLOW = 50
_BODY_SECONDS = 2
#: What nobody should wait for an answer: generous, for a slow machine.
_SECONDS = 10.0


def _open_half(connector: Connector, api: Api) -> socket.socket:
    """Sends a whole request and no more: the client's half of the connection is closed before the answer."""
    body = batch(item("half-closed"))
    connection = begin(api.url, connector.head(len(body)) + body)
    connection.shutdown(socket.SHUT_WR)
    return connection


def _told(connection: socket.socket) -> bytes:
    """All that the server says until it closes."""
    return b"".join(iter(lambda: connection.recv(65_536), b""))


def _post(connection: httpx.Client, name: str) -> float:
    started = time.monotonic()
    assert_accepted(connection.post("/api/ingest", content=batch(item(name)), headers=JSON))
    return time.monotonic() - started


def test_slow_stalled_and_idle_clients_hold_nobody_up_and_are_told_408(
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
            for dripping in in_headers:  # a byte now and then, as who wants to hold a connection for long would send
                dripping.sendall(b"x")
            times += [_post(connection, f"later-{number}") for number in range(100)]
        assert max(times) < _SECONDS
        for stalled in in_body:
            told = _told(stalled)
            assert told.startswith(b"HTTP/1.1 408 "), told
            assert b'"body_timeout"' in told
        assert api.runs
