"""One connector: what it does, its items and its log."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from operations.connectors import select_connectors
from operations.console.pages.survey import STATES, complete, tell_stale_key
from operations.console.pages.traffic import RANGES, traffic_of
from operations.console.pages.visit import Visit
from operations.items import select_items, wanted_items
from operations.refusals import group_refusals
from operations.requests import select_newest_logs
from operations.state import LATELY
from operations.streams import MOST_COUNTED, MOST_STREAMS, glance_at_streams, read_streams
from shared.log_levels import STORED_LEVELS
from shared.postgres.connections import Connection
from shared.postgres.queries import sql
from shared.redis.lane_status import connector_backlogs
from shared.redis.signs_of_life import signs_of, with_signs

_ITEMS: Final = 50
_ENTRIES: Final = 100
_LEVELS: Final = list(dict.fromkeys(STORED_LEVELS.values()))


def subject(visit: Visit, connection: Connection) -> dict[str, Any]:
    """Return the connector that the path names. Raises NotFoundError."""
    return select_connectors(connection, visit.number("connector_id"))[0]


def activity(visit: Visit) -> dict[str, Any]:
    """Show how the connector does."""
    now = datetime.now(UTC)
    since = now - timedelta(hours=1)
    name = visit.choice("range", list(RANGES))
    with visit.engines.database() as connection:
        row = subject(visit, connection)
        dead = connection.execute(sql("count_dead_of_connector"), {"connector_id": row["connector_id"]}).fetchall()
        values = {"since": round(since.timestamp() * 1000) << 20, "connector_id": row["connector_id"]}
        hour = connection.execute(sql("sum_traffic_of_connector"), values).fetchall()[0]
        traffic = traffic_of(connection, row["connector_id"], name, now)
        refusals = group_refusals(connection, connector_id=row["connector_id"], since=now - timedelta(days=1), limit=5)
    signs = visit.attempt(lambda: signs_of(visit.engines.redis, [row])) or {}
    with_signs([row], signs, visit.engines.settings.quiet_after_seconds, now)
    complete(row, hour, dead[0]["letters"])
    if any(one["code"] == "unauthorized" and now - one["last_at"] < LATELY for one in refusals):
        tell_stale_key(row)
    return {
        "row": row,
        "states": STATES,
        "tab": "activity",
        "range": name,
        "ranges": [(key, label) for key, (label, _, _) in RANGES.items()],
        "traffic": traffic,
        "refusals": refusals,
        "waiting": visit.attempt(lambda: _waiting(visit, row)),
    }


def items(visit: Visit) -> dict[str, Any]:
    """Show the connector's streams, and the items of one, by the beginning of their ids or names."""
    wanted, search = visit.text("stream"), visit.text("q")
    with visit.engines.database() as connection:
        row = subject(visit, connection)
        look = read_streams if visit.text("count") else glance_at_streams
        streams = look(connection, row["connector_id"])
        stream = wanted or next((str(one["stream"]) for one in streams), "")
        asked = wanted_items(row["connector_id"], stream, search=search, after=visit.text("after"), limit=_ITEMS + 1)
        found = [visit.session.role.shown(one) for one in select_items(connection, asked)] if stream else []
    return {
        "row": row,
        "tab": "items",
        "streams": streams,
        "counted": MOST_COUNTED,
        "further": look is glance_at_streams and len(streams) == MOST_STREAMS,
        "stream": stream,
        "items": found[:_ITEMS],
        "next": found[_ITEMS - 1]["id"] if len(found) > _ITEMS else None,
        "q": search or "",
        "values": visit.session.role.sees_values,
    }


def log(visit: Visit) -> dict[str, Any]:
    """Show what the connector logged last."""
    level = visit.choice("level", ["", *_LEVELS])
    with visit.engines.database() as connection:
        row = subject(visit, connection)
        entries = select_newest_logs(connection, row["connector_id"], level=level or None, limit=_ENTRIES)
    return {
        "row": row,
        "tab": "log",
        "entries": [visit.session.role.shown(one) for one in entries],
        "level": level,
        "levels": [("", "all"), *((one, one) for one in _LEVELS)],
        "values": visit.session.role.sees_values,
        "most": _ENTRIES,
    }


def _waiting(visit: Visit, row: dict[str, Any]) -> int:
    return connector_backlogs(visit.engines.redis, row["lane"]).get(row["connector_id"], 0)
