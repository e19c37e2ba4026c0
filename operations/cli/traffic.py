"""`ingestctl traffic`: what connectors sent, and what became of it."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Annotated, Any, Final

import typer

from operations.cli import session
from operations.cli.arguments import AsJson, OptionalConnectorId, moment_since
from operations.cli.output import print_json_list, print_line, print_table
from operations.connectors import select_connectors
from operations.readable import readable_bytes, readable_seconds, visible
from operations.traffic import Step, read_traffic, traffic_document
from shared.rfc3339 import rfc3339
from shared.traffic import UNKNOWN

EXAMPLES: Final = """Examples:

    \b
      ingestctl traffic
      ingestctl traffic 1 --since 15m --by minute
      ingestctl traffic --since 7d --by hour --json
    """
_NUMBERS: Final = ("id", "submissions", "items", "bytes", "refused", "applied", "superseded", "removed", "dead", "lag")


class By(enum.StrEnum):
    """Steps of time."""

    TOTAL = enum.auto()
    MINUTE = enum.auto()
    HOUR = enum.auto()


_STEPS: Final[dict[By, Step]] = {By.TOTAL: "total", By.MINUTE: "minute", By.HOUR: "hour"}


def traffic(
    connector_id: OptionalConnectorId = None,
    *,
    since: Annotated[
        str, typer.Option(callback=moment_since, help="Show what was counted since: 30m, 2h, 7d, or a time.")
    ] = "1h",
    by: Annotated[By, typer.Option(help="Show the total, or each minute or hour.")] = By.TOTAL,
    as_json: AsJson = False,
) -> None:
    """Show what connectors sent and what became of it, up to some seconds ago.

    Refused are requests; applied, superseded, removed and dead are items. Minutes are kept for two days.
    """
    with session.reading_database() as connection:
        begins = datetime.fromisoformat(since)
        rows = read_traffic(connection, since=begins, connector_id=connector_id, step=_STEPS[by])
        names = {row["connector_id"]: row["name"] for row in select_connectors(connection)}
    if as_json:
        print_json_list("traffic", map(traffic_document, rows))
    elif not rows:
        print_line("Nothing was counted.")
    else:
        titles = ("id", "name", *(("time",) if by is not By.TOTAL else ()), *_NUMBERS[1:], "refused by code")
        print_table(titles, (_cells(row, names) for row in rows), numbers=_NUMBERS, whole=("time",))


def _cells(row: dict[str, Any], names: dict[int, str]) -> list[str]:
    connector_id = row["connector_id"]
    codes = sorted(row["refused_by_code"].items(), key=lambda one: -one[1])
    return [
        str(connector_id),
        "(no known connector)" if connector_id == UNKNOWN else visible(names.get(connector_id)),
        *([] if row["at"] is None else [visible(rfc3339(row["at"]))]),
        *(f"{row[name]:,}" for name in ("submissions", "items")),
        readable_bytes(row["bytes"]),
        *(f"{row[name]:,}" for name in ("refused", "applied", "superseded", "removed", "dead")),
        readable_seconds(row["lag_seconds"]),
        ", ".join(f"{code} {count:,}" for code, count in codes),
    ]
