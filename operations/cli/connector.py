"""`ingestctl connector`: who may send, and how much."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from operations.cli import session
from operations.cli.arguments import LARGEST_BURST, AsJson, ConnectorId, connector_name, request_rate
from operations.cli.output import print_json, print_json_list, print_line, print_members, print_table, visible
from operations.connectors import CreatedConnector, select_connectors
from shared.limits import DEFAULT_BURST, DEFAULT_RATE
from shared.rfc3339 import rfc3339

_AFTER_A_FAULT_IN_CREATE: Final = (
    "If `ingestctl connector list` shows the connector, get its credential with `ingestctl credential rotate`; "
    "if not, create it again."
)

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Creates, shows, disables and enables connectors.")


@app.command(
    epilog="""Examples:

    \b
      ingestctl connector create crm
      ingestctl connector create crm --rate 500 --burst 1000 --json
    """
)
def create(
    name: Annotated[
        str,
        typer.Argument(callback=connector_name, help="Choose a name that no other connector has.", metavar="NAME"),
    ],
    *,
    rate: Annotated[
        float, typer.Option(callback=request_rate, help="Let it send so many requests a second.")
    ] = DEFAULT_RATE,
    burst: Annotated[
        int, typer.Option(min=1, max=LARGEST_BURST, help="Let it send so many requests at once.")
    ] = DEFAULT_BURST,
    as_json: AsJson = False,
) -> None:
    """Creates a connector and shows its credential, this once."""
    with session.changing_connectors(_AFTER_A_FAULT_IN_CREATE) as connectors:
        created = connectors.create(name, rate=rate, burst=burst)
    if as_json:
        print_json(_created(created, rate, burst))
        return
    print_line(f"Connector {created.connector_id} ({name}) is created. Its credential, which is shown only now:")
    print_line()
    print_line(created.credential.text)


@app.command("list")
def list_all(*, as_json: AsJson = False) -> None:
    """Lists all connectors."""
    with session.open_database() as connection:
        rows = select_connectors(connection)
    if as_json:
        print_json_list("connectors", map(connector_document, rows))
    elif not rows:
        print_line("There are no connectors: create one with `ingestctl connector create NAME`.")
    else:
        titles = ("id", "name", "enabled", "rate", "burst", "lane", "last seen")
        print_table(titles, map(_table_row, rows), numbers=("id", "rate", "burst", "lane"))


@app.command()
def show(connector_id: ConnectorId, *, as_json: AsJson = False) -> None:
    """Shows one connector."""
    with session.open_database() as connection:
        row = select_connectors(connection, connector_id)[0]
    _print_connector(row, as_json=as_json)


@app.command()
def disable(connector_id: ConnectorId, *, as_json: AsJson = False) -> None:
    """Refuses a connector's credential everywhere, from now until it is enabled again."""
    with session.changing_connectors() as connectors:
        connectors.disable(connector_id)
        row = connectors.list(connector_id)[0]
    _print_connector(row, as_json=as_json)


@app.command()
def enable(connector_id: ConnectorId, *, as_json: AsJson = False) -> None:
    """Lets a connector's current credential in again."""
    with session.changing_connectors() as connectors:
        connectors.enable(connector_id)
        row = connectors.list(connector_id)[0]
    _print_connector(row, as_json=as_json)


def connector_document(row: dict[str, Any]) -> dict[str, Any]:
    """A row of `select_connectors`, for JSON."""
    return {
        "connectorId": row["connector_id"],
        "name": row["name"],
        "enabled": row["enabled"],
        "rate": row["rate"],
        "burst": row["burst"],
        "lane": row["lane"],
        "keyId": row["key_id"],
        "createdAt": rfc3339(row["created_at"]),
        "keyCreatedAt": rfc3339(row["key_created_at"]),
        "lastSeenAt": rfc3339(row["last_seen_at"]),
    }


def yes_or_no(flag: bool) -> str:  # noqa: FBT001 - a value to show
    """A flag for a reader."""
    return "yes" if flag else "no"


def _created(created: CreatedConnector, rate: float, burst: int) -> dict[str, Any]:
    return {
        "connectorId": created.connector_id,
        "name": created.name,
        "credential": created.credential.text,
        "keyId": created.credential.key_id,
        "rate": rate,
        "burst": burst,
    }


def _print_connector(row: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(connector_document(row))
        return
    print_members(
        {
            "id": str(row["connector_id"]),
            "name": visible(row["name"]),
            "enabled": yes_or_no(row["enabled"]),
            "rate": f"{row['rate']:g} requests a second",
            "burst": f"{row['burst']} requests at once",
            "lane": str(row["lane"]),
            "key id": row["key_id"],
            "created": visible(rfc3339(row["created_at"])),
            "key created": visible(rfc3339(row["key_created_at"])),
            "last seen": rfc3339(row["last_seen_at"]) or "never",
        }
    )


def _table_row(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        str(row["connector_id"]),
        visible(row["name"]),
        yes_or_no(row["enabled"]),
        f"{row['rate']:g}",
        str(row["burst"]),
        str(row["lane"]),
        rfc3339(row["last_seen_at"]) or "never",
    )
