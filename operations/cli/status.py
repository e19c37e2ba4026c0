"""`ingestctl status`: lanes, workers and connectors.

The only command that continues without one of the engines: it shows what the other one knows, names what is
unavailable, and ends with exit code 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

import psycopg
import typer
from redis.exceptions import RedisError

from operations.cli import session
from operations.cli.arguments import AsJson
from operations.cli.connector import NUMBERS, connector_cells, connector_document
from operations.cli.errors import sentence
from operations.cli.output import (
    counted,
    print_json,
    print_line,
    print_note,
    print_table,
    readable_bytes,
    readable_seconds,
    visible,
)
from operations.connectors import select_connectors
from shared.causes import SentenceError
from shared.credentials.sync import NotMigratedError
from shared.postgres.queries import sql
from shared.process.settings import Settings
from shared.process.startup import process_settings
from shared.redis.connections import connect_redis
from shared.redis.lane_status import Lane, RedisState, WorkerState, look_at_redis
from shared.redis.numbers import copied_lanes
from shared.redis.signs_of_life import read_signs, with_signs
from shared.rfc3339 import rfc3339

EXAMPLES: Final = """Examples:

    \b
      ingestctl status
      ingestctl status --json
    """

_CONNECTOR_MEMBERS: Final = ("connectorId", "name", "enabled", "lane", "lastSeenAt")
_CONNECTOR_TITLES: Final = ("id", "name", "enabled", "lane", "last seen", "")

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """What Postgres knows about the installation."""

    lanes: int
    connectors: list[dict[str, Any]]


def status(*, as_json: AsJson = False) -> None:
    """Show lanes, workers and when connectors were last seen.

    Without one of the engines it shows what the other one knows.
    """
    settings = process_settings()
    database, database_error = _attempt(lambda: _look_at_database(settings))
    redis, redis_error = _attempt(lambda: _look_at_redis(settings, database.lanes if database else None))
    signs, _ = _attempt(lambda: _read_signs(settings))
    if database:
        with_signs(database.connectors, signs or {}, settings.quiet_after_seconds)
    if as_json:
        document = _document(database, database_error, redis, redis_error)
        print_json(document if database else {**document, "connectors": _seen_documents(signs)})
    else:
        _print(database, redis)
        if signs and not database:
            print_line(f"\n{counted(len(signs), 'connector')} seen, as Redis knows.")
            cells = ((str(one["connectorId"]), one["lastSeenAt"]) for one in _seen_documents(signs) or ())
            print_table(("id", "last seen"), cells, numbers=NUMBERS)
    errors = [error for error in (database_error, redis_error) if error]
    for error in errors:
        print_note(error)
    if errors:
        raise typer.Exit(1)


def _attempt(look: Callable[[], Found]) -> tuple[Found | None, str | None]:
    """Return what `look` found, or the sentence that says why it failed."""
    try:
        return look(), None
    except (psycopg.Error, RedisError, SentenceError) as error:
        return None, sentence(error)


def _look_at_database(settings: Settings) -> DatabaseState:
    with session.open_database(settings.database_url) as connection:
        lanes = int(connection.execute(sql("count_lanes")).fetchall()[0]["lanes"])
        if lanes == 0:
            raise NotMigratedError
        return DatabaseState(lanes, select_connectors(connection))


def _look_at_redis(settings: Settings, lanes: int | None) -> RedisState:
    with connect_redis(settings.redis_url) as redis:
        return look_at_redis(redis, lanes)


def _read_signs(settings: Settings) -> dict[int, datetime]:
    with connect_redis(settings.redis_url) as redis:
        return read_signs(redis, copied_lanes(redis))


def _document(
    database: DatabaseState | None, database_error: str | None, redis: RedisState | None, redis_error: str | None
) -> dict[str, Any]:
    """Return the document for JSON; what could not be read is null."""
    return {
        "postgres": {"available": database is not None, "fault": database_error},
        "redis": {"available": redis is not None, "fault": redis_error},
        "lanes": [_lane_document(lane) for lane in redis.lanes] if redis else None,
        "totals": _totals_document(redis.lanes) if redis else None,
        "workers": [_worker_document(worker) for worker in redis.workers] if redis else None,
        "queue": {"jobs": redis.queued_jobs, "failedJobs": redis.failed_jobs} if redis else None,
        "sweeper": redis.sweeper if redis else None,
        "connectors": [_connector_document(row) for row in database.connectors] if database else None,
    }


def _seen_documents(signs: dict[int, datetime] | None) -> list[dict[str, Any]] | None:
    """Return what Redis alone knows of connectors."""
    if signs is None:
        return None
    return [{"connectorId": one, "lastSeenAt": rfc3339(at), "quiet": None} for one, at in sorted(signs.items())]


def _lane_document(lane: Lane) -> dict[str, Any]:
    return {
        "lane": lane.number,
        "ready": lane.ready,
        "entries": lane.entries,
        "bytes": lane.bytes,
        "oldestAgeSeconds": lane.oldest_age_seconds,
        "lease": {"state": lane.lease, "millisecondsLeft": lane.lease_ms_left},
    }


def _totals_document(lanes: list[Lane]) -> dict[str, Any]:
    ages = (lane.oldest_age_seconds for lane in lanes if lane.oldest_age_seconds is not None)
    return {
        "lanes": len(lanes),
        "ready": sum(lane.ready for lane in lanes),
        "entries": sum(lane.entries for lane in lanes),
        "bytes": sum(lane.bytes for lane in lanes),
        "oldestAgeSeconds": max(ages, default=None),
    }


def _worker_document(worker: WorkerState) -> dict[str, Any]:
    return {
        "name": worker.name,
        "state": worker.state,
        "jobId": worker.job_id,
        "lane": worker.lane,
        "lastHeartbeatAt": rfc3339(worker.last_heartbeat_at),
    }


def _connector_document(row: dict[str, Any]) -> dict[str, Any]:
    whole = connector_document(row)
    return {**{name: whole[name] for name in _CONNECTOR_MEMBERS}, "quiet": row["quiet"], "silence": row["silence"]}


def _print(database: DatabaseState | None, redis: RedisState | None) -> None:
    """Print tables; what could not be read is omitted, and stderr says why."""
    if redis and redis.lanes:
        _print_lanes(redis.lanes)
        print_line()
    if redis:
        _print_workers(redis)
    if redis and database:
        print_line()
    if database:
        _print_connectors(database.connectors)


def _print_lanes(lanes: list[Lane]) -> None:
    totals, waiting = _totals_document(lanes), "nothing waits"
    if totals["entries"]:
        size, oldest = readable_bytes(totals["bytes"]), readable_seconds(totals["oldestAgeSeconds"])
        submissions = counted(totals["entries"], "submission waits", "submissions wait")
        waiting = f"{submissions} ({size}), the oldest for {oldest}"
    print_line(f"{counted(len(lanes), 'lane')}, {_readiness(lanes)}; {waiting}.")
    active = [lane for lane in lanes if lane.entries or lane.lease != "none"]
    if active:
        titles = ("lane", "submissions", "bytes", "oldest", "lease", "left")
        print_table(titles, map(_lane_row, active), numbers=("lane", "submissions", "bytes", "oldest", "left"))


def _readiness(lanes: list[Lane]) -> str:
    unready = [str(lane.number) for lane in lanes if not lane.ready]
    if not unready:
        return "all ready"
    return f"not ready: {'all' if len(unready) == len(lanes) else ', '.join(unready)}"


def _lane_row(lane: Lane) -> tuple[str, ...]:
    return (
        str(lane.number),
        f"{lane.entries:,}",
        readable_bytes(lane.bytes),
        readable_seconds(lane.oldest_age_seconds),
        lane.lease,
        "-" if lane.lease_ms_left is None else f"{lane.lease_ms_left:,} ms",
    )


def _print_workers(redis: RedisState) -> None:
    print_line(
        f"{counted(len(redis.workers), 'worker')}; {counted(redis.queued_jobs, 'job')} queued, "
        f"{redis.failed_jobs:,} failed; {'a' if redis.sweeper else 'no'} sweeper acts."
    )
    if redis.workers:
        print_table(("worker", "state", "lane", "last heartbeat"), map(_worker_row, redis.workers), numbers=("lane",))


def _worker_row(worker: WorkerState) -> tuple[str, ...]:
    lane = "-" if worker.lane is None else str(worker.lane)
    return (worker.name, worker.state, lane, visible(rfc3339(worker.last_heartbeat_at)))


def _print_connectors(connectors: list[dict[str, Any]]) -> None:
    quiet = sum(row["quiet"] for row in connectors)
    print_line(f"{counted(len(connectors), 'connector')}{f', {quiet:,} quiet' if quiet else ''}.")
    if connectors:
        print_table(_CONNECTOR_TITLES, map(_connector_row, connectors), numbers=NUMBERS)


def _connector_row(row: dict[str, Any]) -> list[str]:
    silence = {"never": "never seen, for", "quiet": "quiet for", None: ""}[row["silence"]]
    quiet = silence and f"{silence} {readable_seconds(row['silent_seconds'])}"
    cells = {**connector_cells(row), "": quiet}
    return [cells[title] for title in _CONNECTOR_TITLES]
