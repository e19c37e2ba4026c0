"""The chore of every hour: partitions are made ahead, and what is old goes. RQ's schedule brings it (`schedule.py`).

How that is done without keeping writers waiting is told in `shared/postgres/partitions.py`. Here it is a job among the
drains, so it is short: what is left to delete is another job, behind those that wait by now. If it fails, RQ tries it
again after a minute, a few times; the next hour's run comes in any case.
"""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

import psycopg
import structlog
from redis import Redis

from shared.postgres import partitions
from shared.postgres.connections import Connection
from shared.postgres.partitions import KeepDays, Tally
from shared.postgres.queries import sql
from shared.process.settings import Settings
from workers.drain import DrainContext
from workers.schedule import enqueue_rest

log = structlog.get_logger()


def age_out(tools: DrainContext, keep: KeepDays, *, rest: bool = False, now: datetime | None = None) -> Tally:
    """One run, or only the `rest` of what a run deletes. Raises psycopg.Error."""
    tally = Tally()
    try:
        connection = tools.connection()
        moment = now or _agreed_time(connection, tools.redis)
        if not rest:
            partitions.make_ahead(connection, tally, now=moment)
            partitions.drop_old(connection, tally, keep, now=moment)
        partitions.delete_old(connection, tally, keep, now=moment)
    except psycopg.Error as fault:
        log.error("aging_failed", error=str(fault), **dataclasses.asdict(tally))  # noqa: TRY400 - RQ logs the traceback
        raise
    say = log.warning if tally.postponed else log.info
    say("aged_out", **dataclasses.asdict(tally))
    if tally.rows_left:
        enqueue_rest(tools.queue)
    return tally


def _agreed_time(connection: Connection, redis: Redis) -> datetime:
    """The earlier of two clocks: Redis' makes the versions, and neither may make everything old by being ahead."""
    here: datetime = connection.execute(sql("select_time")).fetchall()[0]["now"]
    seconds, _ = redis.time()
    return min(here, datetime.fromtimestamp(seconds, UTC))


def keep_days(settings: Settings) -> KeepDays:
    """Return the days for which each table's rows are kept."""
    return {
        "receipts": settings.keep_receipts_days,
        "connector_logs": settings.keep_logs_days,
        "dead_letters": settings.keep_dead_letters_days,
    }
