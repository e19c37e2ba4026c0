"""`ingestctl credential`: the credentials with which connectors send."""

from __future__ import annotations

import sys

import typer

from operations.cli.arguments import AsJson
from operations.cli.connector_selection import All, ConnectorIds, Match, change_in_parts
from operations.cli.output import print_json, print_json_list, print_line
from operations.readable import counted
from shared.credentials.credential import NewCredential

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Replace connectors' credentials.")


@app.callback()
def credential() -> None:
    """Replace connectors' credentials."""


@app.command(
    epilog="""Examples:

    \b
      ingestctl credential rotate 1
      ingestctl credential rotate 1 --json
      ingestctl credential rotate --match 'shop-*' --json > credentials.json
    """
)
def rotate(
    connector_ids: ConnectorIds = None, *, match: Match = None, everything: All = False, as_json: AsJson = False
) -> None:
    """Replace connectors' credentials and show the new ones, which can't be shown again.

    After the command has succeeded, no process accepts the old ones.
    """
    made: dict[int, NewCredential] = {}
    try:
        change_in_parts(
            connector_ids,
            match,
            everything=everything,
            change=lambda connectors, part: made.update(connectors.rotate_many(part)),
        )
    finally:  # those that were replaced before an error are shown now or never
        if made or not sys.exc_info()[0]:
            _print(made, one=len(connector_ids or ()) == 1, as_json=as_json)


def _print(made: dict[int, NewCredential], *, one: bool, as_json: bool) -> None:
    documents = [
        {"connectorId": connector_id, "keyId": new.key_id, "credential": new.text} for connector_id, new in made.items()
    ]
    if as_json and one:
        print_json(documents[0])
    elif as_json:
        print_json_list("credentials", documents)
    elif one:
        print_line(f"The old credential of connector {documents[0]['connectorId']} is refused from now on.")
        print_line("The new one, which is shown only now:")
        print_line()
        print_line(str(documents[0]["credential"]))
    else:
        print_line(f"The old credentials of {counted(len(made), 'connector')} are refused from now on.")
        print_line("The new ones, which are shown only now:")
        print_line()
        for document in documents:
            print_line(f"{document['connectorId']:>6}  {document['credential']}")
