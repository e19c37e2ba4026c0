"""`python -m workers.sweep`: looks at every lane twice a second and wakes those that would wait forever.

The append claims a lane's wake-up and the API enqueues it; the API may die in between. A worker may be killed in the
middle of a lane. In both cases the lease expires; this process sees entries without a lease and claims the wake-up
again. It also wakes lanes that have dead letters to retry, keeps Redis' credentials those of Postgres
(`credential_watch.py`), and keeps RQ's schedule. Any number may run: one acts, the others stand by.
"""

from __future__ import annotations

import secrets
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection
from functools import partial
from typing import Final

import structlog
from redis import Redis
from redis.exceptions import ResponseError
from rq import Queue

from shared.credentials.sync import count_lanes
from shared.entry import backlog_cost
from shared.outage import Outage
from shared.postgres.connections import ANSWER_TIMEOUT_SECONDS, SHORT_TIMEOUT_SECONDS, Connection, connect_postgres
from shared.process.metrics import serve_metrics
from shared.process.settings import Settings
from shared.process.startup import durable_redis, queue_of, start_process
from shared.redis.activity import report_sweep
from shared.redis.connections import UNAVAILABLE
from shared.redis.names import SWEEPER, lane_keys
from shared.redis.numbers import copied_lanes
from shared.redis.primaries import Answer, ask_each, told_by_any
from shared.redis.scripts import Scripts
from shared.redis.wakeups import (
    LEASE_MS,
    LONGEST_PAUSE_MS,
    enqueue_drain,
    forget_failed_drains,
    new_job_id,
    queued_lanes,
)
from workers import metrics
from workers.context import LastingConnection
from workers.credential_watch import CredentialWatch
from workers.engine_metrics import EngineCollector
from workers.liveness import LoopMonitor
from workers.retry import lanes_to_retry
from workers.schedule import Schedule
from workers.stalled_lanes import StalledLanes
from workers.traffic_mover import MOVE_SECONDS, TrafficMover

log = structlog.get_logger()

_PERIOD_SECONDS: Final = 0.5
_STANDBY_MS: Final = 2_500
#: Maximum time of a sweep in seconds, after which the process counts as hung: each wait for an engine takes five.
_SWEEP_SECONDS: Final = 60.0
#: Interval at which Postgres is asked for dead letters to retry and for changed credentials, in seconds.
_WATCH_SECONDS: Final = 1.0
#: Life of the marker that tells a drain of them, in milliseconds; each sweep sets it again while letters are left.
_RETRY_MARKER_MS: Final = 5_000
#: Maximum size of a lane that is recounted: takes some 20 ms of Redis' time.
_RECOUNT_ENTRIES: Final = 5_000
_RECOUNT_BYTES: Final = 16_777_216


class RetryWatch:
    """Knows which lanes have dead letters to retry. It has a thread of its own, since Postgres may hang."""

    def __init__(self, connection: Callable[[], Connection]) -> None:
        self._connection = connection
        self.lanes: Collection[int] = ()

    def look(self) -> None:
        """Ask Postgres. Raises psycopg.Error."""
        self.lanes = ()
        self.lanes = lanes_to_retry(self._connection())


class Sweeper:
    """Wakes and repairs lanes; `sweep` looks at all of them once."""

    def __init__(
        self,
        redis: Redis,
        database_url: str,
        queue: Queue,
        retries: RetryWatch | None = None,
        *,
        stalled_after_seconds: float = 60,
    ) -> None:
        self._redis = redis
        self._scripts = Scripts(redis)
        self._connect = partial(_connect, database_url)
        self._queue = queue
        self._retries = retries or RetryWatch(self._connect)
        self._schedule = Schedule(queue.connection, queue)
        self._name = secrets.token_hex(8)
        self._lanes = 0
        self._recounted = 0
        #: Whether this sweeper is the one that acts.
        self.acts = False
        #: Lanes of nodes that did not answer in the last sweep.
        self._away: Collection[int] = ()
        #: Bytes in the lanes' backlogs.
        self._backlogs: dict[int, int] = {}
        self._stalled = StalledLanes(stalled_after_seconds)
        self._outages = defaultdict[str, Outage](partial(Outage, "sweep_failed"))

    def sweep(self) -> None:
        """Wake every lane that needs it, unless another sweeper acts.

        A step that fails does not keep the others from their work. Raises an error if none of them can be done.
        """
        self.acts = self._takes_the_lease()
        metrics.SWEEPER_ACTS.set(self.acts)
        if not self.acts:
            metrics.LANES_STALLED.set(0)
            return
        self._lanes = copied_lanes(self._redis) or self._lanes
        if not self._lanes:
            with self._connect() as connection:
                self._lanes = count_lanes(connection, self._redis)
        answers = ask_each(self._redis, range(self._lanes), partial(self._look_at_lanes, queued_lanes(self._queue)))
        told_by_any(answers)
        for answer in answers:
            self._report(answer)
        self._away = {lane for answer in answers if answer.error for lane in answer.lanes}
        self._attempt("recount", self._recount)
        self._attempt("schedule", self._schedule.keep)
        # RQ notices minutes later that a worker was killed, when another one has long drained its lane.
        self._attempt("forget failed jobs", partial(forget_failed_drains, self._queue, self._is_mended))
        stalled = self._stalled.stalled(time.monotonic())
        metrics.LANES_STALLED.set(len(stalled))
        report_sweep(self._queue.connection, stalled)

    def _look_at_lanes(self, queued: Collection[int], _node: Redis, lanes: list[int]) -> bool:
        """Wake the lanes of one server that need it."""
        for lane in lanes:
            self._attempt(f"lane {lane}", partial(self._look, lane, queued=lane in queued))
        return True

    def _report(self, answer: Answer[bool]) -> None:
        """Log that a node of a cluster is away, or is there again."""
        outage = self._outages[answer.node]
        if answer.error:
            outage.report(answer.error, node=answer.node, lanes=answer.lanes)
        else:
            outage.over()

    def _attempt(self, step: str, do: Callable[[], object]) -> None:
        try:
            do()
        except UNAVAILABLE:  # the next step would wait for Redis too
            raise
        except Exception as error:  # noqa: BLE001 - the outage tells what it is
            self._outages[step].report(error, step=step)
        else:
            self._outages[step].over()

    def _takes_the_lease(self) -> bool:
        redis = self._queue.connection
        if redis.set(SWEEPER, self._name, nx=True, px=_STANDBY_MS):
            return True
        try:
            acts = redis.get(SWEEPER) == self._name.encode()
        except ResponseError:  # not a string, so no sweeper's
            acts = False
        # Another sweeper's key is not made to last longer; without an end, it would last forever.
        return bool(redis.pexpire(SWEEPER, _STANDBY_MS, lt=not acts)) and acts

    def _look(self, lane: int, *, queued: bool) -> None:
        """Wake a lane that needs it."""
        keys = lane_keys(lane)
        job_id = new_job_id(lane)
        retries = lane in self._retries.lanes
        backlogs = list(self._backlogs.values())  # at once: threads of other nodes add to it
        elsewhere = sum(backlogs) - self._backlogs.get(lane, 0)
        _, claimed, entries, backlog_bytes, settled = self._scripts(
            "sweep_lane",
            [keys.stream, keys.lease, keys.backlog, keys.ready, keys.retry, keys.large],
            [job_id, LEASE_MS, int(queued), elsewhere, int(retries), _RETRY_MARKER_MS, LONGEST_PAUSE_MS],
        )
        self._backlogs[lane] = backlog_bytes
        if claimed:
            enqueue_drain(self._queue, lane, job_id)
            metrics.LANES_WOKEN.inc()
            log.info("lane_woken", lane=lane, entries=entries)
        self._stalled.look(lane, entries=entries, settled=settled, now=time.monotonic())

    def _is_mended(self, lane: int) -> bool:
        """Return True if a lane was drained since its last failure, or has nothing left to drain."""
        has_work = self._backlogs.get(lane) or lane in self._retries.lanes
        if lane in self._away:
            return False
        return not (has_work and self._redis.exists(lane_keys(lane).failures))

    def _recount(self) -> None:
        """Compare one lane's counters with its entries, another lane each time."""
        self._recounted = (self._recounted + 1) % self._lanes
        if self._recounted in self._away:
            return
        keys = lane_keys(self._recounted)
        bounds = [backlog_cost(b""), _RECOUNT_ENTRIES, _RECOUNT_BYTES]
        off = self._scripts("recount_backlog", [keys.stream, keys.backlog], bounds)
        if off:
            log.error("backlog_corrected", lane=self._recounted, bytes=off)


def _connect(database_url: str, answer_timeout: float = SHORT_TIMEOUT_SECONDS) -> Connection:
    return connect_postgres(database_url, application="ingest sweeper", answer_timeout=answer_timeout)


class WatchedSweep:
    """Runs sweeps, and knows for `python -m workers.health` how the last one went."""

    turn: Callable[[float], None]
    problem = "It waits for Redis."

    def __call__(self, sweep: Callable[[], None]) -> None:
        """Sweep once. Raises what `sweep` raises."""
        self.turn(_SWEEP_SECONDS)
        try:
            with metrics.SWEEP.time():
                sweep()
        except Exception:
            self.problem = "The last sweep failed; the log says why."
            raise
        self.problem = ""


def keep_sweeping(sweep: Callable[[], None], stop: threading.Event, seconds: float = _PERIOD_SECONDS) -> None:
    """Sweep every few seconds until told to stop, whatever happens meanwhile."""
    outage = Outage("sweep_failed")
    while not stop.wait(seconds):
        try:
            sweep()
        except Exception as error:  # noqa: BLE001 - nothing else wakes lanes; the outage tells what it is
            outage.report(error)
        else:
            outage.over()


def main() -> None:
    """Sweep until SIGTERM or SIGINT."""
    settings = start_process("sweeper")
    watched = WatchedSweep()
    with LoopMonitor("sweeper", settings.run_dir, lambda: watched.problem) as monitor:
        if monitor.failure:
            log.warning("health_unknown", error=str(monitor.failure))
        watched.turn = monitor.turn
        sweep_until_stopped(settings, watched)


def sweep_until_stopped(settings: Settings, watched: WatchedSweep) -> None:
    """Sweep until SIGTERM or SIGINT."""
    redis = durable_redis(settings)
    stop = threading.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: stop.set())
    connect = partial(_connect, settings.database_url)
    retries = RetryWatch(LastingConnection(connect))
    queue, stalled_after = queue_of(settings, redis), settings.stalled_after_seconds
    sweeper = Sweeper(redis, settings.database_url, queue, retries, stalled_after_seconds=stalled_after)
    credentials = CredentialWatch(redis, LastingConnection(connect), lambda: sweeper.acts)
    engines = EngineCollector(redis, LastingConnection(connect), settings.quiet_after_seconds)
    serve_metrics(settings, metrics.SWEEPER, [engines])
    traffic_connection = LastingConnection(partial(_connect, settings.database_url, ANSWER_TIMEOUT_SECONDS))
    mover = TrafficMover(queue.connection, traffic_connection, lambda: sweeper.acts, settings.keep_traffic_days)
    for name, look, seconds in (
        ("retries", retries.look, _WATCH_SECONDS),
        ("credentials", credentials.look, _WATCH_SECONDS),
        ("traffic", mover.move, MOVE_SECONDS),
    ):
        # Threads of their own, since Postgres may hang.
        threading.Thread(target=keep_sweeping, args=(look, stop, seconds), name=name, daemon=True).start()
    keep_sweeping(partial(watched, sweeper.sweep), stop)


if __name__ == "__main__":
    main()
