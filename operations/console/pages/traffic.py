"""Traffic over a range of time, as charts show it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from operations.console.pages.charts import Series
from operations.traffic import read_traffic
from shared.postgres.connections import Connection

#: Ranges: what the address says, what a reader sees, length, length of a bar.
RANGES: Final[Mapping[str, tuple[str, timedelta, timedelta]]] = {
    "1h": ("last hour", timedelta(hours=1), timedelta(minutes=1)),
    "24h": ("24 hours", timedelta(hours=24), timedelta(hours=1)),
    "7d": ("7 days", timedelta(days=7), timedelta(hours=6)),
}

_HOUR: Final = timedelta(hours=1)
#: Minutes or hours before the newest that may still change: counts arrive some seconds late.
_CHANGING: Final = 3
#: Time after which all of it is read again, in seconds.
_KEPT_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """What was counted, bar by bar."""

    times: list[datetime]
    flow: list[Series]
    refused: list[Series]
    lag: list[Series]
    totals: dict[str, float]


class TrafficOfAll:
    """The traffic of all connectors. What was counted some bars ago does not change, and is read once."""

    def __init__(self) -> None:
        self._known: dict[str, dict[datetime, dict[str, Any]]] = {}
        self._forget_at = 0.0

    def over(self, connection: Connection, name: str, now: datetime) -> Traffic:
        """Return the traffic over a range."""
        first, bar = _begin(name, now)
        if time.monotonic() > self._forget_at:  # what arrived very late is seen then
            self._known, self._forget_at = {}, time.monotonic() + _KEPT_SECONDS
        known = {at: row for at, row in self._known.get(name, {}).items() if at >= first}
        since = max(first, max(known, default=first) - _CHANGING * _step_of(bar))
        known |= {row["at"]: row for row in _read(connection, bar, since)}
        self._known[name] = known
        return charted(list(known.values()), first, bar, now)


def traffic_of(connection: Connection, connector_id: int, name: str, now: datetime) -> Traffic:
    """Return the traffic of one connector over a range."""
    first, bar = _begin(name, now)
    return charted(_read(connection, bar, first, connector_id), first, bar, now)


def _begin(name: str, now: datetime) -> tuple[datetime, timedelta]:
    _, length, bar = RANGES[name]
    return _floor(now - length + bar, bar), bar


def _step_of(bar: timedelta) -> timedelta:
    return min(bar, _HOUR)


def _read(
    connection: Connection, bar: timedelta, since: datetime, connector_id: int | None = None
) -> list[dict[str, Any]]:
    step: Literal["minute", "hour"] = "minute" if bar < _HOUR else "hour"
    return read_traffic(connection, since=since, connector_id=connector_id, step=step, per_connector=False)


def charted(rows: list[dict[str, Any]], first: datetime, bar: timedelta, now: datetime) -> Traffic:
    """Add rows up in bars from `first` to now; a bar of which nothing was counted is zero."""
    bars = max(1, int((now - first) / bar) + 1)
    sums = {
        name: [0.0] * bars for name in ("items", "applied", "superseded", "removed", "dead", "refused", "submissions")
    }
    lag = [0.0] * bars
    for row in rows:
        place = int((row["at"] - first) / bar)
        if 0 <= place < bars:
            for name, values in sums.items():
                values[place] += row[name]
            lag[place] = max(lag[place], row["lag_seconds"] or 0.0)
    return Traffic(
        times=[first + bar * place for place in range(bars)],
        flow=[
            Series("items accepted", "accepted", sums["items"]),
            Series("items applied", "applied", sums["applied"]),
        ],
        refused=[Series("requests refused", "refused", sums["refused"])],
        lag=[Series("longest lag, seconds", "lag", lag)],
        totals={**{name: sum(values) for name, values in sums.items()}, "lag": max(lag)},
    )


def _floor(moment: datetime, bar: timedelta) -> datetime:
    seconds = bar.total_seconds()
    return datetime.fromtimestamp(moment.timestamp() // seconds * seconds, UTC)
