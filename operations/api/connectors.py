"""Operations on connectors and their credentials."""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import Meta

from operations.api.answers import Credential, Job, NewConnectorDocument
from operations.api.inputs import Burst, Id, Ids, Name, PageQuery, Rate
from operations.api.jobs import job_document
from operations.api.operation import Call, Input, Page, operation, page
from operations.connectors import select_some_connectors
from operations.documents import Connector
from operations.errors import ChangedMeanwhileError
from operations.removal import count_items, deletion
from operations.roles import Role
from shared.limits import DEFAULT_BURST, DEFAULT_RATE


class ConnectorQuery(PageQuery):
    """Which connectors."""

    search: Annotated[str | None, Meta(description="Part of the name, in any case.")] = None
    enabled: bool | None = None


class NewConnector(Input):
    """A connector to create."""

    name: Name
    rate: Rate = DEFAULT_RATE
    burst: Burst = DEFAULT_BURST


class ConnectorChange(Input):
    """What is to change; what is left out stays."""

    name: Name | None = None
    enabled: bool | None = None
    rate: Rate | None = None
    burst: Burst | None = None


class ConnectorsChange(Input):
    """What is to change of several connectors: of all of them, or of none."""

    connector_ids: Ids
    enabled: bool | None = None
    rate: Rate | None = None
    burst: Burst | None = None


class ConnectorIds(Input):
    """Several connectors."""

    connector_ids: Ids


@operation("GET", "/connectors", Role.VIEWER)
def list_connectors(call: Call, query: ConnectorQuery) -> Page[Connector]:
    """List connectors."""
    with call.engines.database() as connection:
        rows = select_some_connectors(
            connection, after=query.after(), enabled=query.enabled, search=query.search, limit=query.limit + 1
        )
    found = [Connector.of(row) for row in call.engines.with_signs(rows)]
    return page(found, query.limit, lambda one: one.connector_id)


@operation("POST", "/connectors", Role.OPERATOR, status=201)
def create_connector(call: Call, body: NewConnector) -> NewConnectorDocument:
    """Create a connector. Its credential is told only now."""
    with call.engines.connectors(call.actor) as connectors:
        made = connectors.create(body.name, rate=body.rate, burst=body.burst)
    return NewConnectorDocument(
        connector_id=made.connector_id,
        name=made.name,
        credential=made.credential.text,
        key_id=made.credential.key_id,
        rate=body.rate,
        burst=body.burst,
    )


@operation("GET", "/connectors/{connector_id}", Role.VIEWER)
def show_connector(call: Call, connector_id: Id) -> Connector:
    """Show one connector."""
    return _connector(call, connector_id)


@operation("PATCH", "/connectors/{connector_id}", Role.OPERATOR, if_match=True)
def change_connector(call: Call, connector_id: Id, body: ConnectorChange) -> Connector:
    """Rename, enable or disable a connector, or change how much it may send."""
    with call.engines.connectors(call.actor) as connectors:
        connectors.change([connector_id], call.expected, **_given(body))
    return _connector(call, connector_id)


@operation("POST", "/connectors/{connector_id}/credential", Role.OPERATOR, if_match=True)
def rotate_credential(call: Call, connector_id: Id) -> Credential:
    """Replace a connector's credential. The new one is told only now; the old one is refused from now on."""
    with call.engines.connectors(call.actor) as connectors:
        made = connectors.rotate(connector_id, call.expected)
    return Credential(connector_id=connector_id, key_id=made.key_id, credential=made.text)


@operation("DELETE", "/connectors/{connector_id}", Role.OPERATOR, status=202, if_match=True)
def remove_connector(call: Call, connector_id: Id) -> Job:
    """Start a job that deletes a connector with its items, hooks, configurations and dead letters, forever."""
    known = _connector(call, connector_id)
    if call.expected not in (None, known.generation):
        raise ChangedMeanwhileError("The connector was changed meanwhile: read it again.")

    work = deletion(call.engines.redis, call.actor, connector_id)
    with call.engines.database() as connection:
        items = count_items(connection, connector_id)
    job_id = call.engines.jobs.start("connector.delete", call.actor, items, work)
    return job_document(call, job_id)


@operation("POST", "/connectors/changes", Role.OPERATOR)
def change_connectors(call: Call, body: ConnectorsChange) -> Page[Connector]:
    """Change several connectors in one step."""
    ids = set(body.connector_ids)
    with call.engines.connectors(call.actor) as connectors:
        connectors.change(sorted(ids), **_given(body))
    rows = call.engines.connector_rows()
    return Page(items=[Connector.of(row) for row in rows if row["connector_id"] in ids])


@operation("POST", "/connectors/credentials", Role.OPERATOR)
def rotate_credentials(call: Call, body: ConnectorIds) -> Page[Credential]:
    """Replace the credentials of several connectors in one step. The new ones are told only now."""
    with call.engines.connectors(call.actor) as connectors:
        made = connectors.rotate_many(sorted(set(body.connector_ids)))
    return Page(
        items=[
            Credential(connector_id=connector_id, key_id=one.key_id, credential=one.text)
            for connector_id, one in made.items()
        ]
    )


def _connector(call: Call, connector_id: int) -> Connector:
    return Connector.of(call.engines.connector_rows(connector_id)[0])


def _given(body: Any) -> dict[str, Any]:
    """Return the changes that a body asks for."""
    names = ("name", "enabled", "rate", "burst")
    return {name: value for name in names if (value := getattr(body, name, None)) is not None}


OPERATIONS: Final = (
    list_connectors,
    create_connector,
    change_connectors,
    rotate_credentials,
    show_connector,
    change_connector,
    rotate_credential,
    remove_connector,
)
