"""Live tail: the last submissions and refusals, as a sample."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from operations.console.pages.names import names_of
from operations.console.pages.visit import Visit
from operations.refusals import read_refusals
from shared.postgres.queries import sql
from shared.request_id import position_of_version

_SHOWN: Final = 40
_BACK: Final = timedelta(minutes=15)
OUTCOMES: Final = ("", "applied", "superseded", "dead", "refused")


def show(visit: Visit) -> dict[str, Any]:
    """Show what came last, by connector, stream and outcome."""
    outcome = visit.choice("outcome", OUTCOMES)
    connector_id = visit.whole("connector")
    since = datetime.now(UTC) - _BACK
    values = {"since": round(since.timestamp() * 1000) << 20, "connector_id": connector_id, "limit": _SHOWN}
    stream = visit.text("stream")
    with visit.engines.database() as connection:
        rows = (
            [_of_submission(row) for row in connection.execute(sql("select_newest_outcomes"), values)]
            if not stream
            else []
        )
        refused = read_refusals(connection, connector_id=connector_id, since=since, limit=_SHOWN)
        rows += [{**row, "outcome": "refused"} for row in refused if not stream or row["stream"] == stream]
        names = names_of(connection, [row["connector_id"] for row in rows])
    found = [row for row in rows if not outcome or row["outcome"] == outcome]
    found.sort(key=lambda row: row["at"], reverse=True)
    return {
        "rows": found[:_SHOWN],
        "names": names,
        "outcome": outcome,
        "outcomes": [(one, one or "all") for one in OUTCOMES],
        "connector_id": connector_id,
        "stream": stream or "",
        "shown": _SHOWN,
    }


def _of_submission(row: dict[str, Any]) -> dict[str, Any]:
    row["request_id"] = position_of_version(row["lane"], row["version"]).request_id
    row["received_at"] = position_of_version(row["lane"], row["version"]).received_by(row["at"])
    return row
