"""The HTTP server's own refusals, in the form that every answer has; and bounds on headers, which it has none for.

What arrives here are bytes that never become a request: no HTTP, headers that don't end, or don't stop growing. uvicorn
answers the first in plain text without an id, and would wait for ever and remember everything of the others. One
connection's fault ends that connection, nobody else's.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import orjson
import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from ingest_api.refusals import Code
from shared.request_id import unaccepted_request_id

log = structlog.get_logger()

#: From a request's first byte to the end of its headers. Before the first byte, the keep-alive timeout counts.
_HEADER_SECONDS: Final = 15.0
_MOST_HEADER_BYTES: Final = 65_536


class HttpProtocol(HttpToolsProtocol):
    """One connection."""

    _header_timer: asyncio.TimerHandle | None = None
    #: Bytes of the request whose headers are still coming; None between requests and while a body comes.
    _header_bytes: int | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn narrows it too
        """A connection on which nothing is ever asked is closed like one that fell idle."""
        super().connection_made(transport)
        self._header_timer = self.loop.call_later(self.timeout_keep_alive, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """No timer outlives its connection."""
        self._stop_header_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feeds the parser; refuses headers that have grown too large."""
        super().data_received(data)
        if self._header_bytes is None:
            return
        self._header_bytes += len(data)
        if self._header_bytes > _MOST_HEADER_BYTES:
            self._refuse(Code.HEADERS_TOO_LARGE)

    def on_message_begin(self) -> None:
        """A request's first byte has come: its headers have so long to end."""
        super().on_message_begin()
        self._header_bytes = 0
        self._stop_header_timer()
        self._header_timer = self.loop.call_later(_HEADER_SECONDS, self._refuse, Code.HEADERS_TIMEOUT)

    def on_headers_complete(self) -> None:
        """From here on the request is the application's."""
        self._header_bytes = None
        self._stop_header_timer()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Answers what is no HTTP. `msg` is uvicorn's."""
        self._refuse(Code.BAD_REQUEST, detail=msg)

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _refuse(self, code: Code, **details: Any) -> None:
        self._header_bytes = None
        if self.transport.is_closing():
            return
        request_id = unaccepted_request_id()
        rule = code.value
        error = {"code": code.text, "message": rule.meaning}
        body = orjson.dumps({"status": "error", "requestId": request_id, "error": error})
        head = (
            b"content-type: application/json\r\ncontent-length: %d\r\nx-request-id: %s\r\nconnection: close\r\n\r\n"
            % (len(body), request_id.encode())
        )
        self.transport.write(STATUS_LINE[rule.status] + head + body)
        self.transport.close()
        log.info("connection_refused", request_id=request_id, status=rule.status, code=code.text, **details)
