"""Which lanes stand still: entries wait, and none has left the lane for too long.

Neither clocks nor ids of entries matter, which may be wrong: what counts is what this process saw, by its own clock.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class _Standstill:
    settled: int
    since: float


class StalledLanes:
    """Remembers since when each lane with entries has settled nothing."""

    def __init__(self, after_seconds: float) -> None:
        self._after_seconds = after_seconds
        self._standing: dict[int, _Standstill] = {}

    def look(self, lane: int, *, entries: int, settled: int, now: float) -> None:
        """Note how many entries wait in a lane, and how many ever left it."""
        known = self._standing.get(lane)
        if not entries:
            self._standing.pop(lane, None)
        elif known is None or known.settled != settled:
            self._standing[lane] = _Standstill(settled, now)

    def stalled(self, now: float) -> list[int]:
        """Return the lanes that have stood still for too long."""
        return [lane for lane, one in sorted(self._standing.items()) if now - one.since > self._after_seconds]
