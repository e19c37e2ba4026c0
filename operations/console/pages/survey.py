"""Every connector with what is wrong with it, from Postgres, Redis and the counts of traffic; shared for some seconds.

All pages of all operators look at the same reading, so that a hundred open pages cost what one does.
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any, Final

import psycopg

from operations.engines import Engines
from operations.state import DatabaseState, State
from operations.troubles import Trouble
from shared.causes import NotNowError, cause_of
from shared.error_codes import ErrorCode
from shared.postgres.queries import sql

#: Time for which a reading is shared at least, and after which a page waits for another one, in seconds. Between them
#: it is shown while a thread reads again; what it takes is at most one part in so many of all time.
_SHARED_SECONDS, _OLD_SECONDS = 3.0, 15.0
_SHARE: Final = 20
#: Share of refused requests from which a connector counts as refused, and lag in seconds from which it counts as late.
_REFUSED_SHARE: Final = 0.01
_LATE_SECONDS: Final = 60.0

#: Code of requests with a key that is not taken any more.
_STALE_KEY: Final = ErrorCode.UNAUTHORIZED.text

#: States, the worst first: name, what it means, what to do.
STATES: Final = {
    "dead": ("has dead letters", "Some of its submissions could not be applied: read why, then retry or drop them."),
    "refused": (
        "is refused",
        "Requests were refused in this hour or the last one: the refusals say what to change.",
    ),
    "late": ("is late", "What it sends is applied more than a minute later: see its lane in the engine room."),
    "never": ("never sent", "Nothing was accepted since it was made: check its address and credential."),
    "quiet": ("is quiet", "It has stopped sending: look at the machine or source that it runs on."),
    "disabled": ("is disabled", "Its credential is refused, as an operator decided."),
    "well": ("is well", ""),
}


@dataclass(frozen=True, slots=True)
class Survey:
    """The installation at one time: its state, what is wrong, all connectors, the worst first.

    Each row of a connector has a `state`, and `problems`: all that apply.
    """

    at: datetime
    #: Start of what traffic is counted since.
    since: datetime
    state: State
    troubles: list[Trouble]
    rows: list[dict[str, Any]]

    def counts(self) -> Counter[str]:
        """Return how many connectors have each problem."""
        return Counter(problem for row in self.rows for problem in row["problems"])

    def faults(self) -> list[str]:
        """Return why something could not be read."""
        return [fault for fault in (self.state.database_fault, self.state.redis_fault) if fault]


class Surveyor:
    """Makes surveys, at most one every few seconds; pages do not wait for them while they are asked for."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self._lock = Lock()
        self._last: Survey | None = None
        self._made_at = 0.0
        #: Seconds that the last one took.
        self._took = 0.0
        self._changes = 0

    def survey(self) -> Survey:
        """Return a survey that is some seconds old at most."""
        last, age = self._last, time.monotonic() - self._made_at
        if last is None or age > _OLD_SECONDS:
            with self._lock:
                # Another thread may have made one meanwhile.
                is_new = self._last and time.monotonic() - self._made_at < _SHARED_SECONDS
                return self._last if self._last and is_new else self._made_again()
        self.prepare()
        return last

    def prepare(self) -> None:
        """Let a thread make a survey, unless the last one is new: the next page does not wait for it."""
        age = time.monotonic() - self._made_at
        if age > max(_SHARED_SECONDS, _SHARE * self._took) and self._lock.acquire(blocking=False):
            self._engines.in_background(self._renew)

    def _renew(self) -> None:
        try:
            self._made_again()
        finally:
            self._lock.release()

    def _made_again(self) -> Survey:
        changes, began = self._changes, time.monotonic()
        made = self._made()
        self._made_at = time.monotonic()
        self._took = self._made_at - began
        # One that was begun before a change may not show it.
        self._last = made if changes == self._changes else None
        return made

    def connectors(self) -> Survey:
        """Return a survey with connectors. Raises NotNowError while Postgres is unavailable."""
        survey = self.survey()
        if survey.state.database is None:
            raise NotNowError(survey.state.database_fault)
        return survey

    def forget(self) -> None:
        """Make another survey next time, after a change."""
        self._changes += 1
        self._last = None

    def _made(self) -> Survey:
        engines, now = self._engines, datetime.now(UTC)
        since = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
        state = engines.state()
        rows: list[dict[str, Any]] = []
        try:
            if state.database:
                rows = self._completed(state.database, since)
        except psycopg.Error as error:
            state = dataclasses.replace(state, database=None, database_fault=cause_of(error))
        return Survey(now, since, state, engines.troubles(state), rows)

    def _completed(self, found: DatabaseState, since: datetime) -> list[dict[str, Any]]:
        """Return connectors with their traffic, dead letters and what is wrong with them, the worst first."""
        rows = found.connectors
        stale = {one["connector_id"] for one in found.refusals if one["code"] == _STALE_KEY}
        with self._engines.database() as connection:
            values = {"since": round(since.timestamp() * 1000) << 20}
            sums = connection.execute(sql("sum_traffic_by_connector"), values).fetchall()
            counted = connection.execute(sql("count_dead_by_connector"), {}).fetchall()
        traffic = {row["connector_id"]: row for row in sums}
        dead = {row["connector_id"]: row["letters"] for row in counted}
        for row in rows:
            complete(row, traffic.get(row["connector_id"]), dead.get(row["connector_id"], 0))
            if row["connector_id"] in stale:
                tell_stale_key(row)
        return sorted(rows, key=_badness)


def complete(row: dict[str, Any], traffic: dict[str, Any] | None, dead: int) -> None:
    """Add to a connector's row its traffic, dead letters, and what is wrong with it."""
    counted = traffic or {}
    row["dead"] = dead
    for name in ("submissions", "items", "refused", "bytes"):
        row[name] = counted.get(name, 0)
    lag_ms = counted.get("lag_ms")
    row["lag_seconds"] = lag_ms / 1000 if lag_ms else None
    row["top_code"] = counted.get("top_code")
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


def tell_stale_key(row: dict[str, Any]) -> None:
    """Add to a completed row that requests with a key of the connector are refused, which no traffic counts for it."""
    row["top_code"] = row["top_code"] or _STALE_KEY
    applying = {*row["problems"], "refused"} - {"well"}
    row["problems"] = [state for state in STATES if state in applying]
    row["state"] = row["problems"][0]


_ORDER: Final = {state: place for place, state in enumerate(STATES)}


def _badness(row: dict[str, Any]) -> tuple[int, float, float, int]:
    return _ORDER[row["state"]], -float(row["dead"]), -row["refused_share"], row["connector_id"]
