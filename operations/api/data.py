"""Operations that read what connectors have sent: streams, items, log entries, requests."""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import Meta

from operations.api.answers import Item, LogEntry, RequestOutcome
from operations.api.inputs import END, LARGEST_ID, Id, Limit, Moment, PageQuery, moment, whole
from operations.api.operation import Call, Input, Page, operation, page
from operations.connectors import select_connectors
from operations.items import item_document, select_items, wanted_items
from operations.requests import log_document, outcome, select_newest_logs
from operations.roles import Role
from shared.log_levels import STORED_LEVELS

Level = Annotated[str, Meta(pattern=f"^({'|'.join(STORED_LEVELS)}){END}")]


class ItemQuery(Input):
    """Which items of a connector."""

    stream: str
    id: str | None = None
    search: Annotated[str | None, Meta(description="The beginning of ids, or a part of names in any case.")] = None
    cursor: Annotated[str | None, Meta(description="The id after which to continue.")] = None
    limit: Limit = 100


class LogQuery(PageQuery):
    """Which log entries of a connector."""

    level: Level | None = None
    since: Moment | None = None

    def position(self) -> tuple[int, int]:
        """Return the position before which to continue: a version, and an index in it."""
        if self.cursor is None:
            return LARGEST_ID, 0
        version, _, index = self.cursor.partition("-")
        return whole(version), whole(index)


@operation("GET", "/connectors/{connector_id}/items", Role.VIEWER, answer=Page[Item])
def list_items(call: Call, connector_id: Id, query: ItemQuery) -> Page[dict[str, Any]]:
    """List items of a stream as they are stored, in the order of their ids."""
    wanted = wanted_items(
        connector_id,
        query.stream,
        item_id=query.id,
        search=query.search,
        after=query.cursor,
        limit=query.limit + 1,
    )
    with call.engines.database() as connection:
        select_connectors(connection, connector_id)
        found = [call.role.shown(item_document(row)) for row in select_items(connection, wanted)]
    return page(found, query.limit, lambda one: one["id"])


@operation("GET", "/connectors/{connector_id}/logs", Role.VIEWER, answer=Page[LogEntry])
def list_log_entries(call: Call, connector_id: Id, query: LogQuery) -> Page[dict[str, Any]]:
    """List what a connector has logged, the newest entry first."""
    with call.engines.database() as connection:
        select_connectors(connection, connector_id)
        rows = select_newest_logs(
            connection,
            connector_id,
            level=query.level,
            since=moment(query.since),
            before=query.position(),
            limit=query.limit + 1,
        )
    shown: Page[dict[str, Any]] = page(rows, query.limit, lambda row: f"{row['version']}-{row['index']}")
    told = [call.role.shown(log_document(row["lane"], row)) for row in shown.items]
    return Page(items=told, next_cursor=shown.next_cursor)


@operation("GET", "/requests/{request_id}", Role.VIEWER, answer=RequestOutcome)
def show_request(call: Call, request_id: str) -> dict[str, Any]:
    """Show the outcome of a request: queued, applied or dead, when, and what the request contained."""
    with call.engines.database() as connection:
        found = outcome(connection, call.engines.redis, request_id)
    if "entries" in found:
        found["entries"] = [call.role.shown(entry) for entry in found["entries"]]
    return found


OPERATIONS: Final = (list_items, list_log_entries, show_request)
