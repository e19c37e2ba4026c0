"""Traffic over a range of time, as charts show it."""

from __future__ import annotations

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


@dataclass(frozen=True, slots=True)
class Traffic:
    """What was counted, bar by bar."""

    times: list[datetime]
    flow: list[Series]
    refused: list[Series]
    lag: list[Series]
    totals: dict[str, float]


def traffic_over(connection: Connection, name: str, now: datetime, connector_id: int | None = None) -> Traffic:
    """Return the traffic of all connectors, or of one, over a range."""
    _, length, bar = RANGES[name]
    step: Literal["minute", "hour"] = "minute" if bar < timedelta(hours=1) else "hour"
    first = _floor(now - length + bar, bar)
    rows = read_traffic(connection, since=first, connector_id=connector_id, step=step, per_connector=False)
    return charted(rows, first, bar, now)


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
