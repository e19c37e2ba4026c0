"""`ingestctl status`: what is wrong, the worst first; lanes, workers and connectors.

The only command that continues without one of the engines: it shows what the other one knows, names what is
unavailable, and ends with exit code 1.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any, Final

import typer

from operations.cli import session
from operations.cli.arguments import AsJson
from operations.cli.connector_output import NUMBERS, connector_cells, connector_document
from operations.cli.errors import sentence
from operations.cli.output import print_json, print_line, print_note, print_table
from operations.readable import counted, readable_bytes, readable_seconds, visible
from operations.state import DatabaseState, State, look, totals_document
from operations.troubles import Trouble, troubles
from shared.process.startup import process_settings, queue_of
from shared.redis.connections import connect_redis
from shared.redis.lane_status import Lane, RedisState, WorkerState
from shared.rfc3339 import rfc3339

EXAMPLES: Final = """Examples:

    \b
      ingestctl status
      ingestctl status --json
    """

_CONNECTOR_MEMBERS: Final = ("connectorId", "name", "enabled", "lane", "lastSeenAt")
_CONNECTOR_TITLES: Final = ("id", "name", "enabled", "lane", "last seen", "")


def status(*, as_json: AsJson = False) -> None:
    """Show what is wrong and what to do, then lanes, workers and when connectors were last seen.

    Without one of the engines it shows what the other one knows.
    """
    settings = process_settings()
    state = look(
        lambda: session.open_database(settings.database_url),
        lambda: connect_redis(settings.redis_url),
        partial(queue_of, settings),
        quiet_after_seconds=settings.quiet_after_seconds,
        told=sentence,
    )
    found = troubles(state, settings.max_backlog_bytes)
    if as_json:
        told = {"troubles": [trouble.document() for trouble in found]}
        print_json({**told, **state.document(), "connectors": _connector_documents(state)})
    else:
        _print_troubles(found)
        _print(state.database, state.redis)
        _print_seen(state)
    away = [node.sentence() for node in state.redis.away] if state.redis else []
    faults = [fault for fault in (state.database_fault, state.redis_fault, *away) if fault]
    for fault in faults:
        print_note(fault)
    if faults:
        raise typer.Exit(1)


def _connector_documents(state: State) -> list[dict[str, Any]] | None:
    if state.database is None:
        return _seen_documents(state.signs) if state.signs else None
    return [
        {name: whole[name] for name in _CONNECTOR_MEMBERS} | {"quiet": row["quiet"], "silence": row["silence"]}
        for row in state.database.connectors
        for whole in [connector_document(row)]
    ]


def _seen_documents(signs: dict[int, datetime]) -> list[dict[str, Any]]:
    """Return what Redis alone knows of connectors."""
    return [{"connectorId": one, "lastSeenAt": rfc3339(at), "quiet": None} for one, at in sorted(signs.items())]


def _print_seen(state: State) -> None:
    if state.signs and not state.database:
        print_line(f"\n{counted(len(state.signs), 'connector')} seen, as Redis knows.")
        cells = ((str(one["connectorId"]), one["lastSeenAt"]) for one in _seen_documents(state.signs))
        print_table(("id", "last seen"), cells, numbers=NUMBERS)


def _print_troubles(found: list[Trouble]) -> None:
    for trouble in found:
        print_line(f"{'!' if trouble.urgent else '-'} {visible(trouble.sentence)}")
        print_line(f"    {trouble.remedy}")
    print_line("" if found else "Nothing is wrong.\n")


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
    totals, waiting = totals_document(lanes), "nothing waits"
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
        print_table(
            ("worker", "state", "lane", "last heartbeat"),
            (_worker_row(one, redis) for one in redis.workers),
            numbers=("lane",),
        )


def _worker_row(worker: WorkerState, redis: RedisState) -> tuple[str, ...]:
    lane = "-" if worker.lane is None else str(worker.lane)
    state = worker.state if worker.process in redis.living else "does not report"
    return (worker.name, state, lane, visible(rfc3339(worker.last_heartbeat_at)))


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
