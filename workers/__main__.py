"""`python -m workers`: one worker process. It drains one lane at a time; run as many as you like.

RQ's in-process worker: 3 ms from wake-up to start, where a forking one takes 13. Told to stop, it ends the slice at
hand and passes its lane on.
"""

from __future__ import annotations

from types import FrameType
from typing import Final

import structlog
from redis import Redis
from rq import SimpleWorker
from rq.serializers import JSONSerializer

from shared import database
from shared.database import Connection
from shared.lua import Scripts
from shared.partitions import keep_days
from shared.redis_connection import UNAVAILABLE
from shared.settings import Settings
from shared.startup import durable_redis, logging_settings
from shared.wakeup import wake_queue
from workers import tasks
from workers.drain import Tools
from workers.write import prepare

log = structlog.get_logger()

#: RQ forgets a worker that gave no sign of life for so long.
_WORKER_TTL_SECONDS: Final = 120


class Worker(SimpleWorker):
    """RQ's in-process worker, whose jobs can see that it was told to stop."""

    told_to_stop = False

    def request_stop(self, signum: int, frame: FrameType | None) -> None:
        """First signal: the drain passes its lane on at the next slice. RQ exits once the job has ended."""
        self.told_to_stop = True
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call] # RQ's own lacks types


class DatabaseConnection:
    """A worker's connection to Postgres, made when first used and again where it was lost."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Connection | None = None

    def __call__(self) -> Connection:
        """A connection that was usable when last seen. Raises psycopg.OperationalError."""
        if self._connection is None or self._connection.closed or self._connection.broken:
            self._connection = prepare(database.connect(self._url, application="ingest worker"))
        return self._connection


def build_worker(settings: Settings, redis: Redis) -> Worker:
    """A worker with its tools."""
    queue = wake_queue(redis)
    worker = Worker(
        [queue],
        connection=redis,
        serializer=JSONSerializer,
        job_class=tasks.AllowedJob,
        worker_ttl=_WORKER_TTL_SECONDS,
        disable_default_exception_handler=False,
    )
    tasks.use(
        Tools(
            redis=redis,
            scripts=Scripts(redis),
            queue=queue,
            connection=DatabaseConnection(settings.database_url),
            stopping=lambda: worker.told_to_stop,
        ),
        keep_days(settings),
    )
    return worker


def main() -> None:
    """Works until told to stop."""
    settings = logging_settings("worker")
    stopped = False
    while not stopped:
        stopped = work(build_worker(settings, durable_redis(settings)))


def work(worker: Worker) -> bool:
    """Works until told to stop (true) or Redis is lost (false): RQ's worker ends with the connection."""
    try:
        worker.work(logging_level="WARNING")
    except UNAVAILABLE as fault:
        log.warning("redis_lost", error=str(fault))
        return worker.told_to_stop
    return True


if __name__ == "__main__":
    main()
