"""`ingestctl connector`: connectors and how much each may send."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from operations.cli import session
from operations.cli.arguments import AsJson, ConnectorId, connector_name, request_rate
from operations.cli.output import print_json, print_json_list, print_line, print_members, print_table, visible
from operations.connectors import select_connectors
from operations.rules import LARGEST_BURST
from shared.limits import DEFAULT_BURST, DEFAULT_RATE
from shared.rfc3339 import rfc3339

NUMBERS: Final = ("id", "rate", "burst", "lane")
_TITLES: Final = ("id", "name", "enabled", "rate", "burst", "lane", "last seen")
_AFTER_AN_ERROR_IN_CREATE: Final = (
    "If `ingestctl connector list` shows the connector, get its credential with `ingestctl credential rotate`; "
    "if not, create it again."
)

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Create, show, disable and enable connectors.")


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
        typer.Argument(callback=connector_name, help="A name that no other connector has.", metavar="NAME"),
    ],
    *,
    rate: Annotated[float, typer.Option(callback=request_rate, help="Requests a second that it may send.")] = (
        DEFAULT_RATE
    ),
    burst: Annotated[int, typer.Option(min=1, max=LARGEST_BURST, help="Requests that it may send at once.")] = (
        DEFAULT_BURST
    ),
    as_json: AsJson = False,
) -> None:
    """Create a connector and show its credential, which can't be shown again."""
    with session.changing_connectors(_AFTER_AN_ERROR_IN_CREATE) as connectors:
        created = connectors.create(name, rate=rate, burst=burst)
    credential = created.credential
    if as_json:
        document = {"connectorId": created.connector_id, "name": created.name, "credential": credential.text}
        print_json({**document, "keyId": credential.key_id, "rate": rate, "burst": burst})
        return
    print_line(f"Connector {created.connector_id} ({name}) is created. Its credential, which is shown only now:")
    print_line()
    print_line(credential.text)


@app.command("list")
def list_all(*, as_json: AsJson = False) -> None:
    """List all connectors."""
    with session.open_database() as connection:
        rows = select_connectors(connection)
    session.add_signs_of_life(rows)
    if as_json:
        print_json_list("connectors", map(connector_document, rows))
    elif not rows:
        print_line("There are no connectors: create one with `ingestctl connector create NAME`.")
    else:
        lines = (connector_cells(row) for row in rows)
        print_table(_TITLES, ([cells[title] for title in _TITLES] for cells in lines), numbers=NUMBERS)


@app.command()
def show(connector_id: ConnectorId, *, as_json: AsJson = False) -> None:
    """Show one connector."""
    with session.open_database() as connection:
        row = select_connectors(connection, connector_id)[0]
    session.add_signs_of_life([row])
    if as_json:
        print_json(connector_document(row))
        return
    cells = connector_cells(row)
    units = {"rate": "requests a second", "burst": "requests at once"}
    print_members({title: f"{cell} {units[title]}" if title in units else cell for title, cell in cells.items()})


@app.command()
def disable(connector_id: ConnectorId, *, as_json: AsJson = False) -> None:
    """Refuse a connector's credential everywhere, from now until the connector is enabled."""
    with session.changing_connectors() as connectors:
        connectors.disable(connector_id)
    show(connector_id, as_json=as_json)


@app.command()
def enable(connector_id: ConnectorId, *, as_json: AsJson = False) -> None:
    """Accept a connector's current credential again."""
    with session.changing_connectors() as connectors:
        connectors.enable(connector_id)
    show(connector_id, as_json=as_json)


def connector_document(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of `select_connectors` for JSON."""
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


def connector_cells(row: dict[str, Any]) -> dict[str, str]:
    """Return the cells of a row of `select_connectors` by the titles of their columns."""
    return {
        "id": str(row["connector_id"]),
        "name": visible(row["name"]),
        "enabled": "yes" if row["enabled"] else "no",
        "rate": f"{row['rate']:g}",
        "burst": str(row["burst"]),
        "lane": str(row["lane"]),
        "key id": row["key_id"],
        "created": visible(rfc3339(row["created_at"])),
        "key created": visible(rfc3339(row["key_created_at"])),
        "last seen": rfc3339(row["last_seen_at"]) or "never",
    }
