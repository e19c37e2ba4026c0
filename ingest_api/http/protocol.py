"""What uvicorn's HTTP lacks: refusals in the form that every answer has, bounds, and less work for each request.

What arrives here are bytes that never become a request: no HTTP, headers that don't end, or don't stop growing. uvicorn
answers the first in plain text without an id, and would wait for ever and remember everything of the others. Trailers
are passed over: they must not add to the headers that a request was judged by. One connection's fault ends that
connection, nobody else's.

A request that is one takes uvicorn's way, but for two things that cost as much as the parser: an answer goes out in one
write, its headers, which are all made here, not searched for what no header may hold; and a body that has come with its
headers is there to be taken, without a wait that could take too long.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final
from urllib.parse import unquote

import httptools
import orjson
import structlog
from starlette.types import Message
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from ingest_api.context import BODY_AT_HAND
from ingest_api.errors import ApiError, ErrorCode
from ingest_api.metrics import REQUESTS
from shared.limits import MAX_BODY_BYTES
from shared.request_id import unaccepted_request_id

log = structlog.get_logger()

#: From a request's first byte to the end of its headers. Before the first byte, the keep-alive timeout counts.
_HEADER_SECONDS: Final = 15.0
#: Bytes that bring neither the end of headers nor any of a body: headers, trailers, a chunk's extensions.
_MOST_FRUITLESS_BYTES: Final = 65_536
#: Twice the largest body: a client that is a little over the limit shall read its 413, not a reset.
_MOST_USELESS_BYTES: Final = 2 * MAX_BODY_BYTES
_END_OF_HEADERS: Final = b"\r\n\r\n"
#: Some clients offer `Upgrade: h2c` on every request, which a server may ignore; the parser would drop the body.
_UPGRADE: Final = re.compile(rb"\r\nupgrade(?=[ \t]*:)", re.IGNORECASE)


class Cycle(RequestResponseCycle):
    """One request and its answer, which is a start and one body."""

    _start: Message

    def body_at_hand(self) -> bytes | None:
        """The whole body, if it has come; None where one must wait for it."""
        if self.more_body or self.disconnected or self.response_complete:
            return None
        body, self.body = bytes(self.body), bytearray()
        return body

    async def send(self, message: Any) -> None:
        """Sends the answer, once its body is known."""
        if message["type"] == "http.response.start":
            self._start = message
            return
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        self.response_started = self.response_complete = True
        pieces, told = [STATUS_LINE[self._start["status"]]], False
        for name, value in (*self.default_headers, *self._start["headers"]):
            pieces += (name, b": ", value, b"\r\n")
            if name == b"connection":  # ours says `close` and nothing else
                told, self.keep_alive = True, False
        pieces += (b"" if self.keep_alive or told else b"connection: close\r\n", b"\r\n", message["body"])
        self.transport.write(b"".join(pieces))
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


class HttpProtocol(HttpToolsProtocol):
    """One connection."""

    _header_timer: asyncio.TimerHandle | None = None
    _in_headers = False
    _in_message = False
    _fruitful = False
    _fruitless_bytes = 0
    #: Bytes of a body that came after its request was answered: refused early, it is read to its end for nothing.
    _useless_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn narrows it too
        """A connection on which nothing is ever asked is closed like one that fell idle."""
        super().connection_made(transport)
        self._header_timer = self.loop.call_later(self.timeout_keep_alive, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """No timer outlives its connection."""
        self._stop_header_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feeds the parser, and bounds what comes without end."""
        self._fruitful = False
        super().data_received(data if self._in_message and not self._in_headers else _without_upgrade(data))
        if self._in_headers and self._header_timer is None:
            self._header_timer = self.loop.call_later(_HEADER_SECONDS, self._refuse, ErrorCode.HEADERS_TIMEOUT)
        self._fruitless_bytes = 0 if self._fruitful else self._fruitless_bytes + len(data)
        if self._fruitless_bytes > _MOST_FRUITLESS_BYTES:
            self._refuse(ErrorCode.HEADERS_TOO_LARGE)
        elif self._in_message and not self._in_headers and self.cycle.response_complete:
            self._pass_over(len(data))
        elif not self._in_message:
            self._keep_alive_for_a_while()

    def _pass_over(self, size: int) -> None:
        """The rest of a body whose request is answered: in its time, and not without end."""
        self._useless_bytes += size
        if self._useless_bytes > _MOST_USELESS_BYTES:
            self.transport.close()
        elif self.timeout_keep_alive_task is None and not self.transport.is_closing():
            # The byte that came has ended the keep-alive timer, which nothing would start again.
            self.timeout_keep_alive_task = self.loop.call_later(_HEADER_SECONDS, self.timeout_keep_alive_handler)

    def _keep_alive_for_a_while(self) -> None:
        """What came has ended the keep-alive timer, and may have begun nothing."""
        cycle = self._cycle()
        if cycle is None or not cycle.response_complete or self.transport.is_closing():
            return
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_message_begin(self) -> None:
        """A request's first byte has come. Where its headers have not ended with what came, a timer is set."""
        super().on_message_begin()
        self._in_message = self._in_headers = True
        self._fruitless_bytes = self._useless_bytes = 0
        self._stop_header_timer()

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; a trailer is passed over."""
        if self._in_headers:
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """From here on the request is the application's."""
        self._in_headers = False
        self._fruitful = True
        self._stop_header_timer()
        parser, scope, url = self.parser, self.scope, httptools.parse_url(self.url)
        version, path = parser.get_http_version(), url.path.decode("ascii")
        scope |= {
            "method": parser.get_method().decode("ascii"),
            "http_version": version,
            "path": unquote(path) if "%" in path else path,
            "raw_path": url.path,
            "query_string": url.query or b"",
        }
        former = self._cycle()
        self.cycle = cycle = Cycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        extensions: Any = {BODY_AT_HAND: cycle.body_at_hand}
        scope["extensions"] = extensions
        if former is None or former.response_complete:
            self._start_asgi_task(cycle, self.app)
        else:
            # Sent ahead, before the former one was answered: it waits for its turn.
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._fruitful = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is here, whole."""
        self._in_message = False
        self._fruitful = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answers what is no HTTP. `msg` is uvicorn's."""
        self._refuse(ErrorCode.BAD_REQUEST, detail=msg)

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _refuse(self, code: ErrorCode, **details: Any) -> None:
        if self.transport.is_closing():
            return
        if self._awaits_an_answer():
            # A whole request came before the fault: its answer goes out first, and is the last one here.
            self.cycle.keep_alive = False
            self.flow.pause_reading()
            return
        request_id, cycle = unaccepted_request_id(), self._cycle()
        # Where a former request waits for its answer, the next one on the wire must not be this one's.
        if not self.pipeline and (cycle is None or not cycle.response_started or cycle.response_complete):
            self.transport.write(_answer(code, request_id))
        if cycle is not None:
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.close()
        REQUESTS.labels("none", str(code.value.status), code.text).inc()
        log.info("connection_refused", request_id=request_id, status=code.value.status, code=code.text, **details)

    def _awaits_an_answer(self) -> bool:
        cycle = self._cycle()
        return cycle is not None and not cycle.more_body and not cycle.response_complete

    def _cycle(self) -> RequestResponseCycle | None:
        """The latest request's; uvicorn declares that there always is one."""
        return self.cycle


def _without_upgrade(data: bytes) -> bytes:
    end_of_head = data.find(_END_OF_HEADERS)
    if data.find(b"pgrade", 0, end_of_head if end_of_head >= 0 else len(data)) < 0:
        return data
    head, end, rest = data.partition(_END_OF_HEADERS)
    # As long as what it replaces: where a head is cut in the middle of its end, a body's length must stay.
    return _UPGRADE.sub(b"\r\nignored", head) + end + rest


def _answer(code: ErrorCode, request_id: str) -> bytes:
    body = orjson.dumps(ApiError(code).payload(request_id))
    return (
        STATUS_LINE[code.value.status]
        + b"content-type: application/json\r\ncontent-length: %d\r\n" % len(body)
        + b"x-request-id: %s\r\nconnection: close\r\n\r\n" % request_id.encode()
        + body
    )
