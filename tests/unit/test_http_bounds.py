"""A connection is bounded in time, in bytes and in what it waits for, whatever the client sends or does not send."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, cast

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.server import ServerState

from ingest_api.context import CLIENT_LEFT, query_parameter
from ingest_api.http.protocol import HttpProtocol
from tests.unit.test_http_framing import Transport, request, sized

KB = 1024


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose clock can be put forward."""

    _forward = 0.0

    def time(self) -> float:
        return super().time() + self._forward

    async def pass_time(self, seconds: float) -> None:
        """Put the clock forward, and run what is due by then."""
        self._forward += seconds
        await settle()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def now() -> Loop:
    return cast("Loop", asyncio.get_running_loop())


@pytest.fixture
def run() -> Callable[[Coroutine[Any, Any, None]], None]:
    def run_on_own_loop(test: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(test)

    return run_on_own_loop


class SocketTransport(Transport):
    """A transport with a socket, from which it does not read."""

    socket: socket.socket | None = None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.socket if name == "socket" else super().get_extra_info(name, default)


class Connection:
    """A protocol that serves an application, and its transport."""

    def __init__(self, application: ASGIApp) -> None:
        config = Config(application, log_config=None, timeout_keep_alive=75)
        config.load()
        # uvicorn's wrappers are not the subject.
        config.loaded_app = application
        self.protocol = HttpProtocol(config, ServerState(), {})
        self.transport = SocketTransport(self.protocol)
        self.protocol.connection_made(self.transport)

    async def send(self, data: bytes) -> None:
        self.protocol.data_received(data)
        await settle()

    def is_paused(self) -> bool:
        return self.transport.paused

    @property
    def answers(self) -> int:
        return self.transport.written.count(b"HTTP/1.1 ")


@contextlib.asynccontextmanager
async def connected(application: ASGIApp) -> AsyncIterator[Connection]:
    connection = Connection(application)
    yield connection
    connection.protocol.connection_lost(None)
    await settle()


async def respond(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


async def answer_at_once(_scope: Scope, _receive: Receive, send: Send) -> None:
    await respond(send)


def answering_after(ended: Awaitable[object]) -> ASGIApp:
    async def application(_scope: Scope, _receive: Receive, send: Send) -> None:
        await ended
        await respond(send)

    return application


Run = Callable[[Coroutine[Any, Any, None]], None]


def test_empty_lines_between_requests_keep_no_connection_open(run: Run) -> None:
    async def test() -> None:
        async with connected(answer_at_once) as connection:
            await connection.send(request())
            for _ in range(7):
                await now().pass_time(10)
                await connection.send(b"\r\n")
            assert (connection.answers, connection.transport.closing) == (1, False)
            await now().pass_time(10)
            assert connection.transport.is_closing()

    run(test())


def test_an_idle_connection_lasts_anew_after_each_request(run: Run) -> None:
    async def test() -> None:
        async with connected(answer_at_once) as connection:
            for number in range(3):
                await connection.send(request())
                await now().pass_time(70)
                assert (connection.answers, connection.transport.closing) == (number + 1, False)

    run(test())


def test_the_skipped_body_of_an_answered_request_has_a_time_in_all(run: Run) -> None:
    async def test() -> None:
        async with connected(answer_at_once) as connection:
            await connection.send(request(b"Content-Length: 1000000", body=b"x"))
            assert connection.answers == 1
            for _ in range(5):
                await now().pass_time(11)
                await connection.send(b"x" * KB)
            assert not connection.transport.closing
            await now().pass_time(11)
            assert connection.transport.is_closing()

    run(test())


def test_a_skipped_body_that_ends_in_time_is_followed_by_the_next_request(run: Run) -> None:
    async def test() -> None:
        async with connected(answer_at_once) as connection:
            await connection.send(request(b"Content-Length: 2000", body=b"x"))
            await now().pass_time(50)
            await connection.send(b"x" * 1999 + request())
            await now().pass_time(50)
            assert (connection.answers, connection.transport.closing) == (2, False)

    run(test())


def test_an_idle_connection_holds_nothing_of_what_it_read(run: Run) -> None:
    async def test() -> None:
        async with connected(answer_at_once) as connection:
            for sent in (sized(b"x" * 50 * KB), sized(b"x") * 3 + b"\r\n" * 100):
                await connection.send(sent)
                assert connection.protocol._stream._data == b""  # noqa: SLF001 - nothing else shows it

    run(test())


def test_an_application_that_does_not_answer_ends_the_connection(run: Run) -> None:
    async def forgets(_scope: Scope, _receive: Receive, _send: Send) -> None:
        pass

    async def test() -> None:
        async with connected(forgets) as connection:
            await connection.send(request() + request())
            assert connection.transport.closing
            assert connection.answers == 0

    run(test())


@pytest.mark.parametrize(("size", "taken"), [(60 * KB, 2), (30 * KB, 3), (1, 16)])
def test_bodies_behind_a_running_request_are_bounded(run: Run, size: int, taken: int) -> None:
    async def test() -> None:
        ended = now().create_future()
        async with connected(answering_after(asyncio.shield(ended))) as connection:
            await connection.send(request())
            sent = 0
            while not connection.is_paused():
                await connection.send(sized(b"x" * size))
                sent += 1
            assert sent == taken
            ended.set_result(None)
            await settle()
            await settle()
            assert not connection.is_paused()
            assert connection.answers == 1 + sent

    run(test())


@pytest.mark.parametrize("leaves", [True, False])
def test_a_client_that_leaves_while_nothing_is_read_from_it_is_noticed(run: Run, *, leaves: bool) -> None:
    async def test() -> None:
        ended = now().create_future()
        asked: list[Scope] = []

        async def asks(scope: Scope, _receive: Receive, send: Send) -> None:
            asked.append(scope)
            await ended
            await respond(send)

        here, there = socket.socketpair()
        with here, there:
            async with connected(asks) as connection:
                connection.transport.socket = here
                await connection.send(request() * 20)
                assert connection.transport.paused
                left = asked[0]["extensions"][CLIENT_LEFT]
                there.sendall(request())
                assert not left()
                if leaves:
                    there.close()
                else:
                    there.shutdown(socket.SHUT_WR)
                assert left()
                ended.set_result(None)

    run(test())


@pytest.mark.parametrize("is_read", [True, False])
def test_very_many_chunks_leave_turns_to_others(run: Run, *, is_read: bool) -> None:
    async def test() -> None:
        received, turns = bytearray(), list[bool]()

        async def reads(_scope: Scope, receive: Receive, send: Send) -> None:
            more = is_read
            while more:
                message = await receive()
                received.extend(message["body"])
                more = message["more_body"]
            await respond(send)

        async def watch(connection: Connection) -> None:
            while connection.answers < 2 or connection.is_paused():
                turns.append(connection.is_paused())
                await asyncio.sleep(0)

        async with connected(reads) as connection:
            chunks = b"1\r\nx\r\n" * 20_000 + b"0\r\n\r\n"
            connection.protocol.data_received(request(b"Transfer-Encoding: chunked", body=chunks) + request(b"A: b"))
            await asyncio.wait_for(watch(connection), 60)
            assert sum(turns) >= 9  # nothing more is read meanwhile
            assert len(received) == (20_000 if is_read else 0)

    run(test())


def test_a_long_query_is_not_read_through() -> None:
    for before in (b"", b"a&" * 32_000, b"idField=a&"):
        assert query_parameter({"query_string": before + b"id%46ield=%2Fb"}, "idField", "id") == "/b"
    assert query_parameter({"query_string": b"a&" * 32_000}, "idField", "id") == "id"
