"""Each request is answered for what it is, in order, however its bytes are cut; no byte of a body is a request."""

from __future__ import annotations

import contextlib
import gzip
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.client import Connector
from tests.support.processes import resident_bytes, wait_until
from tests.support.raw_http import begin
from tests.support.stack import Stack

BODY = b'{"stream":"framing","items":[{"id":"a"}]}'
BAD = b"POST /api/ingest HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: x\r\n\r\n"
MB = 1_048_576
JAVA_OFFER = (
    b"Connection: Upgrade, HTTP2-Settings",
    b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
    b"Upgrade: h2c",
    b"User-Agent: Java-http-client/17.0.15",
)


@pytest.fixture
def connector(stack: Stack, new_connector: Callable[..., Connector]) -> Connector:
    return new_connector(stack, rate=1_000_000, burst=1_000_000)


def post(connector: Connector, *headers: bytes, body: bytes = BODY, path: bytes = b"/api/ingest") -> bytes:
    lines = [
        b"POST " + path + b" HTTP/1.1",
        b"Host: localhost",
        b"Content-Type: application/json",
        b"Authorization: Bearer " + connector.credential.encode(),
        *(headers or (b"Content-Length: %d" % len(body),)),
    ]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def upgrading(connector: Connector, *offer: bytes) -> bytes:
    """A request that offers an upgrade, and whose body is a whole request itself."""
    inner = b"POST /api/ingest HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
    return post(connector, *offer, b"Content-Length: %d" % len(inner), body=inner)


def statuses(connection: socket.socket) -> list[str]:
    """Close the sending side; return the statuses of all answers."""
    return re.findall(r"HTTP/1\.1 (\d+)", received(connection).decode("latin-1"))


def received(connection: socket.socket) -> bytes:
    found = b""
    with contextlib.suppress(ConnectionError):
        with contextlib.suppress(OSError):  # the server has closed it
            connection.shutdown(socket.SHUT_WR)
        while chunk := connection.recv(65_536):
            found += chunk
    return found


def send_in_two(connection: socket.socket, data: bytes, at: int) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(data[:at])
    time.sleep(0.005)  # so that the server reads the pieces apart; nothing tells when it did
    connection.sendall(data[at:])


def test_body_of_an_upgrade_offer_is_never_a_request_wherever_it_is_cut(stack: Stack, connector: Connector) -> None:
    whole = upgrading(connector, b"Connection: Upgrade", b"Upgrade: foo") + post(connector)
    for at in range(1, len(whole), 3):
        with begin(stack.url, b"") as connection:
            send_in_two(connection, whole, at)
            assert statuses(connection) == ["400", "202"], at


def test_offer_of_a_java_client_is_ignored_and_its_body_accepted(stack: Stack, connector: Connector) -> None:
    offer = post(connector, *JAVA_OFFER, b"Content-Length: %d" % len(BODY))
    for _ in range(50):
        with begin(stack.url, offer) as connection:
            assert statuses(connection) == ["202"]


@pytest.mark.parametrize(
    "fault",
    [BAD, b"\x00garbage\r\n\r\n", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"],
    ids=["unknown coding", "garbage", "another version", "no host"],
)
def test_answer_precedes_the_refusal_of_what_follows_it(stack: Stack, connector: Connector, fault: bytes) -> None:
    with begin(stack.url, post(connector) + fault + post(connector)) as connection:
        assert statuses(connection) == ["202", "400"]


def test_client_that_has_closed_its_sending_side_gets_its_answer(stack: Stack, connector: Connector) -> None:
    for request, status in [
        (post(connector), "202"),
        (BAD, "400"),
        (b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", "200"),
    ]:
        with begin(stack.url, request) as connection:
            connection.shutdown(socket.SHUT_WR)
            assert statuses(connection) == [status]


def test_refusal_before_an_expected_continue_closes_the_connection(stack: Stack, connector: Connector) -> None:
    stranger = Connector(connector.id, "ik_000000000000_" + "a" * 40, connector.url)
    request = post(stranger, b"Expect: 100-continue", b"Content-Length: 10", body=b"")
    with begin(stack.url, request) as connection:
        answer = received(connection)

    assert answer.startswith(b"HTTP/1.1 401")
    assert b"connection: close" in answer


def test_early_answer_reaches_a_client_that_sends_its_large_body_first(stack: Stack, connector: Connector) -> None:
    stranger = Connector(connector.id, "ik_000000000000_" + "a" * 40, connector.url)
    large = b"x" * 20_000_000
    for headers in ([], [b"Connection: close"]):
        request = post(stranger, *headers, b"Content-Length: %d" % len(large), body=large)
        with begin(stack.url, request) as connection:  # all of it is sent before the answer is read
            assert statuses(connection) == ["401"]


def test_expected_continue_precedes_the_answer(stack: Stack, connector: Connector) -> None:
    request = post(connector, b"Expect: 100-continue", b"Content-Length: %d" % len(BODY))
    for at in (len(request) - len(BODY), len(request)):
        with begin(stack.url, b"") as connection:
            send_in_two(connection, request + post(connector), at)
            assert statuses(connection) == ["100", "202", "202"]


def test_pipelined_requests_that_nobody_reads_are_bounded(stack: Stack, connector: Connector) -> None:
    request = b"GET /api/requests/x HTTP/1.1\r\nHost: a\r\n\r\n"
    with stack.cold_api() as api, begin(api.url, request) as connection:
        wait_until("the first answer is there", lambda: connection.recv(65_536))
        before = resident_bytes(api.pid)
        connection.settimeout(2)
        with contextlib.suppress(TimeoutError, ConnectionError):
            for _ in range(2_000):
                connection.sendall(request * 300)
        assert resident_bytes(api.pid) - before < 20 * MB
        with begin(api.url, post(connector)) as other:
            assert statuses(other) == ["202"]


def test_compressed_bodies_are_read_as_gzip_reads_them(stack: Stack, connector: Connector) -> None:
    packed = gzip.compress(BODY)
    for coding, body in [(b"x-gzip", packed), (b"gzip", packed + b"\0" * 10)]:
        request = post(connector, b"Content-Encoding: " + coding, b"Content-Length: %d" % len(body), body=body)
        with begin(stack.url, request) as connection:
            assert statuses(connection) == ["202"]


def test_empty_body_needs_no_content_type(stack: Stack, connector: Connector) -> None:
    head = b"POST /api/ingest/heartbeat HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + connector.credential.encode()
    for rest in (b"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n"):
        with begin(stack.url, head + rest) as connection:
            assert statuses(connection) == ["202"]


def test_two_clients_never_get_each_others_answers(stack: Stack, new_connector: Callable[..., Connector]) -> None:
    first, second = new_connector(stack), new_connector(stack)
    ended = threading.Event()

    def attack() -> Iterator[list[str]]:
        while not ended.is_set():
            with begin(stack.url, upgrading(first, b"Connection: upgrade", b"Upgrade: x") + BAD) as connection:
                yield statuses(connection)

    attacker = threading.Thread(target=lambda: [None for _ in attack()])
    attacker.start()
    try:
        for _ in range(20):
            with begin(stack.url, post(second)) as connection:
                assert statuses(connection) == ["202"]
    finally:
        ended.set()
        attacker.join()
