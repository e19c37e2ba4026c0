"""What was refused, by what is wrong with it, and what to do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from operations.console.pages.names import names_of
from operations.console.pages.visit import Visit
from operations.refusals import group_refusals, read_refusals
from shared.error_codes import ErrorCode

_GROUPS: Final = 40
_LAST: Final = 30
RANGES: Final = {"1h": timedelta(hours=1), "24h": timedelta(hours=24), "7d": timedelta(days=7)}
#: What a 401 says of the key, and what to do then.
REASONS: Final = {
    "rotated": "The key was replaced: give the sender the new one.",
    "deleted": "The key or hook was deleted: stop the sender, or give it another one.",
    "disabled": "The connector or hook is disabled: enable it, or stop the sender.",
    "secret_wrong": "The key is right and its secret is not: copy the whole credential again.",
    "unknown": "No connector has or had this key: a typing error, another installation, or a guess.",
    "missing": "There is no `Authorization` header.",
    "malformed": "The `Authorization` header is not `Bearer` and one whole credential, `ik_…`: copy it again.",
    "signature_wrong": "The signature does not fit the body: the sender has another secret.",
    "signature_missing": "The sender does not sign: check the scheme.",
    "stale": "The time stamp is too old: check the sender's clock.",
}
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
        groups = [] if before else group_refusals(connection, **wanted, limit=_GROUPS)
        last = read_refusals(connection, **wanted, limit=_LAST + 1, before=before)
        if connector_id == 0:
            groups, last = ([row for row in rows if row["connector_id"] is None] for rows in (groups, last))
        names = names_of(connection, [row["connector_id"] for row in (*groups, *last)])
    return {
        "groups": groups,
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
