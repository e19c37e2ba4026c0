"""The engine room: lanes and their connectors, workers, Redis and Postgres."""

from __future__ import annotations

import platform
from typing import Any, Final

from redis import Redis

from operations.console.pages.names import names_of
from operations.console.pages.visit import Visit
from shared.causes import cause_of
from shared.postgres.queries import sql
from shared.redis.lane_status import connector_backlogs, look_at_redis
from shared.redis.primaries import Answer, ask_each, told_by_any

_CONNECTORS: Final = 5
_FACTS: Final = {
    "redis_version": "version",
    "valkey_version": "Valkey version",
    "role": "role",
    "uptime_in_seconds": "runs for, seconds",
    "used_memory_human": "memory",
    "maxmemory_human": "memory at most (0: what the machine has)",
    "connected_clients": "clients",
    "instantaneous_ops_per_sec": "commands a second",
    "aof_enabled": "append-only file",
    "aof_last_write_status": "last write of it",
    "rejected_connections": "refused connections",
    "evicted_keys": "evicted keys (must be 0)",
}


def show(visit: Visit) -> dict[str, Any]:
    """Show the engines."""
    redis = visit.attempt(lambda: look_at_redis(visit.engines.redis, visit.engines.queue, None))
    shares = visit.attempt(lambda: _shares(visit, redis)) or {} if redis else {}
    facts = visit.attempt(lambda: redis_facts(visit.engines.redis)) if redis else None
    postgres = visit.attempt(lambda: _postgres(visit, shares))
    return {
        "redis": redis,
        "stalled": (redis.stalled or []) if redis else [],
        "shares": shares,
        "facts": facts,
        "bound": visit.engines.settings.max_backlog_bytes,
        "postgres": postgres,
        "python": platform.python_version(),
    }


def _shares(visit: Visit, redis: Any) -> dict[int, list[tuple[int, int]]]:
    """Return, of each lane with entries, the connectors with most bytes in it."""
    busy = [lane.number for lane in redis.lanes if lane.entries]
    parts = {lane: connector_backlogs(visit.engines.redis, lane) for lane in busy}
    return {lane: sorted(part.items(), key=lambda pair: -pair[1])[:_CONNECTORS] for lane, part in parts.items()}


def redis_facts(redis: Redis) -> list[dict[str, Any]]:
    """Return what each server tells of itself. Raises RedisError if none answers."""
    answers = ask_each(redis, (), lambda node, _: node.info())
    told_by_any(answers)
    return [_facts_of(answer) for answer in answers]


def _facts_of(answer: Answer[Any]) -> dict[str, Any]:
    address = {"address": answer.node} if answer.node else {}
    if answer.error:
        return {**address, "state": cause_of(answer.error)}
    told = answer.told[0]
    return address | {label: told[name] for name, label in _FACTS.items() if name in told}


def _postgres(visit: Visit, shares: dict[int, list[tuple[int, int]]]) -> dict[str, Any]:
    with visit.engines.database() as connection:
        server = connection.execute(sql("describe_postgres")).fetchall()[0]
        tables = connection.execute(sql("describe_tables")).fetchall()
        lanes = connection.execute(sql("count_connectors_by_lane")).fetchall()
        names = names_of(connection, [connector_id for share in shares.values() for connector_id, _ in share])
    connectors = {row["lane"]: row["connectors"] for row in lanes}
    return {"server": server, "tables": tables, "connectors": connectors, "names": names}
