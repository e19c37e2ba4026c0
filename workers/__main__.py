"""`python -m workers`: one worker process. It drains one lane at a time; run as many as you like.

It is RQ's in-process worker (decision 15). Told to stop, it finishes the current slice and passes its lane on. RQ's
worker ends if a reply of Redis does not arrive or Redis is full, so a new one is made until this process is told to
stop. While Redis is full, the lanes are drained without RQ (`oom_drain.py`).
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

import structlog
from redis import Redis
from redis.client import Pipeline
from redis.exceptions import RedisError
from rq import SimpleWorker
from rq.job import Job
from rq.serializers import JSONSerializer

from shared.causes import is_expected
from shared.outage import Outage
from shared.postgres.connections import ANSWER_TIMEOUT_SECONDS, Connection, connect_postgres
from shared.process.metrics import serve_metrics
from shared.process.settings import Settings
from shared.process.startup import durable_redis, queue_of, start_process
from shared.process.tracing import start_tracing
from shared.redis.activity import report_worker
from shared.redis.connections import connect_redis
from shared.redis.scripts import Scripts
from shared.redis.traffic import HandOver
from shared.redis.wakeups import wake_queue
from workers import tasks
from workers.context import DrainContext, LastingConnection
from workers.liveness import LoopMonitor
from workers.metrics import SPANS_LOST, WORKER
from workers.oom_drain import drain_full_redis
from workers.retention import keep_days
from workers.tracing import SliceTracer
from workers.write import prepare

if TYPE_CHECKING:
    from shared.process.spans import Spans

log = structlog.get_logger()

#: RQ forgets a worker without a heartbeat for a minute more than this, and waits for Redis a little less, in seconds.
_WORKER_TTL_SECONDS: Final = 20
#: Maximum time between two jobs in which RQ's loop turns, in seconds: as long as RQ remembers the worker.
_LOOP_SECONDS: Final = _WORKER_TTL_SECONDS + 60
#: Pause before a new RQ worker, in seconds: the reason why the last one ended may persist.
_AGAIN_SECONDS: Final = 0.5


class ShutdownFlag:
    """Tells drains whether this process was told to stop."""

    is_set = False

    def __call__(self) -> bool:
        """Return True once `set` was called."""
        return self.is_set

    def set(self, *_: object) -> None:
        """Set the flag; also a signal handler."""
        self.is_set = True


class Worker(SimpleWorker):
    """RQ's in-process worker, with a flag that tells its jobs to stop."""

    stop: ShutdownFlag
    turn: Callable[[float], None]
    #: Why the last worker ended.
    outage: Outage
    #: RQ doubles the time until it tries Redis again, up to a minute: an outage would last longer for us.
    max_connection_wait_time = 1.0

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """Handle the first signal: the drain passes its lane on at the next slice. RQ exits once the job has ended."""
        self.stop.set()
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call] # RQ's own lacks types

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        """Tell RQ, and the monitor, that the loop turns, and within which time it will again; an outage is over."""
        self.turn(timeout or _LOOP_SECONDS)
        super().heartbeat(timeout, pipeline)
        if pipeline is None:
            self.outage.over()

    def handle_exception(self, job: Job, *exc_info: Any) -> None:
        """Log why a job failed; the drain has already told what an engine explains."""
        if not is_expected(exc_info[1]):
            super().handle_exception(job, *exc_info)

    def _install_signal_handlers(self) -> None:
        """Install RQ's handlers; a signal that arrived before must not be forgotten."""
        super()._install_signal_handlers()  # type: ignore[no-untyped-call] # RQ's own lacks types
        self._stop_requested = self._stop_requested or self.stop.is_set


def _connect(url: str) -> Connection:
    return prepare(connect_postgres(url, application="ingest worker", answer_timeout=ANSWER_TIMEOUT_SECONDS))


def build_context(
    settings: Settings, redis: Redis, stop: ShutdownFlag, turn: Callable[[float], None], spans: Spans | None
) -> DrainContext:
    """Return the collaborators of this process's drains."""
    context = DrainContext(
        redis=redis,
        scripts=Scripts(redis),
        queue=queue_of(settings, redis),
        connection=LastingConnection(partial(_connect, settings.database_url)),
        stopping=stop,
        turn=turn,
    )
    return dataclasses.replace(context, trace=SliceTracer(spans)) if spans else context


def build_worker(redis: Redis, name: str, stop: ShutdownFlag, outage: Outage, turn: Callable[[float], None]) -> Worker:
    """Return RQ's worker. It lengthens the timeout of its Redis client, so drains must have another one."""
    worker = Worker(
        [wake_queue(redis)],
        name=name,
        connection=redis,
        serializer=JSONSerializer,
        job_class=tasks.AllowedJob,
        worker_ttl=_WORKER_TTL_SECONDS,
        disable_default_exception_handler=False,
    )
    worker.stop, worker.outage, worker.turn = stop, outage, turn
    return worker


def main() -> None:
    """Work until told to stop."""
    settings = start_process("worker")
    # The name leads an operator to the process; the random part tells containers with the same host name apart.
    name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    report = partial(_report, Scripts(connect_redis(settings.queue_url)), name)
    with LoopMonitor("worker", settings.run_dir, report) as monitor:
        if monitor.failure:
            log.warning("health_unknown", error=str(monitor.failure))
        drain_until_stopped(settings, name, monitor.turn)


def _report(scripts: Scripts, name: str) -> str:
    """Report this worker as alive; return why it can't work now."""
    try:
        report_worker(scripts, name)
    except RedisError:
        return "Redis can't be written."
    return ""


def drain_until_stopped(settings: Settings, name: str, turn: Callable[[float], None]) -> None:
    """Run one RQ worker after the other; RQ may still know one that ended, so each has a number."""
    redis = durable_redis(settings)
    stop = ShutdownFlag()
    spans = start_tracing(settings, "worker", SPANS_LOST.inc)
    context = build_context(settings, redis, stop, turn, spans)
    tasks.use(context, keep_days(settings))
    serve_metrics(settings, WORKER)
    outage, names = Outage("redis_lost"), map(f"{name}.{{}}".format, itertools.count(1))
    with HandOver(context.tally, connect_redis(settings.queue_url)):
        while not stop.is_set:
            turn(_LOOP_SECONDS)
            # While Redis is full, RQ's worker ends with an error: the drain without it is what makes room.
            for act in (partial(work, settings, next(names), stop, outage, turn), partial(drain_full_redis, context)):
                try:
                    act()
                except Exception as error:  # noqa: BLE001 - the outage tells what it is
                    outage.report(error)
    if spans:
        spans.close()


def work(settings: Settings, name: str, stop: ShutdownFlag, outage: Outage, turn: Callable[[float], None]) -> None:
    """Run RQ's worker until it is told to stop, or ends by itself. Raises RedisError and other errors of RQ."""
    try:
        with connect_redis(settings.queue_url) as redis:
            build_worker(redis, name, stop, outage, turn).work(logging_level="WARNING")
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):  # RQ's handlers belong to a worker that has ended
            signal.signal(number, stop.set)
        if not stop.is_set:
            time.sleep(_AGAIN_SECONDS)


if __name__ == "__main__":
    main()
