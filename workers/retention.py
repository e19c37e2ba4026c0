"""The hourly retention job: creates partitions ahead and deletes old rows, traces of removals and audit records.

RQ's schedule starts it (`schedule.py`). `shared/postgres/partitions.py` does this without keeping writers waiting. The
job stands in the drains' queue, so it is short: what is left to delete is another job, behind those that wait by then.
If it fails, RQ retries it after a minute, a few times; the next hour's run follows in any case.
"""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Final

import psycopg
import structlog
from psycopg.sql import SQL, Identifier
from redis import Redis
from redis.exceptions import RedisError

from shared import kinds
from shared.causes import cause_of, detail_of
from shared.postgres import partitions
from shared.postgres.connections import Connection
from shared.postgres.partitions import KeepDays, Tally
from shared.postgres.queries import sql
from shared.process.settings import Settings
from shared.redis.primaries import primaries
from shared.traffic import KEEP_MINUTES_DAYS
from workers import metrics
from workers.context import DrainContext
from workers.schedule import enqueue_rest

log = structlog.get_logger()

#: See `shared/postgres/queries/removals.sql`.
_TRACES: Final = ("deletions", "retains", "retained_ids")
#: Rows of one of these tables, or of the audit, that one run deletes: some 0.1 s.
_ROWS_AT_ONCE: Final = 50_000


def keep_days(settings: Settings) -> KeepDays:
    """Return the days for which each table's rows are kept."""
    return {
        "receipts": settings.keep_receipts_days,
        **{table.name: getattr(settings, table.keep) for table in kinds.TABLES},
        "dead_letters": settings.keep_dead_letters_days,
        "traffic_minutes": min(KEEP_MINUTES_DAYS, settings.keep_traffic_days),
        "traffic_hours": settings.keep_traffic_days,
        "audit": settings.keep_audit_days,
    }


def age_out(context: DrainContext, keep: KeepDays, *, rest: bool = False, now: datetime | None = None) -> Tally:
    """Do one run, or only the `rest` of what a run deletes. Raises psycopg.Error."""
    tally = Tally()
    try:
        connection = context.connection()
        moment = now or _agreed_time(connection, context.redis)
        if not rest:
            partitions.make_ahead(connection, tally, now=moment)
            partitions.drop_old(connection, tally, keep, now=moment)
        partitions.delete_old(connection, tally, keep, now=moment)
        _delete_traces(connection, tally)
        _delete_audit(connection, tally, before=moment - timedelta(days=keep["audit"]))
    except (psycopg.Error, RedisError) as error:
        metrics.RETENTION_RUNS.labels("failed").inc()
        log.error(  # noqa: TRY400 - RQ's worker logs the traceback, if no engine explains the error
            "aging_failed", cause=cause_of(error), detail=detail_of(error), **dataclasses.asdict(tally)
        )
        raise
    metrics.RETENTION_RUNS.labels("postponed" if tally.postponed else "done").inc()
    metrics.RETENTION_DROPPED.inc(tally.dropped)
    metrics.RETENTION_DELETED.inc(tally.deleted)
    metrics.RETENTION_SUCCESS.set_to_current_time()
    say = log.warning if tally.postponed else log.info
    say("aged_out", **dataclasses.asdict(tally))
    if tally.rows_left:
        enqueue_rest(context.queue)
    return tally


def _delete_traces(connection: Connection, tally: Tally) -> None:
    """Delete what kept late older states from bringing back removed items, and no longer has to."""
    for table in _TRACES:
        query = SQL(sql("delete_expired_traces").decode()).format(table=Identifier(table))
        _note(tally, connection.execute(query, {"limit": _ROWS_AT_ONCE}).rowcount)


def _delete_audit(connection: Connection, tally: Tally, *, before: datetime) -> None:
    values = {"before": before, "limit": _ROWS_AT_ONCE}
    _note(tally, connection.execute(sql("delete_old_audit"), values).rowcount)


def _note(tally: Tally, deleted: int) -> None:
    tally.deleted += deleted
    tally.rows_left |= deleted == _ROWS_AT_ONCE


def _agreed_time(connection: Connection, redis: Redis) -> datetime:
    """Return the earliest of all clocks: Redis' make the versions, and a clock that is ahead must delete nothing."""
    here: datetime = connection.execute(sql("select_time")).fetchall()[0]["now"]
    seconds = [node.time()[0] for node in primaries(redis)]
    return min(here, *(datetime.fromtimestamp(one, UTC) for one in seconds))
