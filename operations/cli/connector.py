"""`ingestctl connector`: connectors and how much each may send."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Final

import typer

from operations.cli import session
from operations.cli.arguments import AsJson, ConnectorId, connector_name, request_rate
from operations.cli.connector_output import connector_document, print_connector, print_connectors
from operations.cli.connector_selection import All, ConnectorIds, Match, change_in_parts, progress_bar, show_changed
from operations.cli.errors import CommandError
from operations.cli.output import print_json, print_json_list, print_line
from operations.connectors import select_connectors
from operations.readable import counted, visible
from operations.removal import count_items, delete_connector
from operations.rules import LARGEST_BURST
from shared.limits import DEFAULT_BURST, DEFAULT_RATE

_AFTER_AN_ERROR_IN_CREATE: Final = (
    "If `ingestctl connector list` shows the connector, get its credential with `ingestctl credential rotate`; "
    "if not, create it again."
)

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Create, show, change and delete connectors.")


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
        print_connectors(rows)


@app.command()
def show(connector_id: ConnectorId, *, as_json: AsJson = False) -> None:
    """Show one connector."""
    with session.open_database() as connection:
        row = select_connectors(connection, connector_id)[0]
    session.add_signs_of_life([row])
    print_connector(row, as_json=as_json)


@app.command(
    "set",
    epilog="""Examples:

    \b
      ingestctl connector set 7 --rate 500
      ingestctl connector set 7 8 9 --rate 50 --burst 100
      ingestctl connector set --match 'shop-*' --rate 50 --json
    """,
)
def set_limits(
    connector_ids: ConnectorIds = None,
    *,
    match: Match = None,
    everything: All = False,
    rate: Annotated[
        float | None, typer.Option(callback=request_rate, help="Requests a second that each may send.")
    ] = None,
    burst: Annotated[
        int | None, typer.Option(min=1, max=LARGEST_BURST, help="Requests that each may send at once.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change how much connectors may send; it holds from the next request on."""
    if rate is None and burst is None:
        raise typer.BadParameter("Say what to change: --rate, --burst or both.")
    _change(connector_ids, match, everything=everything, as_json=as_json, rate=rate, burst=burst)


@app.command()
def rename(
    connector_id: ConnectorId,
    name: Annotated[str, typer.Argument(callback=connector_name, metavar="NAME", help="The new name.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Give a connector another name."""
    _change([connector_id], None, everything=False, as_json=as_json, name=name)


@app.command()
def disable(
    connector_ids: ConnectorIds = None, *, match: Match = None, everything: All = False, as_json: AsJson = False
) -> None:
    """Refuse connectors' credentials everywhere, from now until the connectors are enabled."""
    _change(connector_ids, match, everything=everything, as_json=as_json, enabled=False)


@app.command()
def enable(
    connector_ids: ConnectorIds = None, *, match: Match = None, everything: All = False, as_json: AsJson = False
) -> None:
    """Accept connectors' current credentials again."""
    _change(connector_ids, match, everything=everything, as_json=as_json, enabled=True)


@app.command()
def delete(
    connector_id: ConnectorId,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete a connector with its items, hooks, configurations and dead letters, forever.

    Its credential and hooks are refused first. What it logged expires as always.
    """
    with session.changing_connectors() as connectors:
        name = select_connectors(connectors.connection, connector_id)[0]["name"]
        total = count_items(connectors.connection, connector_id)
        if not yes:
            _ask(f"connector {connector_id} ({visible(name)}) with {counted(total, 'item')}")
        items = 0
        with progress_bar("Deleted", total) as advance:
            for items in delete_connector(connectors, connector_id):
                advance(items)
    if as_json:
        print_json({"connectorId": connector_id, "deleted": True, "items": items})
    else:
        print_line(f"Connector {connector_id} is deleted, with {counted(items, 'item')}.")


def _ask(what: str) -> None:
    """Ask the operator. Raises CommandError unless the answer is yes."""
    if not sys.stdin.isatty():
        raise CommandError(f"{what.capitalize()} would be deleted. There is no terminal to ask on: add --yes.")
    if not typer.confirm(f"Delete {what}?", err=True):
        raise CommandError("Nothing was changed.")


def _change(ids: list[int] | None, match: str | None, *, everything: bool, as_json: bool, **new: Any) -> None:
    chosen = change_in_parts(
        ids, match, everything=everything, change=lambda connectors, part: connectors.change(part, **new)
    )
    show_changed(chosen, one=len(ids or ()) == 1, as_json=as_json)
