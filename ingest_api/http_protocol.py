"""The HTTP server's own refusals, in the form that every answer has; and bounds that it lacks.

What arrives here are bytes that never become a request: no HTTP, headers that don't end, or don't stop growing. uvicorn
answers the first in plain text without an id, and would wait for ever and remember everything of the others. Trailers
are passed over: they must not add to the headers that a request was judged by. One connection's fault ends that
connection, nobody else's.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any, Final

import orjson
import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from ingest_api.metrics import REQUESTS
from ingest_api.refusals import Code, Refusal
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
_UPGRADE: Final = re.compile(rb"\r\nupgrade[ \t]*:", re.IGNORECASE)


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
        self._fruitless_bytes = 0 if self._fruitful else self._fruitless_bytes + len(data)
        if self._fruitless_bytes > _MOST_FRUITLESS_BYTES:
            self._refuse(Code.HEADERS_TOO_LARGE)
        elif self._in_message and not self._in_headers and self.cycle.response_complete:
            self._pass_over(len(data))

    def _pass_over(self, size: int) -> None:
        """The rest of a body whose request is answered: in its time, and not without end."""
        self._useless_bytes += size
        if self._useless_bytes > _MOST_USELESS_BYTES:
            self.transport.close()
        elif self.timeout_keep_alive_task is None and not self.transport.is_closing():
            # The byte that came has ended the keep-alive timer, which nothing would start again.
            self.timeout_keep_alive_task = self.loop.call_later(_HEADER_SECONDS, self.timeout_keep_alive_handler)

    def on_message_begin(self) -> None:
        """A request's first byte has come: its headers have so long to end."""
        super().on_message_begin()
        self._in_message = self._in_headers = True
        self._fruitless_bytes = self._useless_bytes = 0
        self._stop_header_timer()
        self._header_timer = self.loop.call_later(_HEADER_SECONDS, self._refuse, Code.HEADERS_TIMEOUT)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; a trailer is passed over."""
        if self._in_headers:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """From here on the request is the application's."""
        self._in_headers = False
        self._fruitful = True
        self._stop_header_timer()
        super().on_headers_complete()

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
        self._refuse(Code.BAD_REQUEST, detail=msg)

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _refuse(self, code: Code, **details: Any) -> None:
        if self.transport.is_closing():
            return
        if self._awaits_an_answer():
            # A whole request came before the fault: its answer goes out first, and is the last one here.
            self.cycle.keep_alive = False
            self.flow.pause_reading()
            return
        request_id, cycle = unaccepted_request_id(), self._cycle()
        if cycle is None or not cycle.response_started or cycle.response_complete:
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
    if b"pgrade" not in data:
        return data
    head, end, rest = data.partition(_END_OF_HEADERS)
    return _UPGRADE.sub(b"\r\nx-ignored-upgrade:", head) + end + rest


def _answer(code: Code, request_id: str) -> bytes:
    body = orjson.dumps(Refusal(code).payload(request_id))
    return (
        STATUS_LINE[code.value.status]
        + b"content-type: application/json\r\ncontent-length: %d\r\n" % len(body)
        + b"x-request-id: %s\r\nconnection: close\r\n\r\n" % request_id.encode()
        + body
    )
