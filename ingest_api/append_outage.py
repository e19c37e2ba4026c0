"""Log that appends fail, and that they work again: some lanes may fail while others work, as on nodes of a cluster."""

from __future__ import annotations

import time
from typing import Final

from shared.outage import Clock, Outage

#: Time in seconds after which a lane that failed, and has had no call since, no longer counts as failing.
_FORGOTTEN_AFTER_SECONDS: Final = 60.0


class AppendOutage:
    """What fails at the moment, over all lanes of a process: it is over once no lane fails."""

    def __init__(self, *, clock: Clock = time.monotonic) -> None:
        self._outage = Outage("append_failed", clock=clock)
        self._clock = clock
        #: Of each lane that fails: when it last did, and whether replicas lacked an entry since an append last worked.
        self._failing: dict[int, tuple[float, bool]] = {}

    def report(self, error: Exception, *, lane: int, calls: int, of_replicas: bool = False) -> None:
        """Log that calls on a lane failed, unless it was logged lately."""
        _, lacked = self._failing.get(lane, (0.0, False))
        self._failing[lane] = self._clock(), of_replicas or lacked
        self._outage.report(error, lane=lane, calls=calls)

    def succeed(self, lane: int, *, appended: int) -> None:
        """Log the end, if this lane was the last that failed. A run without appends tells nothing of replicas."""
        if not self._failing:
            return
        _, lacked = self._failing.get(lane, (0.0, False))
        if appended or not lacked:
            self._failing.pop(lane, None)
        oldest = self._clock() - _FORGOTTEN_AFTER_SECONDS
        self._failing = {other: failed for other, failed in self._failing.items() if failed[0] > oldest}
        if not self._failing:
            self._outage.over()
