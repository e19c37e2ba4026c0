"""Clients of the console that send a request or read an answer slowly lose their connections; others go on."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from operations.console import protocol
from operations.console.protocol import Protocol
from tests.support.processes import PATIENCE, wait_until

#: More than the kernel takes for a client that reads nothing.
_LARGE = 64 << 20


async def _whole(request: Request) -> Response:
    return PlainTextResponse("x" * _LARGE if request.method == "GET" else str(len(await request.body())))


class _Ended:
    """Whether the stream has ended."""

    def __init__(self) -> None:
        self.event = threading.Event()

    async def stream(self, _: Request) -> Response:
        async def parts() -> object:
            try:
                while True:
                    yield "x" * 100_000
                    await asyncio.sleep(0)
            finally:
                self.event.set()

        return StreamingResponse(parts())  # type: ignore[arg-type] # an endless one


@pytest.fixture
def ended() -> _Ended:
    return _Ended()


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch, ended: _Ended) -> Iterator[int]:
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 1.0)
    monkeypatch.setattr(protocol, "_LOOK_SECONDS", 0.4)
    app = Starlette(routes=[Route("/", _whole, methods=["GET", "POST"]), Route("/live", ended.stream)])
    server = uvicorn.Server(uvicorn.Config(app, http=Protocol, lifespan="off", log_config=None))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        wait_until("the server listens", lambda: server.started)
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join(PATIENCE)
    assert not thread.is_alive(), "No slow client holds up the end."


@contextlib.contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
        yield client


def is_established(client: socket.socket) -> bool:
    """Whether the kernel has the connection still: what arrived before its end can be read even then."""
    return client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 1


def is_cut_off(act: Callable[[], object]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            act()
        except ConnectionError:
            return True
        time.sleep(0.05)  # the slowness is the subject
    return False


@pytest.mark.parametrize(
    "begin",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: console\r\n",
        b"POST / HTTP/1.1\r\nHost: console\r\nContent-Length: 1000000\r\n\r\nx",
        b"POST / HTTP/1.1\r\nHost: console\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n",
    ],
)
def test_a_request_that_arrives_a_byte_at_a_time_is_cut_off(port: int, begin: bytes) -> None:
    with connected(port) as client:
        client.sendall(begin)
        assert is_cut_off(lambda: client.sendall(b"x"))


@pytest.mark.parametrize("path", ["/", "/live"])
def test_an_answer_that_is_read_a_byte_at_a_time_is_cut_off(port: int, path: str, ended: _Ended) -> None:
    with connected(port) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: console\r\n\r\n".encode())
        wait_until("it is cut off", lambda: client.recv(1) and not is_established(client))
    if path == "/live":
        assert ended.event.wait(PATIENCE), "The stream ends with its connection."


def test_a_client_that_reads_and_sends_steadily_is_answered_whole(port: int) -> None:
    with connected(port) as client:
        for _ in range(12):
            client.sendall(b"POST / HTTP/1.1\r\nHost: console\r\nContent-Length: 2\r\n\r\nxx")
            answer = b""
            while not answer.endswith(b"\r\n\r\n2"):
                chunk = client.recv(65536)
                assert chunk, "The connection goes on."
                answer += chunk
            time.sleep(0.1)  # longer in all than a request may take
        client.sendall(b"GET / HTTP/1.1\r\nHost: console\r\nConnection: close\r\n\r\n")
        read = 0
        while chunk := client.recv(1 << 20):
            read += len(chunk)
        assert read > _LARGE
