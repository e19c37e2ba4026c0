"""uvicorn's HTTP protocol with errors in our form, bounds on what an unauthenticated client may send, and less work.

Bytes that never become a request end here: no valid HTTP, headers that do not end or grow without bound. uvicorn
answers the first in plain text without a request id, and waits forever for the others while holding all of their
bytes. Trailers are dropped, since the request was accepted by its headers. An error ends its own connection only.

Two steps that cost as much as the parser are replaced: an answer is sent in one write, without searching our own
headers for forbidden characters; and a body that arrived with its headers is passed on without a wait and its timer.

Private parts of uvicorn are used throughout: see tests/unit/test_private_parts.py.
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

from ingest_api.context import RECEIVED_BODY
from ingest_api.errors import ApiError, ErrorCode
from ingest_api.metrics import REQUESTS
from shared.limits import MAX_BODY_BYTES
from shared.request_id import unaccepted_request_id

log = structlog.get_logger()

#: Maximum time from a request's first byte to the end of its headers, in seconds. Before it, keep-alive applies.
_HEADER_SECONDS: Final = 15.0
#: Maximum bytes received without completing the headers or yielding body data: headers, trailers, chunk extensions.
_MAX_BYTES_WITHOUT_PROGRESS: Final = 65_536
#: Maximum bytes of a refused body that are discarded; twice the largest body, so that a client over the limit can
#: read its 413 instead of a reset.
_MAX_DISCARDED_BYTES: Final = 2 * MAX_BODY_BYTES
_END_OF_HEADERS: Final = b"\r\n\r\n"
#: Some clients offer `Upgrade: h2c` with every request. A server may ignore it, but the parser would drop the body.
_UPGRADE: Final = re.compile(rb"\r\nupgrade(?=[ \t]*:)", re.IGNORECASE)


class Cycle(RequestResponseCycle):
    """One request and its answer, which consists of a start message and one body message."""

    _start: Message

    def received_body(self) -> bytes | None:
        """Return the whole body if it has arrived; None if the application must wait for it."""
        if self.more_body or self.disconnected or self.response_complete:
            return None
        body, self.body = bytes(self.body), bytearray()
        return body

    async def send(self, message: Any) -> None:
        """Send the answer in one write, once its body is known."""
        if message["type"] == "http.response.start":
            self._start = message
            return
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        self.response_started = self.response_complete = True
        pieces, has_close = [STATUS_LINE[self._start["status"]]], False
        for name, value in (*self.default_headers, *self._start["headers"]):
            pieces += (name, b": ", value, b"\r\n")
            if name == b"connection":  # our answers set it to `close` only
                has_close, self.keep_alive = True, False
        pieces += (b"" if self.keep_alive or has_close else b"connection: close\r\n", b"\r\n", message["body"])
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
    _made_progress = False
    _bytes_without_progress = 0
    #: Bytes of a body that arrived after its request was answered.
    _discarded_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn narrows it too
        """Start the timeout of a connection that sends no request, as for one that is idle."""
        super().connection_made(transport)
        self._header_timer = self.loop.call_later(self.timeout_keep_alive, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timer."""
        self._stop_header_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and end the connection if a bound is exceeded."""
        self._made_progress = False
        super().data_received(data if self._in_message and not self._in_headers else _without_upgrade(data))
        if self._in_headers and self._header_timer is None:
            self._header_timer = self.loop.call_later(_HEADER_SECONDS, self._end_with_error, ErrorCode.HEADERS_TIMEOUT)
        self._bytes_without_progress = 0 if self._made_progress else self._bytes_without_progress + len(data)
        if self._bytes_without_progress > _MAX_BYTES_WITHOUT_PROGRESS:
            self._end_with_error(ErrorCode.HEADERS_TOO_LARGE)
        elif self._in_message and not self._in_headers and self.cycle.response_complete:
            self._discard(len(data))
        elif not self._in_message:
            self._restart_keep_alive()

    def _discard(self, size: int) -> None:
        """Count the rest of a body whose request is answered, within bounds of size and time."""
        self._discarded_bytes += size
        if self._discarded_bytes > _MAX_DISCARDED_BYTES:
            self.transport.close()
        elif self.timeout_keep_alive_task is None and not self.transport.is_closing():
            # uvicorn has cancelled its keep-alive timer on this data and will not start it again.
            self.timeout_keep_alive_task = self.loop.call_later(_HEADER_SECONDS, self.timeout_keep_alive_handler)

    def _restart_keep_alive(self) -> None:
        """Start the keep-alive timer again if the data that cancelled it began no request."""
        cycle = self._cycle()
        if cycle is None or not cycle.response_complete or self.transport.is_closing():
            return
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def on_message_begin(self) -> None:
        """Note a request's first byte; `data_received` starts a timer if the headers have not ended."""
        super().on_message_begin()
        self._in_message = self._in_headers = True
        self._bytes_without_progress = self._discarded_bytes = 0
        self._stop_header_timer()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a header; drop a trailer."""
        if self._in_headers:
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Start the application, or queue the request behind the ones before it."""
        self._in_headers = False
        self._made_progress = True
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
        previous = self._cycle()
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
        extensions: Any = {RECEIVED_BODY: cycle.received_body}
        scope["extensions"] = extensions
        if previous is None or previous.response_complete:
            self._start_asgi_task(cycle, self.app)
        else:
            # Pipelined: the request before it has no answer yet.
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

    def on_body(self, body: bytes) -> None:
        """Store a part of the body."""
        self._made_progress = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note the end of the request."""
        self._in_message = False
        self._made_progress = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are not valid HTTP; uvicorn gives its reason in `msg`."""
        self._end_with_error(ErrorCode.BAD_REQUEST, detail=msg)

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _end_with_error(self, code: ErrorCode, **details: Any) -> None:
        if self.transport.is_closing():
            return
        if self._has_unanswered_request():
            # A whole request came before the error: its answer is sent first and is the last on this connection.
            self.cycle.keep_alive = False
            self.flow.pause_reading()
            return
        request_id, cycle = unaccepted_request_id(), self._cycle()
        # While an earlier request has no answer, the client would take this error for that answer.
        if not self.pipeline and (cycle is None or not cycle.response_started or cycle.response_complete):
            self.transport.write(_answer(code, request_id))
        if cycle is not None:
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.close()
        REQUESTS.labels("none", str(code.value.status), code.text).inc()
        log.info("connection_refused", request_id=request_id, status=code.value.status, code=code.text, **details)

    def _has_unanswered_request(self) -> bool:
        cycle = self._cycle()
        return cycle is not None and not cycle.more_body and not cycle.response_complete

    def _cycle(self) -> RequestResponseCycle | None:
        """Return the latest request's cycle, if any; uvicorn's type says that there always is one."""
        return self.cycle


def _without_upgrade(data: bytes) -> bytes:
    end_of_head = data.find(_END_OF_HEADERS)
    if data.find(b"pgrade", 0, end_of_head if end_of_head >= 0 else len(data)) < 0:
        return data
    head, end, rest = data.partition(_END_OF_HEADERS)
    # As long as what it replaces, so that a body keeps its length if the end of its head came in an earlier read.
    return _UPGRADE.sub(b"\r\nignored", head) + end + rest


def _answer(code: ErrorCode, request_id: str) -> bytes:
    body = orjson.dumps(ApiError(code).payload(request_id))
    return (
        STATUS_LINE[code.value.status]
        + b"content-type: application/json\r\ncontent-length: %d\r\n" % len(body)
        + b"x-request-id: %s\r\nconnection: close\r\n\r\n" % request_id.encode()
        + body
    )
