"""Every connector with what is wrong with it, from Postgres, Redis and the counts of traffic; shared for some seconds.

All pages of all operators look at the same reading, so that a hundred open pages cost what one does.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any, Final

import psycopg
from psycopg_pool import PoolTimeout
from redis.exceptions import RedisError

from operations.engines import Engines
from operations.traffic import read_traffic
from shared.causes import cause_of
from shared.postgres.connections import Connection
from shared.postgres.queries import sql
from shared.redis.signs_of_life import read_signs, with_signs

#: Time for which a reading is shared, in seconds.
_SHARED_SECONDS: Final = 3.0
#: Share of refused requests from which a connector counts as refused, and lag in seconds from which it counts as late.
_REFUSED_SHARE: Final = 0.01
_LATE_SECONDS: Final = 60.0

#: States, the worst first: name, what it means, what to do.
STATES: Final = {
    "dead": ("has dead letters", "Some of its submissions could not be applied: read why, then retry or drop them."),
    "refused": (
        "is refused",
        "Requests were refused in this hour or the last one: the refusals say what to change in it.",
    ),
    "late": ("is late", "What it sends is applied more than a minute later: see its lane in the engine room."),
    "never": ("never sent", "Nothing was accepted since it was made: check its address and credential."),
    "quiet": ("is quiet", "It has stopped sending: look at the machine or source that it runs on."),
    "disabled": ("is disabled", "Its credential is refused, as an operator decided."),
    "well": ("is well", ""),
}


@dataclass(frozen=True, slots=True)
class Survey:
    """All connectors, the worst first, at one time. Each row has a `state`, and `problems`: all that apply."""

    rows: list[dict[str, Any]]
    at: datetime
    #: Start of what traffic is counted since.
    since: datetime
    #: Requests that were refused and are no connector's: unknown keys, requests without one.
    unknown: dict[str, Any] | None
    faults: Sequence[str]

    def counts(self) -> Counter[str]:
        """Return how many connectors have each problem."""
        return Counter(problem for row in self.rows for problem in row["problems"])


class Surveyor:
    """Makes surveys, at most one every few seconds."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self._lock = Lock()
        self._last: Survey | Exception = PoolTimeout()
        self._made_at = -_SHARED_SECONDS

    def survey(self) -> Survey:
        """Return a survey that is some seconds old at most. Raises what the engine's clients raise."""
        with self._lock:
            if time.monotonic() - self._made_at > _SHARED_SECONDS:
                try:
                    self._last = self._made()
                except (psycopg.Error, PoolTimeout) as error:
                    self._last = error  # waiting for a connection takes seconds: all pages wait for it once
                self._made_at = time.monotonic()
            if isinstance(self._last, Survey):
                return self._last
            raise self._last

    def forget(self) -> None:
        """Make another survey next time, after a change."""
        self._made_at = -_SHARED_SECONDS

    def _made(self) -> Survey:
        now = datetime.now(UTC)
        since = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
        with self._engines.database() as connection:
            rows = connection.execute(sql("survey_connectors"), {}).fetchall()
            traffic = {row["connector_id"]: row for row in _hours(connection, since)}
            dead = {
                row["connector_id"]: row["letters"] for row in connection.execute(sql("count_dead_by_connector"), {})
            }
            lanes = int(connection.execute(sql("count_lanes")).fetchall()[0]["lanes"])
        faults = []
        signs: dict[int, datetime] = {}
        try:
            signs = read_signs(self._engines.redis, lanes)
        except RedisError as error:
            faults.append(cause_of(error))
        with_signs(rows, signs, self._engines.settings.quiet_after_seconds, now)
        for row in rows:
            complete(row, traffic.get(row["connector_id"]), dead.get(row["connector_id"], 0))
        rows.sort(key=_badness)
        return Survey(rows, now, since, traffic.get(0), faults)


def _hours(connection: Connection, since: datetime) -> list[dict[str, Any]]:
    found: dict[int, dict[str, Any]] = {}
    for row in read_traffic(connection, since=since, step="hour"):
        known = found.setdefault(row["connector_id"], row)
        if known is not row:
            merge(known, row)
    return list(found.values())


def merge(known: dict[str, Any], row: dict[str, Any]) -> None:
    """Add one row of traffic to another one."""
    for name in ("submissions", "items", "bytes", "refused", "applied", "superseded", "removed", "dead"):
        known[name] += row[name]
    known["refused_by_code"] = dict(Counter(known["refused_by_code"]) + Counter(row["refused_by_code"]))
    known["lag_seconds"] = max(filter(None, (known["lag_seconds"], row["lag_seconds"])), default=None)


def complete(row: dict[str, Any], traffic: dict[str, Any] | None, dead: int) -> None:
    """Add to a connector's row its traffic, dead letters, and what is wrong with it."""
    counted = traffic or {}
    row["dead"] = dead
    for name in ("submissions", "items", "refused", "bytes"):
        row[name] = counted.get(name, 0)
    row["lag_seconds"] = counted.get("lag_seconds")
    codes = counted.get("refused_by_code", {})
    row["top_code"] = max(codes, key=codes.__getitem__, default=None)
    requests = row["submissions"] + row["refused"]
    row["refused_share"] = row["refused"] / requests if requests else 0.0
    applies = {
        "disabled": not row["enabled"],
        "dead": dead > 0,
        "refused": row["refused_share"] > _REFUSED_SHARE,
        "late": (row["lag_seconds"] or 0) > _LATE_SECONDS,
        "never": row["silence"] == "never",
        "quiet": row["silence"] == "quiet",
    }
    row["problems"] = [state for state in STATES if applies.get(state)] or ["well"]
    row["state"] = row["problems"][0]


_ORDER: Final = {state: place for place, state in enumerate(STATES)}


def _badness(row: dict[str, Any]) -> tuple[int, float, float, int]:
    return _ORDER[row["state"]], -float(row["dead"]), -row["refused_share"], row["connector_id"]
