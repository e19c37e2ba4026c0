"""What was refused, by what is wrong with it, and what to do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from operations.console.pages.names import names_of
from operations.console.pages.visit import Visit
from operations.refusals import REASONS, group_refusals, read_refusals
from shared.error_codes import ErrorCode

_GROUPS: Final = 40
_LAST: Final = 30
RANGES: Final = {"1h": timedelta(hours=1), "24h": timedelta(hours=24), "7d": timedelta(days=7)}
ADVICE: Final = {code.text: (code.value.meaning, code.value.advice) for code in ErrorCode}


def show(visit: Visit) -> dict[str, Any]:
    """Show groups of refusals, and the last ones."""
    name = visit.choice("range", ["24h", *RANGES])
    code = visit.choice("code", ["", *ADVICE])
    connector_id, before = visit.whole("connector"), visit.whole("before")
    wanted: dict[str, Any] = {
        "connector_id": connector_id or None,
        "code": code or None,
        "since": datetime.now(UTC) - RANGES[name],
    }
    with visit.engines.database() as connection:
        groups = [] if before else group_refusals(connection, **wanted, limit=_GROUPS + 1)
        last = read_refusals(connection, **wanted, limit=_LAST + 1, before=before)
        if connector_id == 0:
            groups, last = ([row for row in rows if row["connector_id"] is None] for rows in (groups, last))
        names = names_of(connection, [row["connector_id"] for row in (*groups, *last)])
    return {
        "groups": groups[:_GROUPS],
        "more": len(groups) > _GROUPS,
        "last": last[:_LAST],
        "next": last[_LAST - 1]["number"] if len(last) > _LAST else None,
        "names": names,
        "range": name,
        "ranges": [(key, f"last {key}") for key in RANGES],
        "code": code,
        "connector_id": connector_id,
        "before": before,
        "advice": ADVICE,
        "reasons": REASONS,
    }
