"""Recorded changes, of operators, commands and programs."""

from __future__ import annotations

from typing import Any, Final

from operations.audit import select_audit
from operations.console.pages.visit import Visit

_ROWS: Final = 50


def show(visit: Visit) -> dict[str, Any]:
    """Show the newest changes that pass the filters."""
    wanted = {name: visit.text(name) for name in ("subject", "actor", "action")}
    with visit.engines.database() as connection:
        rows = select_audit(connection, **wanted, before_id=visit.whole("before"), limit=_ROWS + 1)
    return {"rows": rows[:_ROWS], "next": rows[_ROWS - 1]["audit_id"] if len(rows) > _ROWS else None, "wanted": wanted}
