"""`ingestctl credential`: the credentials with which connectors send."""

from __future__ import annotations

import typer

from operations.cli import session
from operations.cli.arguments import AsJson, ConnectorId
from operations.cli.output import print_json, print_line

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Replace connectors' credentials.")


@app.callback()
def credential() -> None:
    """Replace connectors' credentials."""


@app.command(
    epilog="""Examples:

    \b
      ingestctl credential rotate 1
      ingestctl credential rotate 1 --json
    """
)
def rotate(connector_id: ConnectorId, *, as_json: AsJson = False) -> None:
    """Replace a connector's credential and show the new one, which can't be shown again.

    After the command has succeeded, no process accepts the old credential.
    """
    with session.changing_connectors() as connectors:
        made = connectors.rotate(connector_id)
    if as_json:
        print_json({"connectorId": connector_id, "keyId": made.key_id, "credential": made.text})
        return
    print_line(f"The old credential of connector {connector_id} is refused from now on.")
    print_line("The new one, which is shown only now:")
    print_line()
    print_line(made.text)
