"""Fair turns on a few threads: one body at a time for each connector, connectors in rotation.

A body that takes long is checked apart from the event loop: in a thread, or of a large one in a process that a thread
waits for. A connector that sends many waits for itself: others get the next free thread, and one thread is kept for
bodies that are not large.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from ingest_api.errors import ApiError, ErrorCode

#: Threads, of which one takes no large body.
_THREADS: Final = 3
#: Times as long as a large body took, its connector waits for its next turn if sending it cost almost nothing. One that
#: is large on the wire slows its client down by itself.
_REST: Final = 3
#: Maximum number of one connector's bodies that wait for a turn; small ones could otherwise wait by the thousand.
MAX_WAITING: Final = 100

Result = TypeVar("Result")


class Ticket:
    """One body's wish for a turn."""

    __slots__ = ("begin", "connector_id", "is_large")

    def __init__(self, connector_id: int, *, is_large: bool, begin: Callable[[], None]) -> None:
        """`begin` is called when the turn comes."""
        self.connector_id = connector_id
        self.is_large = is_large
        self.begin = begin


class TurnQueue:
    """Decides whose turn it is. Pure."""

    def __init__(self, places: int) -> None:
        self._places = places
        #: By connector.
        self._running: dict[int, Ticket] = {}
        self._resting: set[int] = set()
        #: By connector, in the order of their turns.
        self._waiting: dict[int, deque[Ticket]] = {}

    def enter(self, ticket: Ticket) -> bool:
        """Let a ticket begin or wait; return False if too many of its connector wait."""
        waiting = self._waiting.setdefault(ticket.connector_id, deque())
        if len(waiting) >= MAX_WAITING:
            return False
        waiting.append(ticket)
        self._advance()
        return True

    def rest(self, ticket: Ticket) -> None:
        """Give up a turn; the next one of its connector comes after `wake`."""
        self._resting.add(ticket.connector_id)
        self.leave(ticket)

    def wake(self, connector_id: int) -> None:
        """End the rest of a connector."""
        self._resting.discard(connector_id)
        self._advance()

    def leave(self, ticket: Ticket) -> None:
        """Give up a turn, or the wait for one."""
        waiting = self._waiting.get(ticket.connector_id, ())
        if self._running.get(ticket.connector_id) is ticket:
            del self._running[ticket.connector_id]
        elif ticket in waiting:
            self._keep(ticket.connector_id, deque(one for one in waiting if one is not ticket))
        self._advance()

    def _advance(self) -> None:
        while (ticket := self._next()) is not None:
            self._running[ticket.connector_id] = ticket
            ticket.begin()

    def _next(self) -> Ticket | None:
        if len(self._running) == self._places:
            return None
        large_may_begin = sum(one.is_large for one in self._running.values()) < self._places - 1
        busy = self._running.keys() | self._resting
        for connector_id, tickets in self._waiting.items():
            if connector_id not in busy and (large_may_begin or not tickets[0].is_large):
                ticket = tickets.popleft()
                del self._waiting[connector_id]  # to the end of the rotation
                self._keep(connector_id, tickets)
                return ticket
        return None

    def _keep(self, connector_id: int, tickets: deque[Ticket]) -> None:
        if tickets:
            self._waiting[connector_id] = tickets
        else:
            self._waiting.pop(connector_id, None)


class BodyThreads:
    """The threads. They are not asyncio's own, which connections to Redis and Postgres need."""

    def __init__(self) -> None:
        self._queue = TurnQueue(_THREADS)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="body")

    async def run(
        self,
        work: Callable[[], Result],
        connector_id: int,
        *,
        is_large: bool,
        has_left: Callable[[], bool],
        was_cheap: Callable[[Result], bool],
    ) -> Result:
        """Return `work()`, called in a thread when it is the connector's turn.

        `was_cheap`: whether sending it cost almost nothing; a refused
        one counts as such. Raises ApiError(connector_overloaded) if too many bodies of the connector wait, or if its
        client `has_left` meanwhile.
        """
        loop = asyncio.get_running_loop()
        turn = asyncio.Event()
        ticket = Ticket(connector_id, is_large=is_large, begin=turn.set)
        if not self._queue.enter(ticket):
            raise ApiError(ErrorCode.CONNECTOR_OVERLOADED)
        try:
            if not turn.is_set():
                await turn.wait()
                # A client that has closed its sending side only is waiting for an answer: this is one.
                if has_left():
                    raise ApiError(ErrorCode.CONNECTOR_OVERLOADED)
            began, rests = loop.time(), True
            try:
                result = await loop.run_in_executor(self._threads, work)
                rests = was_cheap(result)
                return result
            finally:
                if ticket.is_large and rests:
                    self._queue.rest(ticket)
                    loop.call_later(_REST * (loop.time() - began), self._queue.wake, connector_id)
        finally:
            self._queue.leave(ticket)
