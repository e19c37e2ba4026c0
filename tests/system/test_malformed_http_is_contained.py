"""Malformed or unusual HTTP neither fills memory, nor passes for a credential, nor loses a body."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Callable

from tests.support.client import Connector
from tests.support.processes import resident_bytes
from tests.support.raw_http import begin
from tests.support.stack import Stack

BODY = b'{"stream":"agents","items":[{"id":"wire"}]}'
MB = 1_048_576
#: Time in seconds in which something may follow the last expected answer.
_LINGER_SECONDS = 0.3


def _post(*headers: bytes) -> bytes:
    lines = [b"POST /api/ingest HTTP/1.1", b"Host: localhost", b"Content-Type: application/json", *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _bearer(connector: Connector) -> bytes:
    return b"Authorization: Bearer " + connector.credential.encode()


def _received(connection: socket.socket, answers: int = 1) -> bytes:
    """Read a number of answers and what directly follows them, or everything until the server closes."""
    received = b""
    with contextlib.suppress(TimeoutError, ConnectionError):
        while chunk := connection.recv(65_536):
            received += chunk
            if received.count(b"HTTP/1.1 ") >= answers:
                connection.settimeout(_LINGER_SECONDS)
    return received


def test_endless_trailers_close_the_connection_and_fill_no_memory(stack: Stack) -> None:
    sent = 0
    with stack.cold_api() as api, begin(api.url, _post(b"Transfer-Encoding: chunked") + b"0\r\n") as connection:
        before = resident_bytes(api.pid)
        with contextlib.suppress(ConnectionError):
            while sent < 200 * MB:
                connection.sendall(b"x-trailer: " + b"y" * 1000 + b"\r\n")
                sent += 1013

        assert sent < 100 * MB, "the connection stays open"
        assert resident_bytes(api.pid) - before < 100 * MB


def test_credential_in_a_trailer_is_ignored(stack: Stack, new_connector: Callable[..., Connector]) -> None:
    connector = new_connector(stack)
    head = _post(b"Authorization: Bearer unknown", b"Transfer-Encoding: chunked")
    chunks = b"%x\r\n%b\r\n0\r\n%b\r\n\r\n" % (len(BODY), BODY, _bearer(connector))

    with begin(stack.url, head + chunks) as connection:
        assert _received(connection).startswith(b"HTTP/1.1 401")


def test_two_credentials_are_refused(stack: Stack, new_connector: Callable[..., Connector]) -> None:
    good = _bearer(new_connector(stack))
    length = b"Content-Length: %d" % len(BODY)

    with begin(stack.url, _post(good, good, length) + BODY) as connection:
        assert _received(connection).startswith(b"HTTP/1.1 401")


def test_offer_to_upgrade_is_ignored_and_loses_no_body(stack: Stack, new_connector: Callable[..., Connector]) -> None:
    offer = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk")
    length = b"Content-Length: %d" % len(BODY)

    with begin(stack.url, _post(_bearer(new_connector(stack)), *offer, length) + BODY) as connection:
        assert _received(connection).startswith(b"HTTP/1.1 202")


def test_headers_cut_within_their_end_keep_the_length_of_the_body(
    stack: Stack, new_connector: Callable[..., Connector]
) -> None:
    body = BODY + b"\r\nupgrade: h2c" * 20
    head = _post(_bearer(new_connector(stack)), b"Content-Length: %d" % len(body))

    with begin(stack.url, head[:-1]) as connection:
        time.sleep(0.2)  # so that the server reads it by itself, which cannot be observed
        connection.sendall(head[-1:] + body + b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = _received(connection, answers=2)

    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == [b"400", b"200"], "a bad body, and the request after it"


def test_endless_headers_are_refused(stack: Stack) -> None:
    with begin(stack.url, b"POST /api/ingest HTTP/1.1\r\nHost: localhost\r\n") as connection:
        with contextlib.suppress(ConnectionError):
            for _ in range(200):
                connection.sendall(b"x-more: " + b"y" * 1000 + b"\r\n")
        answer = _received(connection)

    assert answer == b"" or b'"headers_too_large"' in answer, "the answer may be lost in the reset of the connection"
