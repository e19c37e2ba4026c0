"""The sending side of a connection: responses out, within a limited time, and an end that loses no response."""

from __future__ import annotations

import asyncio
import select
from typing import Final

from shared.limits import MAX_BODY_BYTES

#: Time in which a client must read what it is sent, in seconds; afterwards the connection is cut.
_WRITE_SECONDS: Final = 30.0
#: After a last response, seconds and bytes for which what still arrives is discarded, so that the client can read the
#: response: closing on unread bytes would reset the connection. The bytes are those of any body, and as many again.
_LINGER_SECONDS: Final = 5.0
_LINGER_BYTES: Final = 2 * MAX_BODY_BYTES
#: The client has closed its sending side; elsewhere than on Linux only a broken connection shows.
_POLLRDHUP: Final = getattr(select, "POLLRDHUP", 0)


class ConnectionWriter:
    """Sends on one transport."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._writable: asyncio.Future[None] | None = None
        self._abort_timer: asyncio.TimerHandle | None = None
        self._linger_timer: asyncio.TimerHandle | None = None
        self._discarded_bytes = 0
        #: Whether the last response was sent, and what arrives is discarded.
        self.is_lingering = False

    @property
    def is_closing(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._transport.is_closing() or self.is_lingering

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self._transport.write(data)

    def is_paused(self) -> bool:
        """Whether the client does not read what it is sent."""
        return self._writable is not None

    def client_hung_up(self) -> bool:
        """Whether the client has closed its side or left, as the system knows it; for while nothing is read."""
        socket = self._transport.get_extra_info("socket")
        if socket is None or socket.fileno() < 0:
            return self._transport.is_closing()
        poll = select.poll()
        poll.register(socket.fileno(), _POLLRDHUP)
        return bool(poll.poll(0))

    async def writable(self) -> None:
        """Wait until the client has read enough of what was sent."""
        if self._writable is not None:
            await asyncio.shield(self._writable)

    def pause(self) -> None:
        """Let `writable` wait: the client does not read. Cut it off if that lasts."""
        if self._writable is None:
            self._writable = self._loop.create_future()
            self._limit_time()

    def resume(self) -> None:
        """Let `writable` return."""
        if self._abort_timer is not None and not self._transport.is_closing():
            self._abort_timer.cancel()
            self._abort_timer = None
        if self._writable is not None:
            self._writable.set_result(None)
            self._writable = None

    def finish(self, *, reads: bool) -> None:
        """Close after the last response. `reads`: the client may still be sending; discard that for a moment."""
        if self.is_closing:
            return
        if not reads or not self._transport.can_write_eof():
            self.close()
            return
        self._transport.write_eof()
        self.is_lingering = True
        self._linger_timer = self._loop.call_later(_LINGER_SECONDS, self.close)

    def discard(self, size: int) -> None:
        """Count bytes that arrived after the last response; close if they don't end."""
        self._discarded_bytes += size
        if self._discarded_bytes > _LINGER_BYTES:
            self.close()

    def close(self) -> None:
        """Close, and cut the connection if the client does not read what is left."""
        self._transport.close()
        self._limit_time()

    def connection_lost(self) -> None:
        """Stop all timers and waits."""
        for timer in (self._abort_timer, self._linger_timer):
            if timer is not None:
                timer.cancel()
        self._abort_timer = None
        self.resume()

    def _limit_time(self) -> None:
        if self._abort_timer is None:
            self._abort_timer = self._loop.call_later(_WRITE_SECONDS, self._transport.abort)
