"""The box on every page: a request's, item's or key's id, or a connector's name, and what became of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import psycopg

from operations.console.pages.connectors import passing
from operations.console.pages.names import names_of
from operations.console.pages.refusals import ADVICE
from operations.console.pages.survey import Surveyor
from operations.console.pages.visit import Visit
from operations.errors import NotFoundError
from operations.refusals import REASONS
from operations.requests import outcome
from shared.hooks.hook import FORM as HOOK
from shared.postgres.connections import Connection
from shared.postgres.queries import sql

_KEY: Final = re.compile(r"(?:ik_)?([0-9a-f]{12})(?:_\w*)?")
_REQUEST: Final = re.compile(r"req_\w{14}")
_CONNECTORS: Final = 20


class Find:
    """The box."""

    def __init__(self, surveyor: Surveyor) -> None:
        self._surveyor = surveyor

    def show(self, visit: Visit) -> dict[str, Any]:
        """Show what a text is, and what became of it."""
        text = visit.text("q") or ""
        is_secret = text.startswith("ik_") and len(text) > len("ik_000000000000")
        with visit.engines.database() as connection:
            requests = _request(visit, connection, text) if _REQUEST.fullmatch(text) else {}
            keys = _keys(connection, text)
            connectors = passing(self._surveyor.connectors(), "", text)[:_CONNECTORS] if text and not keys else []
            # Each stream of each connector is looked at: only if nothing else has this name.
            looks = bool(text) and (visit.text("items") == "yes" or not (requests or keys or connectors))
            items = _items(visit, connection, text) if looks else []
            names = names_of(connection, [requests.get("connectorId")])
        return {
            "q": text[:15] if is_secret else text,
            "is_secret": is_secret,
            "request": requests,
            "keys": keys,
            "items": items,
            "looked": looks,
            "connectors": connectors,
            "names": names,
            "advice": ADVICE,
            "reasons": REASONS,
        }


def _request(visit: Visit, connection: Connection, text: str) -> Mapping[str, Any]:
    """Return what became of a request; of a refused one, why."""
    rows = connection.execute(sql("find_refusal"), {"request_id": text}).fetchall()
    if rows:
        return {"requestId": text, "state": "refused", "connectorId": rows[0]["connector_id"], "refusal": rows[0]}
    try:
        return outcome(connection, visit.engines.redis, text)
    except NotFoundError as error:
        return {"requestId": text, "state": "unknown", "connectorId": None, "told": str(error)}


def _keys(connection: Connection, text: str) -> list[dict[str, Any]]:
    found = _KEY.fullmatch(text)
    key = found[1] if found else text if HOOK.fullmatch(text) else None
    return connection.execute(sql("find_key"), {"key_id": key}).fetchall() if key else []


def _items(visit: Visit, connection: Connection, text: str) -> list[dict[str, Any]]:
    try:
        return connection.execute(sql("find_items"), {"id": text}).fetchall()
    except psycopg.errors.QueryCanceled:
        visit.faults.append("Looking for an item of this id took too long: open its connector and search there.")
        return []
