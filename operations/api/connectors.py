"""Operations on connectors and their credentials."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from operations.api.operation import Call, Input, Page, operation, page
from operations.connectors import select_connectors
from operations.documents import Connector
from operations.roles import Role

Id = Annotated[int, Meta(ge=1, le=(1 << 63) - 1)]


class PageQuery(Input):
    """Which part of a list."""

    cursor: Id | None = None
    limit: Annotated[int, Meta(ge=1, le=500)] = 100


@operation("GET", "/connectors", Role.VIEWER)
def list_connectors(call: Call, query: PageQuery) -> Page[Connector]:
    """List connectors."""
    with call.engines.database() as connection:
        rows = select_connectors(connection)
    after = [Connector.of(row) for row in rows if row["connector_id"] > (query.cursor or 0)]
    return page(after, query.limit, lambda one: one.connector_id)


@operation("GET", "/connectors/{connector_id}", Role.VIEWER)
def show_connector(call: Call, connector_id: Id) -> Connector:
    """Show one connector."""
    with call.engines.database() as connection:
        return Connector.of(select_connectors(connection, connector_id)[0])


OPERATIONS: Final = (list_connectors, show_connector)
