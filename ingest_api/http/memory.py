"""Count the bytes of bodies that one process holds, in all and for each connector.

A connector may hold a quarter of them. What it declares counts in its share from the head of the request on, so that a
body that doesn't fit is refused before it is sent; in the process's total, bytes count as they arrive, so that a
declaration alone takes room from no other connector.
"""

from __future__ import annotations

import threading
from typing import Final, Self

from ingest_api.errors import ApiError, ErrorCode
from ingest_api.metrics import INFLIGHT_BYTES
from shared.limits import MAX_BODY_BYTES

#: The largest body at its largest: while it is inflated, both forms are held.
LARGEST_BODY_BYTES: Final = 2 * MAX_BODY_BYTES
_SHARES: Final = 4
#: Precision of the gauge of bytes in flight.
_GAUGE_STEP_BYTES: Final = 65_536


def share_of(limit: int) -> int:
    """Return the bytes that one connector may hold of a process's `limit`."""
    return max(limit // _SHARES, LARGEST_BODY_BYTES)


class Reservation:
    """The bytes that one request holds in memory; released at the end of the `with` block."""

    __slots__ = ("_budget", "_claimed", "connector_id", "held")

    def __init__(self, budget: MemoryBudget, connector_id: int) -> None:
        self._budget = budget
        self.connector_id = connector_id
        self._claimed = 0
        self.held = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._budget.release(self.connector_id, self._claimed, self.held)

    def claim(self, size: int) -> None:
        """Count `size` bytes in total in the connector's share, although they have not arrived.

        Raises ApiError(connector_overloaded); ApiError(overloaded) if the process has no room for them now.
        """
        if size > self._claimed:
            self._budget.claim(self.connector_id, size - self._claimed, size - self.held)
            self._claimed = size

    def grow_to(self, size: int) -> None:
        """Hold `size` bytes in total. Raises ApiError like `claim`."""
        self.claim(size)
        if size > self.held:
            self._budget.take(size - self.held)
            self.held = size


class MemoryBudget:
    """Bytes of bodies that this process may hold at once. Locked, since large bodies are inflated in threads."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._share = share_of(limit)
        self._lock = threading.Lock()
        #: Bytes claimed by each connector that has a request in flight.
        self._claimed: dict[int, int] = {}
        self.used = 0
        self._gauge = 0

    def claim(self, connector_id: int, size: int, missing: int) -> None:
        """Count `size` more bytes of a connector, of whose body `missing` bytes have yet to be held."""
        with self._lock:
            self._require_room(missing)
            claimed = self._claimed.get(connector_id, 0) + size
            if claimed > self._share:
                raise ApiError(ErrorCode.CONNECTOR_OVERLOADED)
            self._claimed[connector_id] = claimed

    def take(self, size: int) -> None:
        """Hold `size` more bytes. Raises ApiError(overloaded) if that would pass the limit."""
        with self._lock:
            self._require_room(size)
            self._change(size)

    def release(self, connector_id: int, claimed: int, held: int) -> None:
        """Forget what a request has claimed and held."""
        with self._lock:
            self._change(-held)
            left = self._claimed.get(connector_id, 0) - claimed
            if left > 0:
                self._claimed[connector_id] = left
            else:
                self._claimed.pop(connector_id, None)

    def _change(self, size: int) -> None:
        self.used += size
        # Setting a gauge takes longer than the rest of this, so it moves in steps; an idle process shows 0.
        if abs(self.used - self._gauge) >= _GAUGE_STEP_BYTES or (self._gauge and not self.used):
            self._gauge = self.used
            INFLIGHT_BYTES.set(self.used)

    def _require_room(self, size: int) -> None:
        if self.used + size > self._limit:
            raise ApiError(ErrorCode.OVERLOADED)
