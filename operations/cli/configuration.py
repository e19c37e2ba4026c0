"""`ingestctl config`: the configurations that operators manage for connectors."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from operations.cli import session
from operations.cli.arguments import AsJson, ConnectorId
from operations.cli.errors import CommandError
from operations.cli.output import print_json, print_line
from operations.configurations import Configurations, checked_configuration, select_configuration
from shared.limits import MAX_CONFIGURATION_BYTES

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Set, clear and show the configuration of a connector."
)


@app.command(
    "set",
    epilog="""Examples:

    \b
      ingestctl config set 1 warehouse.json
      jq '.Interval = 30' warehouse.json | ingestctl config set 1 -
    """,
)
def set_managed(
    connector_id: ConnectorId,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File that holds the configuration; - is stdin.")],
) -> None:
    """Set the managed configuration, which replaces the one that the connector published."""
    configuration = checked_configuration(_read(file))
    with session.open_database() as connection:
        Configurations(connection).set_managed(connector_id, configuration)
    print_line(
        f"The configuration of connector {connector_id} is set; the connector gets it with its next request for it."
    )


@app.command()
def clear(connector_id: ConnectorId) -> None:
    """Clear the managed configuration: the connector gets the one that it published."""
    with session.open_database() as connection:
        Configurations(connection).set_managed(connector_id, None, action="configuration.clear")
    print_line(f"Connector {connector_id} has no managed configuration now.")


@app.command()
def show(connector_id: ConnectorId, *, as_json: AsJson = False) -> None:
    """Show the configuration that the connector gets; with --json, the managed and the published one."""
    with session.open_database() as connection:
        row = select_configuration(connection, connector_id)
    if as_json:
        print_json({"connectorId": connector_id, "managed": row["managed"], "published": row["published"]})
    else:
        print_line(row["managed"] if row["managed"] is not None else row["published"] or "{}")


def _read(file: Path) -> bytes:
    try:
        return sys.stdin.buffer.read(MAX_CONFIGURATION_BYTES + 1) if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise CommandError(f"{file} can't be read: {error.strerror}.") from error
