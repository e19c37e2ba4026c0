"""How long a drain may hold its worker while other lanes wait for one."""

from __future__ import annotations

import time
from typing import Final

from shared.redis.wakeups import others_wait
from workers.context import DrainContext
from workers.metrics import LANE_TURNS

#: Maximum time a drain holds its worker, in seconds: normally, and while another lane is queued. The shorter one is
#: what a flooded lane costs its neighbours; the job of the lane's next turn takes 8 ms, and much more on a slow disk.
_TURN_SECONDS: Final = 20.0
_TURN_SECONDS_WHEN_OTHERS_WAIT: Final = 0.25


class Turn:
    """One drain's time on its worker."""

    def __init__(self, context: DrainContext, lane: int) -> None:
        self._context = context
        self._lane = lane
        self._started = time.monotonic()
        LANE_TURNS.inc()

    def others_wait(self) -> bool:
        """Return True if another lane waits for a worker."""
        return others_wait(self._context.queue, self._lane)

    def must_hurry(self) -> bool:
        """Return True if the drain must not sleep: another lane waits, or the worker was told to stop."""
        return self.others_wait() or self._context.stopping()

    def is_over(self) -> bool:
        """Return True if the drain must give its worker back."""
        seconds = time.monotonic() - self._started
        if self._context.stopping() or seconds > _TURN_SECONDS:
            return True
        return seconds > _TURN_SECONDS_WHEN_OTHERS_WAIT and self.others_wait()
