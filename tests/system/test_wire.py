"""Below and beside a request: nobody fills our memory, borrows a header or loses a body."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Callable

from tests.system.client import Connector
from tests.system.processes import resident_bytes
from tests.system.raw import begin
from tests.system.stack import Stack

BODY = b'{"stream":"agents","items":[{"id":"wire"}]}'
MB = 1_048_576


def _post(*headers: bytes) -> bytes:
    lines = [b"POST /api/ingest HTTP/1.1", b"Host: localhost", b"Content-Type: application/json", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _bearer(connector: Connector) -> bytes:
    return b"Authorization: Bearer " + connector.credential.encode()


def _told(connection: socket.socket) -> bytes:
    """All that the server says until it closes, or pauses for a second."""
    connection.settimeout(1.0)
    told = b""
    with contextlib.suppress(TimeoutError, ConnectionError):
        while chunk := connection.recv(65_536):
            told += chunk
    return told


def test_trailers_without_end_close_the_connection_and_fill_no_memory(stack: Stack) -> None:
    sent = 0
    with stack.api() as api, begin(api.url, _post(b"Transfer-Encoding: chunked") + b"0\r\n") as connection:
        before = resident_bytes(api.pid)
        with contextlib.suppress(ConnectionError):
            while sent < 200 * MB:
                connection.sendall(b"x-trailer: " + b"y" * 1000 + b"\r\n")
                sent += 1013

        assert sent < 100 * MB, "the connection was closed"
        assert resident_bytes(api.pid) - before < 100 * MB


def test_a_trailer_is_no_credential(stack: Stack, new_connector: Callable[..., Connector]) -> None:
    connector = new_connector(stack)
    head = _post(b"Authorization: Bearer nobody", b"Transfer-Encoding: chunked")
    chunks = b"%x\r\n%b\r\n0\r\n%b\r\n\r\n" % (len(BODY), BODY, _bearer(connector))

    with begin(stack.url, head + chunks) as connection:
        assert _told(connection).startswith(b"HTTP/1.1 401")


def test_two_credentials_are_none(stack: Stack, new_connector: Callable[..., Connector]) -> None:
    good = _bearer(new_connector(stack))
    length = b"Content-Length: %d" % len(BODY)

    with begin(stack.url, _post(good, good, length) + BODY) as connection:
        assert _told(connection).startswith(b"HTTP/1.1 401")


def test_an_offer_to_upgrade_is_passed_over_and_loses_no_body(
    stack: Stack, new_connector: Callable[..., Connector]
) -> None:
    offer = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk")
    length = b"Content-Length: %d" % len(BODY)

    with begin(stack.url, _post(_bearer(new_connector(stack)), *offer, length) + BODY) as connection:
        assert _told(connection).startswith(b"HTTP/1.1 202")


def test_a_head_that_is_cut_in_the_middle_of_its_end_leaves_the_length_of_its_body(
    stack: Stack, new_connector: Callable[..., Connector]
) -> None:
    body = BODY + b"\r\nupgrade: h2c" * 20
    head = _post(_bearer(new_connector(stack)), b"Content-Length: %d" % len(body))

    with begin(stack.url, head[:-1]) as connection:
        time.sleep(0.2)  # so that it is read by itself; nothing tells when it was
        connection.sendall(head[-1:] + body + b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        told = _told(connection)

    assert re.findall(rb"HTTP/1.1 (\d+)", told) == [b"400", b"200"], "a bad body, and what was asked after it"


def test_a_fault_of_the_next_request_is_not_taken_for_the_answer_to_the_one_under_way(
    stack: Stack, new_connector: Callable[..., Connector]
) -> None:
    good = _bearer(new_connector(stack))
    first = _post(good, b"Content-Length: %d" % len(BODY)) + BODY
    second = _post(good, b"Transfer-Encoding: chunked") + b"no length\r\n"

    with begin(stack.url, first + second) as connection:
        told = _told(connection)

    assert told == b"" or told.startswith(b"HTTP/1.1 202")


def test_garbage_behind_a_request_does_not_take_the_place_of_its_answer(
    stack: Stack, new_connector: Callable[..., Connector]
) -> None:
    length = b"Content-Length: %d" % len(BODY)

    with begin(stack.url, _post(_bearer(new_connector(stack)), length) + BODY + b"\x00garbage\r\n\r\n") as connection:
        told = _told(connection)

    assert told.startswith(b"HTTP/1.1 202")
    assert b" 400 " not in told


def test_headers_without_end_are_refused(stack: Stack) -> None:
    with begin(stack.url, b"POST /api/ingest HTTP/1.1\r\nHost: localhost\r\n") as connection:
        with contextlib.suppress(ConnectionError):
            for _ in range(200):
                connection.sendall(b"x-more: " + b"y" * 1000 + b"\r\n")
        told = _told(connection)

    assert told == b"" or b'"headers_too_large"' in told, "refused, if the answer was not overtaken by the reset"
