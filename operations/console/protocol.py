"""HTTP/1.1 as uvicorn speaks it, for clients that are not too slow: one that is loses its connection."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

#: Maximum time for a whole request to arrive, in seconds.
REQUEST_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 5.0
#: Bytes of an answer that a client must read between two looks, unless it reads all that waits for it.
_LEAST_BYTES: Final = 32_768
#: Linger for no time.
_DROP: Final = struct.pack("ii", 1, 0)
#: Looks in a row at which a client has read less.
_LOOKS: Final = 2


class Protocol(H11Protocol):
    """One connection, looked at every few seconds."""

    _began = 0.0
    _unsent = 0
    _slow_looks = 0
    _next_look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn does
        """Begin to look."""
        super().connection_made(transport)
        self._began = self.loop.time()
        self._look_later()

    def connection_lost(self, exc: Exception | None) -> None:
        """Look no more."""
        if self._next_look:
            self._next_look.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        self._began = self.loop.time()
        super().on_response_complete()

    def _look_later(self) -> None:
        self._next_look = self.loop.call_later(_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        if self._sends_too_slowly() or self._reads_too_slowly():
            self._reset()
        else:
            self._look_later()

    def _reset(self) -> None:
        """End the connection. What the kernel holds for the client is dropped, too: it would wait for it on and on."""
        with contextlib.suppress(OSError):
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DROP)
        self.transport.abort()

    def _sends_too_slowly(self) -> bool:
        is_incomplete = self.conn.their_state in (h11.IDLE, h11.SEND_BODY)
        return is_incomplete and self.loop.time() - self._began > REQUEST_SECONDS

    def _reads_too_slowly(self) -> bool:
        before, self._unsent = self._unsent, self.transport.get_write_buffer_size()
        is_slow = before > 0 and self._unsent > max(0, before - _LEAST_BYTES)
        self._slow_looks = self._slow_looks + 1 if is_slow else 0
        return self._slow_looks >= _LOOKS
