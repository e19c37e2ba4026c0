"""The table of faults: what each breaks, how its effect is seen, and what ends it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import httpx
import psycopg
from redis.exceptions import RedisError

from tests.soak import cluster_faults as clusters
from tests.soak import engine_faults as engines
from tests.soak import failover_faults as failovers
from tests.soak import pair_faults as pairs
from tests.soak import process_faults as processes
from tests.soak import rivalry_faults as rivalry
from tests.soak import traffic_faults as traffic
from tests.soak.fault_context import Ending, FaultContext, Injection, Sign, either, grown, reported, when_mended
from tests.soak.plan import Plan

#: Errors of an engine or an API process that is away.
UNAVAILABLE = (RedisError, psycopg.Error, httpx.TransportError)
#: Breaks something within the block, and mends it at its end.
Break = Callable[[FaultContext, random.Random], AbstractContextManager[Injection]]


@dataclass(frozen=True)
class Fault:
    """A row of the table."""

    name: str
    breaks: Break
    #: Parts that it breaks. Two faults at once break different parts.
    parts: frozenset[str]
    #: How its effect is seen. A run in which it is not seen fails.
    seen: Sign
    ends: Ending = when_mended
    #: How often it is drawn, relative to the others.
    weight: int = 3
    #: Shortest and longest duration in seconds, and the same in a short run; (0, 0): it mends at once.
    lasts: tuple[float, float] = (0, 0)
    lasts_shortly: tuple[float, float] = (0, 0)
    #: Whether other shapes of the engines do not have it.
    is_of_shape: bool = False

    def inject(self, context: FaultContext, dice: random.Random, seconds: float) -> Callable[[], str]:
        """Break, wait for `seconds`, mend, and wait for the end; return a function that looks for the effect."""
        with self.breaks(context, dice) as injection:
            # A fault that had to wait for its effect has lasted for a while already.
            time.sleep(max(0.0, seconds - (time.monotonic() - injection.began)) if seconds else 0.0)
        self.ends(context, injection)
        return lambda: self.seen(context, injection)


def _parts(names: str) -> frozenset[str]:
    return frozenset(names.split())


_ALL = _parts("redis postgres api worker sweeper")
_WORKER, _WRITE, _API = _parts("worker"), _parts("worker postgres"), _parts("api")
_REDIS_FAILS = ("503 store_unavailable", "append_failed", "redis_lost", "sweep_failed")
_REFUSED = ("503 shutting_down", "503 not_ready", "not connected", "no answer")
_PAUSED = grown("lane_paused")

#: name, what it breaks, the parts that are hit, how its effect is seen, how it ends
FAULTS = (
    Fault("worker killed in its transaction", processes.worker_killed_in_transaction, _WRITE,
          reported, processes.lane_is_taken_over, weight=4),
    Fault("worker killed anywhere", processes.workers_killed_at_random, _WORKER,
          reported, weight=6),
    Fault("worker hangs in its transaction", processes.worker_stopped_in_transaction, _WRITE,
          reported, weight=2, lasts=(4, 12), lasts_shortly=(3, 4)),
    Fault("API killed", processes.apis_killed_under_load, _API,
          grown("no answer", "not connected"), weight=5),
    Fault("sweeper killed, and a worker", processes.sweeper_and_worker_killed, _parts("sweeper worker postgres"),
          grown("lane_woken"), processes.sweeper_is_back, weight=2),
    Fault("Redis killed", engines.redis_killed, _ALL,
          grown(*_REDIS_FAILS, "503 not_ready"), engines.redis_is_back, weight=4),
    Fault("Redis hangs", engines.redis_stopped, _parts("redis worker postgres"),
          either(reported, grown(*_REDIS_FAILS, "no answer")), lasts=(2, 10), lasts_shortly=(1, 2)),
    Fault("Redis out of memory", engines.redis_full, _ALL,
          grown(*_REDIS_FAILS), weight=2, lasts=(2, 8), lasts_shortly=(1, 2)),
    Fault("Redis' reply to the API lost", engines.replies_to_api_lost, _parts("api redis"),
          grown(*engines.NO_REPLY_TO_API, "replayed"), weight=4, lasts=(1, 6), lasts_shortly=(1, 2)),
    Fault("Redis' reply to a worker lost", engines.replies_to_worker_lost, _parts("worker redis"),
          grown(*engines.NO_REPLY_TO_WORKER, "replayed"), lasts=(1, 6), lasts_shortly=(1, 2)),
    Fault("Postgres killed", engines.postgres_killed, _WRITE,
          _PAUSED, engines.postgres_is_back, weight=4),
    Fault("Postgres out of reach", engines.postgres_unreachable, _WRITE,
          _PAUSED, lasts=(2, 60), lasts_shortly=(1, 3)),
    Fault("Postgres hangs", engines.postgres_silent, _WRITE,
          either(reported, grown("lane_paused", "lane_woken")), weight=2, lasts=(3, 20), lasts_shortly=(1, 3)),
    Fault("Postgres read-only", engines.postgres_read_only, _WRITE,
          _PAUSED, lasts=(2, 15), lasts_shortly=(1, 3)),
    Fault("Postgres behind a swapping pooler", engines.sessions_swapped, _WRITE,
          reported, engines.submission_is_applied, lasts=(5, 30), lasts_shortly=(2, 3)),
    Fault("process told to stop", processes.process_restarted, _ALL,
          either(reported, grown(*_REFUSED)), weight=4),
    Fault("rolling restart", processes.everything_restarted, _ALL,
          either(reported, grown(*_REFUSED)), weight=2),
    Fault("output that is not read", processes.output_unread, _ALL,
          reported, lasts=(5, 20), lasts_shortly=(0.5, 1)),
    Fault("no workers, then twice as many", processes.no_workers, _WRITE,
          reported, processes.workers_run, weight=2, lasts=(5, 60), lasts_shortly=(1, 2)),
    Fault("two drains on one lane", rivalry.lease_lost, _WRITE,
          either(reported, grown("lane_busy", "lane_paused")), engines.submission_is_applied),
    Fault("credential rotated", rivalry.credential_rotated, _ALL,
          reported),
    Fault("connector posts slow bodies", traffic.hostile_connector, _API,
          reported, lasts=(3, 15), lasts_shortly=(0.5, 1)),
    Fault("requests cut anywhere", traffic.requests_cut, _API,
          reported),
    Fault("Redis moved, a key rotated before", failovers.redis_moved, _ALL,
          reported, weight=4),
)  # fmt: skip

#: Those of a shape of the engines, which are injected beside some of the above.
_SENTINEL = (
    Fault("primary of Redis killed", failovers.primary_killed, _ALL,
          reported, weight=8, is_of_shape=True),
    Fault("primary of Redis hangs", failovers.primary_hangs, _ALL,
          reported, weight=8, is_of_shape=True),
)  # fmt: skip
_CLUSTER = (
    Fault("primary of a shard killed", clusters.primary_killed, _ALL,
          reported, weight=8, is_of_shape=True),
    Fault("node of a cluster hangs", clusters.node_hangs, _ALL,
          reported, weight=8, is_of_shape=True, lasts=(2, 30), lasts_shortly=(2, 3)),
    Fault("slot of a lane moved", clusters.slots_moved, _ALL,
          reported, weight=8, is_of_shape=True),
)  # fmt: skip
_PAIR = (
    Fault("primary of Postgres killed", pairs.standby_promoted, _ALL,
          reported, weight=8, is_of_shape=True),
)  # fmt: skip
_OF_SHAPE = {"one": FAULTS[-1:], "sentinel": _SENTINEL, "cluster": _CLUSTER}
#: Faults that any shape has.
_OF_ALL = frozenset({
    "worker killed in its transaction", "worker killed anywhere", "API killed", "sweeper killed, and a worker",
    "process told to stop", "two drains on one lane", "credential rotated",
})  # fmt: skip


def faults_of(plan: Plan) -> Sequence[Fault]:
    """Return the faults of a plan."""
    table = FAULTS
    if not plan.is_plain:
        own = [*_OF_SHAPE[plan.redis], *(_PAIR if plan.postgres == "pair" else ())]
        table = (*(fault for fault in FAULTS if fault.name in _OF_ALL), *own)
    return [fault for fault in table if plan.only in fault.name]
