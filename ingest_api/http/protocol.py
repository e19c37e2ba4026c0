"""One connection: requests in, responses out, in order, within bounds of bytes, requests and time.

`framing` cuts what arrives into requests; each becomes a `Cycle` that runs the application. One request runs at a time,
the next ones wait their turn; if too many wait, or the application has not taken the body at hand, nothing more is
read. A request that is not HTTP/1.1 is refused after those before it were answered, and ends the connection: nothing
behind it can be trusted.

uvicorn supplies the server (sockets, signals, lifespan, graceful shutdown) and calls `shutdown`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import Any, Final, cast

import structlog
from starlette.types import Scope
from uvicorn.config import Config
from uvicorn.server import ServerState

from ingest_api.errors import ApiError, ErrorCode
from ingest_api.http.cycle import Cycle, base_scope
from ingest_api.http.departure import has_closed
from ingest_api.http.framing import RequestStream
from ingest_api.http.responses import refusal
from ingest_api.http.timer import PhaseTimer
from ingest_api.http.writer import ConnectionWriter
from ingest_api.metrics import REQUESTS
from shared.limits import MAX_BODY_BYTES
from shared.request_id import unaccepted_request_id

log = structlog.get_logger()

#: Maximum requests of one connection that wait for their turn; beyond, reading stops.
_MAX_WAITING: Final = 16
#: Maximum bytes of a body that are held before the application takes them.
_MAX_UNREAD_BODY_BYTES: Final = 65_536
#: Time from a request's first byte to the end of its head, in seconds.
_HEAD_SECONDS: Final = 15.0
#: Maximum bytes skipped of a body whose request was answered early: a client a little over the limit reads its 413.
_MAX_SKIPPED_BYTES: Final = 2 * MAX_BODY_BYTES
#: Time in which a body must end whose request was answered early, in seconds.
_SKIP_SECONDS: Final = 60.0


class HttpProtocol(asyncio.Protocol):
    """One connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],  # noqa: ARG002 - uvicorn passes it; the application keeps no state there
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._app: Any = config.loaded_app
        self._loop = _loop or asyncio.get_event_loop()
        self._server_state = server_state
        self._keep_alive_seconds = config.timeout_keep_alive
        self._root_path = config.root_path
        self._base: Scope
        self._transport: asyncio.Transport
        self.writer: ConnectionWriter
        self._stream = RequestStream()
        self._running: Cycle | None = None
        self._waiting: deque[Cycle] = deque()
        #: The cycle whose body is arriving.
        self._receiving: Cycle | None = None
        self._skipped_bytes = 0
        #: Set once a request is refused by its framing: it is answered after those before it.
        self._refusal: ApiError | None = None
        self._reading = True
        self._pauses = False  # while other connections have their turn, in front of the rest of very many chunks
        self._timer = PhaseTimer(self._loop)
        self.is_lost = False
        self._is_half_closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close the connection if nothing is asked on it within the keep-alive time."""
        self._transport = cast("asyncio.Transport", transport)  # a TCP or unix server makes no other
        self.writer = ConnectionWriter(self._transport, self._loop)
        self._server_state.connections.add(self)  # type: ignore[arg-type] # uvicorn names its own protocols
        self._base = base_scope(transport, self._root_path)
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take what has arrived."""
        if self.writer.is_lingering:
            self.writer.discard(len(data))
            return
        self._stream.feed(data)
        self._advance()

    def eof_received(self) -> bool:
        """Keep the connection open for the responses that are due."""
        self._is_half_closed = True
        if self.writer.is_lingering:
            return False
        if self._receiving is not None:
            self._receiving.body_is_cut = True
            self._receiving.wake()
        elif self._refusal is None and not self._stream.in_body and self._stream.pending_bytes:
            self._refuse(ApiError(ErrorCode.BAD_REQUEST, "The request was cut short; send it again, whole."))
        return self._running is not None

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's own signature
        """Release whatever waits for the client."""
        self.is_lost = True
        self._server_state.connections.discard(self)
        self._timer.cancel()
        self.writer.connection_lost()
        self._waiting.clear()
        for cycle in (self._running, self._receiving):
            if cycle is not None:
                cycle.wake()

    def pause_writing(self) -> None:
        """Send nothing more: the client does not read."""
        self.writer.pause()

    def resume_writing(self) -> None:
        """Go on sending."""
        self.writer.resume()

    def shutdown(self) -> None:
        """Close the connection, after the response that is due."""
        if self._running is None:
            self._close_now()
        else:
            self._running.keep_alive = False

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self._transport.write(data)

    def client_left(self) -> bool:
        """Whether the client has closed its sending side, or left; while reading is paused, nothing else tells."""
        return self.is_lost or self._is_half_closed or (not self._reading and has_closed(self._transport))

    def body_wanted(self) -> None:
        """Go on reading: the body at hand was taken."""
        self._advance()

    def response_sent(self, cycle: Cycle) -> None:
        """Start the next request, refuse what follows, or close."""
        self._server_state.total_requests += 1
        self._running = None
        if not cycle.keep_alive:
            self._waiting.clear()
            self._close()
        elif self._waiting:
            self._start(self._waiting.popleft())
            self._advance()
        elif self._refusal is not None:
            self._send_refusal(self._refusal)
        else:
            self._advance()
            if self._is_half_closed and self._running is None:
                self._close_now()

    def _advance(self) -> None:
        """Read on, as far as the bounds allow."""
        try:
            while self._stream.pending_bytes and self._read_on():
                pass
        except ApiError as error:
            self._refuse(error)
        self._watch()

    def _go_on(self) -> None:
        self._pauses = False
        if not self.is_lost:
            self._advance()

    def _read_on(self) -> bool:
        """Take one step through what has arrived. Return False if there is nothing to take now."""
        if self.writer.is_closing or self._refusal is not None or self._pauses:
            return False
        if self._stream.in_body:
            return self._read_body()
        if self._waiting and self._is_full():
            return False
        if (head := self._stream.next_head()) is None:
            return False
        cycle = Cycle(head, self, self._server_state.default_headers)
        if not cycle.body_is_complete:
            self._receiving = cycle
            self._skipped_bytes = 0
            self._read_body()
        if self._running is None:
            self._start(cycle)
        else:
            self._waiting.append(cycle)
        return True

    def _read_body(self) -> bool:
        """Take what has arrived of the current body. Return True if it has ended."""
        cycle = self._receiving
        if self._body_is_unread():
            return False
        try:
            data = self._stream.take_body()
        except ApiError as error:
            if cycle is None or cycle.response_complete:
                self._close()  # its request is answered
                return False
            # The request itself is faulty, so the application refuses it: what came before is answered first.
            cycle.keep_alive, cycle.body_error, self._refusal = False, error, error
            cycle.wake()
            return False
        if cycle is None or cycle.response_complete:
            self._skip(len(data))
        elif data or not self._stream.in_body:
            cycle.body = cycle.body + data if cycle.body else data
            cycle.body_is_complete = not self._stream.in_body
            cycle.wake()
        if self._stream.in_body:
            if self._stream.has_more:
                self._pauses = True
                self._loop.call_soon(self._go_on)
            return False
        self._receiving = None
        return True

    def _skip(self, size: int) -> None:
        """Count bytes of a body whose request is answered; a body without end is cut off."""
        self._skipped_bytes += size
        if self._skipped_bytes > _MAX_SKIPPED_BYTES:
            self._close_now()

    def _start(self, cycle: Cycle) -> None:
        self._running = cycle
        task = self._loop.create_task(self._app(cycle.scope(self._base), cycle.receive, cycle.send))
        self._server_state.tasks.add(task)
        task.add_done_callback(partial(self._ended, cycle))

    def _ended(self, cycle: Cycle, task: asyncio.Task[None]) -> None:
        self._server_state.tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("request_crashed", exc_info=error)
        if not cycle.response_complete or error is not None:
            self._transport.abort()  # the next response would be taken for this one

    def _watch(self) -> None:
        """Pause or resume reading, and keep the timer that fits what is awaited."""
        if self.writer.is_closing:
            return
        wanted = not (self._refusal or self._pauses or (self._waiting and self._is_full()) or self._body_is_unread())
        if wanted != self._reading:
            self._reading = wanted
            (self._transport.resume_reading if wanted else self._transport.pause_reading)()
        if self._running is not None:
            self._timer.stop()  # the application has timeouts of its own
        elif self._stream.in_body:
            self._timer.start("skip", _SKIP_SECONDS, self._close_now)
        elif self._stream.in_head():
            self._timer.start("head", _HEAD_SECONDS, self._refuse_slow_head)
        else:
            self._timer.start("idle", self._keep_alive_seconds, self._close_now)

    def _is_full(self) -> bool:
        """Whether the requests that wait are many, or their bodies large: no other is taken."""
        waiting = self._waiting
        return len(waiting) >= _MAX_WAITING or sum(len(one.body) for one in waiting) > _MAX_UNREAD_BODY_BYTES

    def _body_is_unread(self) -> bool:
        cycle = self._receiving
        return cycle is not None and not cycle.response_complete and len(cycle.body) > _MAX_UNREAD_BODY_BYTES

    def _refuse_slow_head(self) -> None:
        self._refuse(ApiError(ErrorCode.HEADERS_TIMEOUT))

    def _refuse(self, error: ApiError) -> None:
        """Refuse what can't be taken for a request, once the requests before it are answered."""
        if self._refusal is None:
            self._refusal = error
            if self._running is None:
                self._send_refusal(error)

    def _send_refusal(self, error: ApiError) -> None:
        request_id, status, code = unaccepted_request_id(), error.code.value.status, error.code.text
        self.write(refusal(error, request_id))
        REQUESTS.labels("none", str(status), code).inc()
        log.info("connection_refused", request_id=request_id, status=status, code=code, message=error.message)
        self._close()

    def _close(self) -> None:
        """Close after the last response."""
        self._timer.stop()
        if not (self._reading or self.writer.is_closing):
            self._transport.resume_reading()
        self.writer.finish(reads=not self._is_half_closed)

    def _close_now(self) -> None:
        self._timer.stop()
        self.writer.close()
