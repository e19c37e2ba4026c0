"""Log that appends fail, and that they work again: some lanes may fail while others work, as on nodes of a cluster."""

from __future__ import annotations

import time
from typing import Final

from shared.causes import NotNowError
from shared.outage import Clock, Outage

#: Time in seconds after which a lane that nobody used since it failed tells nothing.
_FORGOTTEN_AFTER_SECONDS: Final = 10.0


class NotReplicatedError(NotNowError):
    """Too few replicas had the entry on disk in time."""

    def __init__(self) -> None:
        super().__init__("Fewer replicas than WAIT_REPLICAS demands had a submission on their disks in time.")


class AppendOutage:
    """What fails at the moment, over all lanes: it is over once no lane fails."""

    def __init__(self, *, clock: Clock = time.monotonic) -> None:
        self._outage = Outage("append_failed", clock=clock)
        self._clock = clock
        #: Of each lane that fails: since what time at least, and whether only its replicas do.
        self._failing: dict[int, tuple[float, bool]] = {}

    def report(self, error: Exception, *, lane: int, calls: int) -> None:
        """Log that calls on a lane failed, unless it was logged lately."""
        self._failing[lane] = self._clock(), isinstance(error, NotReplicatedError)
        self._outage.report(error, lane=lane, calls=calls)

    def works(self, lane: int, *, appended: int) -> None:
        """Log the end, if this lane was the last that failed. A run without appends tells nothing of replicas."""
        if not self._failing:
            return
        _, of_replicas = self._failing.get(lane, (0, False))
        if appended or not of_replicas:
            self._failing.pop(lane, None)
        forgotten = self._clock() - _FORGOTTEN_AFTER_SECONDS
        self._failing = {lane: failed for lane, failed in self._failing.items() if failed[0] > forgotten}
        if not self._failing:
            self._outage.over()
