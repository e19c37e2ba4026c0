"""`ingestctl config`: the configurations that operators manage for connectors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from operations.cli import session
from operations.cli.arguments import AsJson, ConnectorId, read_input
from operations.cli.output import print_json, print_json_list, print_line, print_table
from operations.configurations import (
    Configurations,
    checked_configuration,
    difference,
    read_version,
    select_configuration,
    select_versions,
)
from operations.documents import ConfigurationVersion
from operations.readable import readable_bytes, visible
from shared.rfc3339 import rfc3339

_TITLES: Final = ("version", "set", "actor", "size")
_LARGEST: Final = (1 << 31) - 1

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Set, clear, show and revert the configuration of a connector."
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
    configuration = checked_configuration(read_input(file))
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
def history(connector_id: ConnectorId, *, as_json: AsJson = False) -> None:
    """List the versions of the managed configuration, the newest first."""
    with session.open_database() as connection:
        rows = select_versions(connection, connector_id)
    if as_json:
        print_json_list("versions", (ConfigurationVersion.of(row).json() for row in rows))
    elif not rows:
        print_line(f"Connector {connector_id} never had a managed configuration.")
    else:
        print_table(_TITLES, map(_cells, rows), numbers=("version", "size"))


@app.command(
    epilog="""Examples:

    \b
      ingestctl config diff 1            what the last change changed
      ingestctl config diff 1 3          from version 3 to the current one
      ingestctl config diff 1 3 5
    """
)
def diff(
    connector_id: ConnectorId,
    old: Annotated[int | None, typer.Argument(min=0, max=_LARGEST, metavar="FROM", help="A version.")] = None,
    new: Annotated[int | None, typer.Argument(min=0, max=_LARGEST, metavar="TO", help="Another version.")] = None,
) -> None:
    """Show how two versions of the managed configuration differ; by default, what the last change changed."""
    with session.open_database() as connection:
        current = int(select_configuration(connection, connector_id)["version"])
        to = current if new is None else new
        versions = (max(0, to - 1) if old is None else old, to)
        texts = [read_version(connection, connector_id, version) for version in versions]
    lines = difference(texts[0], texts[1], (f"version {versions[0]}", f"version {versions[1]}"))
    for line in lines or ["They do not differ."]:
        print_line(visible(line))


@app.command()
def revert(
    connector_id: ConnectorId,
    version: Annotated[int, typer.Argument(min=0, max=_LARGEST, metavar="VERSION", help="The version to return to.")],
) -> None:
    """Set the managed configuration as a version had it; that is a new version. 0: as before the first one."""
    with session.open_database() as connection:
        now = Configurations(connection).revert(connector_id, version)
    print_line(f"The configuration of connector {connector_id} is that of version {version} again (version {now}).")


@app.command()
def show(connector_id: ConnectorId, *, as_json: AsJson = False) -> None:
    """Show the configuration that the connector gets; with --json, the managed and the published one."""
    with session.open_database() as connection:
        row = select_configuration(connection, connector_id)
    if as_json:
        print_json({"connectorId": connector_id, "managed": row["managed"], "published": row["published"]})
    else:
        print_line(row["managed"] if row["managed"] is not None else row["published"] or "{}")


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    size = "cleared" if row["bytes"] is None else readable_bytes(row["bytes"])
    return str(row["version"]), visible(rfc3339(row["set_at"])), visible(row["actor"]), size
