"""By when more of a body must arrive. Pure.

A body of up to 256 KB may come slowly: it holds little. A larger one must bring 256 KB every 25 s (10 KB/s), so that
half-sent bodies don't hold the memory of a process.
"""

from __future__ import annotations

import math
from typing import Final

#: Maximum time for a whole body in seconds; 30 MB at 100 KB/s.
MAX_BODY_SECONDS: Final = 300.0
#: What must arrive of a larger body in each period.
PERIOD_BYTES: Final = 262_144
PERIOD_SECONDS: Final = 25.0
MIN_BYTES_PER_SECOND: Final = PERIOD_BYTES / PERIOD_SECONDS


class Pace:
    """The arrival of one body; times are those of any one clock, in seconds."""

    def __init__(self, now: float, *, idle_seconds: float, declared: int) -> None:
        """`idle_seconds`: maximum time without a byte. `declared`: the body's length, 0 if it is not known."""
        self._idle_seconds = idle_seconds
        self._declared = declared
        self._received = 0
        self._end = now + MAX_BODY_SECONDS
        self._period_bytes = 0
        self._period_end = now + PERIOD_SECONDS

    def add(self, size: int, now: float) -> None:
        """Count bytes that have arrived."""
        self._received += size
        self._period_bytes += size
        if self._period_bytes >= PERIOD_BYTES:
            self._period_bytes, self._period_end = 0, now + PERIOD_SECONDS

    def deadline(self, now: float) -> float:
        """Return by when something more must arrive."""
        is_small = max(self._declared, self._received) <= PERIOD_BYTES
        return min(now + self._idle_seconds, self._end, math.inf if is_small else self._period_end)
