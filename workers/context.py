"""What the jobs of one worker process work with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from redis import Redis
from rq import Queue

from shared.entry import Entry
from shared.outage import Outage
from shared.postgres.connections import Connection
from shared.redis.scripts import Scripts
from shared.traffic import Tally
from workers.metrics import PauseOutage


@dataclass(frozen=True, slots=True)
class DrainContext:
    """Collaborators of a drain; one set per worker process."""

    redis: Redis
    scripts: Scripts
    queue: Queue
    #: Returns the worker's connection, reopened if it was lost. Raises psycopg.OperationalError.
    connection: Callable[[], Connection]
    #: Returns True once the worker was told to stop.
    stopping: Callable[[], bool]
    #: Notes that the main loop turns, and how many seconds its next step may take.
    turn: Callable[[float], None] = lambda _: None
    #: Makes the spans of a lane's entries that were applied, or died of a reason, since a moment.
    trace: Callable[[int, Sequence[Entry], float, str], None] = lambda *_: None
    #: What this process has applied.
    tally: Tally = field(default_factory=Tally)
    #: Failures of each lane in this process.
    outages: defaultdict[int, Outage] = field(default_factory=lambda: defaultdict(partial(PauseOutage, "lane_paused")))


class LastingConnection:
    """A connection that is opened at the first use and reopened after it was lost."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._connection: Connection | None = None

    def __call__(self) -> Connection:
        """Return a connection that was usable when last used. Raises psycopg.OperationalError."""
        if self._connection and self._connection.is_lost():
            self._connection.close()
            self._connection = None
        if self._connection is None:
            self._connection = self._connect()
        return self._connection
