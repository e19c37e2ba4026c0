"""Enqueue the wake-ups that the append script claimed, without blocking the event loop.

Wake-ups are rare under load, since a lane that is being drained holds its lease. If this process dies between the claim
and the enqueue, or Redis rejects it, the lease expires and the sweeper wakes the lane.
"""

from __future__ import annotations

import asyncio

from rq import Queue

from ingest_api.metrics import WAKE_UP_FAILURES
from shared.outage import Outage
from shared.redis.wakeups import enqueue_drain


class Waker:
    """Signals workers, through RQ, in a thread."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._outage = Outage("wake_up_failed")
        # The event loop keeps only weak references to tasks.
        self._tasks: set[asyncio.Task[None]] = set()

    def wake(self, lane: int, job_id: str) -> None:
        """Enqueue the drain of a lane; returns at once."""
        task = asyncio.create_task(self._enqueue(lane, job_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _enqueue(self, lane: int, job_id: str) -> None:
        try:
            await asyncio.to_thread(enqueue_drain, self._queue, lane, job_id)
        except Exception as error:  # noqa: BLE001 - the sweeper wakes the lane, and the outage tells what it is
            WAKE_UP_FAILURES.inc()
            self._outage.report(error, lane=lane)
        else:
            self._outage.over()
