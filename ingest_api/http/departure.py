"""Whether a client has left while nothing is read from it."""

from __future__ import annotations

import asyncio
import select
from typing import Final

#: Only Linux tells that a peer has closed its sending side although unread bytes are before that.
_CLOSED: Final = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR


def has_closed(transport: asyncio.BaseTransport) -> bool:
    """Ask the system whether the peer has closed its sending side, or the connection is lost. Costs one system call."""
    connection = transport.get_extra_info("socket")
    if connection is None or connection.fileno() < 0:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), _CLOSED)
    return bool(poll.poll(0))
