"""However the bytes of a connection are cut, the same requests are answered, in order, with the same bodies."""

from __future__ import annotations

import asyncio
import functools
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.server import ServerState

from ingest_api.context import RECEIVED_BODY
from ingest_api.errors import ApiError
from ingest_api.http.protocol import HttpProtocol

INNER = b"POST /smuggled HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"


def request(
    *headers: bytes, body: bytes = b"", start: bytes = b"POST /echo HTTP/1.1", host: bytes = b"Host: a"
) -> bytes:
    return b"\r\n".join((start, *filter(None, (host,)), *headers)) + b"\r\n\r\n" + body


def sized(body: bytes, *headers: bytes, **parts: bytes) -> bytes:
    return request(*headers, b"Content-Length: %d" % len(body), body=body, **parts)


def chunked(body: bytes, *headers: bytes, size: int = 7, end: bytes = b"0\r\n\r\n") -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return request(
        *headers,
        b"Transfer-Encoding: chunked",
        body=b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in pieces) + end,
    )


class Transport(asyncio.Transport):
    """What the protocol writes, and whether it is open."""

    def __init__(self, protocol: HttpProtocol) -> None:
        super().__init__()
        self.written = bytearray()
        self.closing = False
        self.eof = False
        self.paused = False
        self._protocol = protocol

    def write(self, data: Any) -> None:
        assert not self.eof
        assert not self.closing
        self.written += data

    def write_eof(self) -> None:
        self.eof = True

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        self.closing = True

    abort = close

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        assert not self.paused
        self.paused = True

    def resume_reading(self) -> None:
        assert self.paused
        self.paused = False


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the request's path and body, like the application: at once if the body is at hand."""
    status = 200
    try:
        body = scope["extensions"][RECEIVED_BODY]()
        if body is None:
            body = b""
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                body += message["body"]
                more = message["more_body"]
    except ApiError as error:
        status, body = error.code.value.status, b""
    await asyncio.sleep(0)
    told = json.dumps([scope["path"], body.decode("latin-1")]).encode()
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"%d" % len(told))]})
    await send({"type": "http.response.body", "body": told})


@functools.cache
def _config() -> Config:
    config = Config(echo, log_config=None)
    config.load()
    return config


async def _exchange(pieces: list[bytes]) -> tuple[list[tuple[str, Any]], bool]:
    protocol = HttpProtocol(_config(), ServerState(), {})
    transport = Transport(protocol)
    protocol.connection_made(transport)
    for piece in pieces:
        if transport.closing:
            break
        protocol.data_received(piece)
        for _ in range(3):
            await asyncio.sleep(0)
    quiet = 0
    while quiet < 5:
        before = len(transport.written)
        await asyncio.sleep(0)
        quiet = quiet + 1 if len(transport.written) == before else 0
    closed = transport.closing or transport.eof
    protocol.connection_lost(None)
    return _answers(bytes(transport.written)), closed


def exchange(pieces: list[bytes]) -> tuple[list[tuple[str, Any]], bool]:
    """The answers to what is sent in these pieces, and whether the connection was closed after them."""
    return _loop().run_until_complete(_exchange(pieces))


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


@pytest.fixture(scope="module", autouse=True)
def loop_is_closed() -> Iterator[None]:
    yield
    _loop().close()


def _answers(written: bytes) -> list[tuple[str, Any]]:
    found = []
    while written:
        head, _, rest = written.partition(b"\r\n\r\n")
        status = head.split(b" ")[1].decode()
        length = re.search(rb"content-length: (\d+)", head)
        size = int(length[1]) if length else 0
        body = json.loads(rest[:size]) if size else None
        found.append((status, body["error"]["code"] if isinstance(body, dict) else body))
        written = rest[size:]
    return found


GOOD = [
    sized(b"one"),
    sized(INNER, b"Connection: Upgrade", b"Upgrade: foo"),
    request(
        b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAE", start=b"GET /plain HTTP/1.1"
    ),
    chunked(INNER),
    chunked(INNER, b"Connection: upgrade", b"upgrade: foo", size=50, end=b"0\r\nTrailer: x\r\n\r\n"),
    request(start=b"GET /get?x=1 HTTP/1.1"),
    b"\r\n" + sized(b"two\r\n\r\n"),
]
#: Requests that end their connection by their own word.
LAST = [
    request(b"Connection: close", start=b"GET /plain HTTP/1.1"),
    request(b"Connection: close", b"Content-Length: 0", start=b"GET /plain HTTP/1.1"),
    request(b"Connection: te, Close", b"TE: trailers", start=b"GET /plain HTTP/1.1"),
    request(b"Connection: te", b"Connection: close", start=b"GET /plain HTTP/1.1"),
    request(start=b"GET /plain HTTP/1.0"),
    sized(b"", b"Connection: close", start=b"POST /plain HTTP/1.1"),
]
WANTED = [
    ("200", ["/echo", "one"]),
    ("200", ["/echo", INNER.decode()]),
    ("200", ["/plain", ""]),
    ("200", ["/echo", INNER.decode()]),
    ("200", ["/echo", INNER.decode()]),
    ("200", ["/get", ""]),
    ("200", ["/echo", "two\r\n\r\n"]),
]
FAULTY = {
    "both lengths": request(b"Content-Length: 3", b"Transfer-Encoding: chunked", body=b"abc"),
    "two lengths": request(b"Content-Length: 3", b"Content-Length: 3", body=b"abc"),
    "an unknown coding": request(b"Transfer-Encoding: x", body=b"abc"),
    "a coding before chunked": request(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "chunks in HTTP/1.0": request(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n", start=b"POST /echo HTTP/1.0"),
    "a folded header": request(b"X: a\r\n b"),
    "no host": request(host=b""),
    "two hosts": request(b"Host: b"),
    "another version": request(start=b"GET / HTTP/2.0"),
    "another protocol": request(start=b"POST / RTSP/1.0"),
    "no version": b"GET /\r\n\r\n",
    "garbage": b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
    "a bare line feed": b"GET / HTTP/1.1\nHost: a\n\n",
    "a length of too many digits": request(b"Content-Length: " + b"0" * 5_000 + b"3", body=b"abc"),
    "headers over 64 KB": request(b"X: " + b"y" * 70_000),
}
BAD_CHUNKS = [
    b"zz\r\nabc",
    b"3\r\nabcd\r\n0\r\n\r\n",
    b"-1\r\n",
    b"3 \r\nabc\r\n",
    b"123456789\r\n",
    b"\r\n",
    b"3\nabc\n0\n\n",
    b"0\r\nX: a\n\r\nGET /swallowed HTTP/1.1\r\nHost: a\r\n\r\n",
    b"0\r\n\n\r\n",
    b"0\r\n\0\r\n\r\n",
    b"0\r\nno colon\r\n\r\n",
    b"0\r\nX : a\r\n\r\n",
]


def cuts(data: bytes) -> Iterator[list[bytes]]:
    """The data in two pieces, cut at each position."""
    for at in range(1, len(data)):
        yield [data[:at], data[at:]]


@pytest.mark.parametrize("number", range(len(GOOD)))
def test_a_request_cut_at_any_position_is_answered_like_one_that_is_whole(number: int) -> None:
    following = GOOD[0]
    for pieces in cuts(GOOD[number] + following):
        assert exchange(pieces) == ([WANTED[number], WANTED[0]], False)


@pytest.mark.parametrize("sent", LAST)
def test_a_request_that_asks_to_close_is_the_last_one(sent: bytes) -> None:
    for pieces in ([sent], [GOOD[0] + sent + GOOD[0]], *cuts(sent)):
        answers, closed = exchange(pieces)
        assert answers[-1] == ("200", ["/plain", ""])
        assert closed


def test_large_bodies_that_wait_their_turn_are_answered_in_order() -> None:
    large = sized(b"x" * 40_000)
    assert exchange([large * 16]) == ([("200", ["/echo", "x" * 40_000])] * 16, False)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, len(GOOD) - 1), min_size=1, max_size=20), st.data())
def test_any_sequence_cut_anywhere_is_answered_in_order(numbers: list[int], data: st.DataObject) -> None:
    sent = b"".join(GOOD[number] for number in numbers)
    places = sorted(data.draw(st.sets(st.integers(0, len(sent)), max_size=20)))
    pieces = [sent[start:end] for start, end in zip([0, *places], [*places, len(sent)], strict=True)]

    assert exchange([piece for piece in pieces if piece]) == ([WANTED[number] for number in numbers], False)


@pytest.mark.parametrize("name", FAULTY)
def test_what_came_before_a_faulty_request_is_answered_first_and_the_connection_ends(name: str) -> None:
    sent = GOOD[0] + GOOD[3] + FAULTY[name] + GOOD[0]
    code = "headers_too_large" if name == "headers over 64 KB" else "bad_request"
    wanted = ([WANTED[0], WANTED[3], ("400", code)], True)

    assert exchange([sent]) == wanted
    size = len(sent)
    # A long run of one byte is cut at some positions only.
    for at in sorted({*range(1, min(size, 400)), *range(1, size, 4_999), *range(max(1, size - 200), size)}):
        assert exchange([sent[:at], sent[at:]]) == wanted, at
    assert exchange([bytes([one]) for one in sent]) == wanted if size < 10_000 else True


@pytest.mark.parametrize("chunks", BAD_CHUNKS)
def test_a_faulty_chunk_is_refused_as_the_fault_of_its_own_request(chunks: bytes) -> None:
    sent = GOOD[0] + request(b"Transfer-Encoding: chunked", body=b"2\r\nab\r\n" + chunks) + GOOD[0]
    wanted = ([WANTED[0], ("400", ["/echo", ""])], True)

    assert exchange([sent]) == wanted
    for pieces in cuts(sent):
        assert exchange(pieces) == wanted


@pytest.mark.parametrize(("size", "code"), [(65_536, "200"), (65_537, "400")])
def test_headers_may_have_64_kb_exactly(size: int, code: str) -> None:
    head = request(b"X: ")
    sent = request(b"X: " + b"y" * (size - len(head)))
    assert len(sent) == size

    for pieces in ([sent], [sent[:4000], sent[4000:]], [sent[:-1], sent[-1:]], [GOOD[0] + sent]):
        answers, _ = exchange(pieces)
        assert answers[-1][0] == code
