"""`python -m workers`: one worker process. It drains one lane at a time; run as many as you like.

RQ's in-process worker: 3 ms from wake-up to start, where a forking one takes 13. Told to stop, it ends the slice at
hand and passes its lane on.

RQ's worker ends where a reply of Redis fails to come, or Redis is full, and even says nothing of it; so what it ends
with is not asked. Another one is made until this process is told to stop. While Redis is full RQ can't work at all,
since it writes before it reads; then the lanes are drained without it (`relief.py`), which makes room.
"""

from __future__ import annotations

import signal
import time
from types import FrameType
from typing import Final

import structlog
from redis import Redis
from redis.exceptions import RedisError
from rq import SimpleWorker
from rq.serializers import JSONSerializer

from shared.postgres.connections import ANSWER_TIMEOUT_SECONDS, Connection, connect_postgres
from shared.process.settings import Settings
from shared.process.startup import durable_redis, start_process
from shared.redis.connections import connect_redis
from shared.redis.scripts import Scripts
from shared.redis.wakeups import wake_queue
from workers import tasks
from workers.drain import DrainContext
from workers.oom_drain import relieve
from workers.retention import keep_days
from workers.write import prepare

log = structlog.get_logger()

#: RQ forgets a worker that gave no sign of life for a minute more than this. It waits for Redis a little less long.
_WORKER_TTL_SECONDS: Final = 20
#: What RQ ended for may still be so.
_AGAIN_SECONDS: Final = 0.5


class ShutdownFlag:
    """Whether this process was told to stop."""

    told = False

    def __call__(self) -> bool:
        """As drains ask it."""
        return self.told

    def hear(self, *_: object) -> None:
        """A signal came."""
        self.told = True


class Worker(SimpleWorker):
    """RQ's in-process worker, whose jobs can see that it was told to stop."""

    stop: ShutdownFlag
    #: RQ doubles the time until it tries Redis again, up to a minute: an outage would last longer for us than it did.
    max_connection_wait_time = 1.0

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """First signal: the drain passes its lane on at the next slice. RQ exits once the job has ended."""
        self.stop.hear()
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call] # RQ's own lacks types

    def _install_signal_handlers(self) -> None:
        """RQ listens from here on; a signal that came before must not be forgotten."""
        super()._install_signal_handlers()  # type: ignore[no-untyped-call] # RQ's own lacks types
        self._stop_requested = self._stop_requested or self.stop.told


class DatabaseConnection:
    """A worker's connection to Postgres, made when first used and again where it was lost."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Connection | None = None

    def __call__(self) -> Connection:
        """A connection that was usable when last seen. Raises psycopg.OperationalError."""
        if self._connection is None or self._connection.closed or self._connection.broken:
            self._connection = prepare(
                connect_postgres(self._url, application="ingest worker", answer_timeout=ANSWER_TIMEOUT_SECONDS)
            )
        return self._connection


def build_tools(settings: Settings, redis: Redis, stop: ShutdownFlag) -> DrainContext:
    """What drains work with."""
    return DrainContext(
        redis=redis,
        scripts=Scripts(redis),
        queue=wake_queue(redis),
        connection=DatabaseConnection(settings.database_url),
        stopping=stop,
    )


def build_worker(redis: Redis, stop: ShutdownFlag) -> Worker:
    """RQ's worker. It makes the timeout of its client longer, so that must not be the drains' one."""
    worker = Worker(
        [wake_queue(redis)],
        connection=redis,
        serializer=JSONSerializer,
        job_class=tasks.AllowedJob,
        worker_ttl=_WORKER_TTL_SECONDS,
        disable_default_exception_handler=False,
    )
    worker.stop = stop
    return worker


def main() -> None:
    """Works until told to stop."""
    settings = start_process("worker")
    redis = durable_redis(settings)
    stop = ShutdownFlag()
    tools = build_tools(settings, redis, stop)
    tasks.use(tools, keep_days(settings))
    while not stop.told:
        work(settings, stop)
        for number in (signal.SIGTERM, signal.SIGINT):  # RQ's handlers are those of a worker that has ended
            signal.signal(number, stop.hear)
        if not stop.told:
            time.sleep(_AGAIN_SECONDS)
            relieve(tools)


def work(settings: Settings, stop: ShutdownFlag) -> None:
    """Works with RQ until told to stop, or until it ends for a reason of its own."""
    try:
        with connect_redis(settings.redis_url) as redis:
            build_worker(redis, stop).work(logging_level="WARNING")
    except RedisError as fault:
        log.warning("redis_lost", error=str(fault))


if __name__ == "__main__":
    main()
