"""Operations that tell what connectors have sent, and what was refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from operations.api.answers import Refusal, RefusalGroup, StreamDocument, TrafficDocument
from operations.api.inputs import LARGEST_ID, Id, Limit, Moment, moment, whole
from operations.api.operation import Call, Input, Page, operation, page
from operations.connectors import select_connectors
from operations.refusals import group_document, group_refusals, read_refusals, refusal_document
from operations.roles import Role
from operations.streams import read_streams
from operations.traffic import BEFORE_ALL, read_traffic, traffic_document

_LATELY: Final = timedelta(hours=1)


class TrafficQuery(Input):
    """Which traffic: of the last hour, if `since` is not given."""

    since: Moment | None = None
    until: Moment | None = None
    connector_id: Annotated[int, Meta(ge=0, le=LARGEST_ID, description="0: of no known connector.")] | None = None
    step: Literal["minute", "hour", "total"] = "total"
    per_connector: bool = True
    limit: Annotated[int, Meta(ge=1, le=10_000)] = 10_000
    cursor: str | None = None


class GroupQuery(Input):
    """Which refusals, and how many of them."""

    connector_id: Id | None = None
    code: str | None = None
    since: Moment | None = None
    limit: Limit = 100

    def conditions(self) -> dict[str, Any]:
        """Return what `operations.refusals` selects by."""
        return {"connector_id": self.connector_id, "code": self.code, "since": moment(self.since)}


class RefusalQuery(GroupQuery):
    """Which refusals, and which part of the list."""

    cursor: str | None = None


@operation("GET", "/traffic", Role.VIEWER, answer=Page[TrafficDocument])
def list_traffic(call: Call, query: TrafficQuery) -> Page[dict[str, Any]]:
    """List what was accepted, refused and applied, by connector, in order of connector and time."""
    with call.engines.database() as connection:
        rows = read_traffic(
            connection,
            since=moment(query.since) or datetime.now(UTC) - _LATELY,
            until=moment(query.until),
            connector_id=query.connector_id,
            step=query.step,
            per_connector=query.per_connector,
            limit=query.limit + 1,
            after=_position(query.cursor),
        )
    shown: Page[dict[str, Any]] = page(rows, query.limit, lambda row: "{}-{}".format(*row["position"]))
    return Page(items=[traffic_document(row) for row in shown.items], next_cursor=shown.next_cursor)


def _position(cursor: str | None) -> tuple[int, int]:
    """Return connector and version in a cursor. Raises SentenceError."""
    if cursor is None:
        return BEFORE_ALL
    connector_id, _, version = cursor.partition("-")
    return whole(connector_id), whole(version)


@operation("GET", "/refusals", Role.VIEWER, answer=Page[Refusal])
def list_refusals(call: Call, query: RefusalQuery) -> Page[dict[str, Any]]:
    """List the last refusals, the newest first; never with values."""
    with call.engines.database() as connection:
        before = None if query.cursor is None else whole(query.cursor)
        rows = read_refusals(connection, **query.conditions(), limit=query.limit + 1, before=before)
    shown: Page[dict[str, Any]] = page(rows, query.limit, lambda row: row["number"])
    return Page(items=[refusal_document(row) for row in shown.items], next_cursor=shown.next_cursor)


@operation("GET", "/refusals/groups", Role.VIEWER, answer=Page[RefusalGroup])
def list_refusal_groups(call: Call, query: GroupQuery) -> Page[dict[str, Any]]:
    """List refusals by what was wrong, the most frequent first."""
    with call.engines.database() as connection:
        rows = group_refusals(connection, **query.conditions(), limit=query.limit)
    return Page(items=[group_document(row) for row in rows])


@operation("GET", "/connectors/{connector_id}/streams", Role.VIEWER, answer=Page[StreamDocument])
def list_streams(call: Call, connector_id: Id) -> Page[dict[str, Any]]:
    """List the streams of a connector, with their number of items."""
    with call.engines.database() as connection:
        select_connectors(connection, connector_id)
        return Page(items=[StreamDocument.of(row).json() for row in read_streams(connection, connector_id)])


OPERATIONS: Final = (list_traffic, list_refusals, list_refusal_groups, list_streams)
