"""Hands what a process has counted (`shared/traffic.py`) over to Redis, which adds the processes up by the minute."""

from __future__ import annotations

import threading
from itertools import islice
from typing import Final, Self

import msgspec
from redis import Redis

from shared.outage import Outage
from shared.redis.names import REFUSALS, TRAFFIC
from shared.redis.scripts import Scripts
from shared.traffic import COUNTERS, KEPT_REFUSALS, Batch, Tally

#: Interval at which a process hands over, in seconds.
_PERIOD_SECONDS: Final = 1.0
#: Fields at which Redis counts by the hour, and at which it counts nothing new: if Postgres is away for long.
_COARSE_FIELDS: Final = 100_000
_MOST_FIELDS: Final = 300_000
#: Rows in one call of the script, which holds up Redis meanwhile.
_ROWS_AT_ONCE: Final = 1_000


class HandOver:
    """A thread that hands over what a process has counted, once a second."""

    def __init__(self, tally: Tally, redis: Redis) -> None:
        self._tally = tally
        self._scripts = Scripts(redis)
        #: What could not be handed over. Meanwhile the tally goes on, which takes no more memory.
        self._batch: Batch | None = None
        self._outage = Outage("traffic_not_handed_over")
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Hand over the rest, unless Redis is away."""
        self._ended.set()
        self._thread.join(timeout=_PERIOD_SECONDS)

    def _run(self) -> None:
        is_over = False
        while not is_over:
            is_over = self._ended.wait(_PERIOD_SECONDS)
            try:
                self._batch = self._batch or self._tally.take()
                if self._batch:
                    hand_over(self._scripts, self._batch)
            except Exception as error:  # noqa: BLE001 - the outage tells what it is
                self._outage.report(error)
            else:
                self._batch = None
                self._outage.over()


def hand_over(scripts: Scripts, batch: Batch) -> None:
    """Move a batch to what Redis holds. Raises RedisError; then the batch has what is left."""
    bounds = [_COARSE_FIELDS, _MOST_FIELDS, KEPT_REFUSALS, len(COUNTERS)]
    while part := dict(islice(batch.rows.items(), _ROWS_AT_ONCE)):
        refusals = map(msgspec.json.encode, batch.refusals)
        scripts("add_traffic", [TRAFFIC, REFUSALS], [*bounds, msgspec.json.encode(part), *refusals])
        batch.rows = dict(islice(batch.rows.items(), len(part), None))
        batch.refusals = []
