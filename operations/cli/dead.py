"""`ingestctl dead`: submissions that could not be applied.

A letter's id is its request's. Commands that change letters count them first and ask.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Annotated, Final

import typer

from operations import dead_letters
from operations.cli import session
from operations.cli.arguments import AsJson
from operations.cli.dead_output import print_letter, print_letters, stream_letters
from operations.cli.dead_selection import (
    ConnectorFilter,
    FingerprintFilter,
    ReasonFilter,
    SinceFilter,
    changing_letters,
    position_of,
    unknown,
)
from operations.cli.output import print_json, print_json_list, rows_to_read
from operations.dead_documents import document, group_document, letter_document
from operations.dead_letters import Filter, Progress, Selection
from shared.postgres.connections import Connection

_DEFAULT_LIMIT: Final = 20

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List, show, retry and drop dead letters.")


@app.command(
    "list",
    epilog="""Examples:

    \b
      ingestctl dead list --group
      ingestctl dead list --fingerprint 5f2a90c1
      ingestctl dead list --connector 1 --since 2h --limit 0 --json > dead.json
    """,
)
def list_letters(
    *,
    connector_id: ConnectorFilter = None,
    reason: ReasonFilter = None,
    fingerprint: FingerprintFilter = None,
    since: SinceFilter = None,
    limit: Annotated[
        int, typer.Option(min=0, max=1 << 62, help="Show so many at most, the newest, or all with 0.")
    ] = _DEFAULT_LIMIT,
    group: Annotated[bool, typer.Option("--group", help="Count them by their cause.")] = False,
    as_json: AsJson = False,
) -> None:
    """List dead letters, the newest first."""
    most = rows_to_read(limit, as_json=as_json)
    values = dead_letters.listing(Filter(connector_id, reason, fingerprint, since), most)
    # Closed in this order, whatever happens: a stream that is left open holds the connection, whose closing would wait.
    with session.reading_database() as connection, closing(stream_letters(connection, values, group=group)) as rows:
        if as_json and group:
            print_json_list("groups", map(group_document, rows))
        elif as_json:
            print_json_list("deadLetters", map(document, rows))
        else:
            print_letters(rows, limit, group=group)


@app.command(
    epilog="""Examples:

    \b
      ingestctl dead show req_00d20wmh800000
      ingestctl dead show req_00d20wmh800000 --body > body.json
    """
)
def show(
    request_id: Annotated[str, typer.Argument(metavar="REQUEST_ID", help="Say which letter, by its request's id.")],
    *,
    body: Annotated[bool, typer.Option("--body", help="Print the body's own bytes and nothing else.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show one dead letter, with its body as received."""
    if body and as_json:
        raise typer.BadParameter("--body and --json exclude each other.")
    with session.open_database() as connection:
        letter = dead_letters.read(connection, position_of(request_id))
    if letter is None:
        raise unknown(request_id)
    if body:
        sys.stdout.buffer.write(letter["body"])
    elif as_json:
        print_json(letter_document(letter))
    else:
        print_letter(letter)


@app.command(
    epilog="""Examples:

    \b
      ingestctl dead retry req_00d20wmh800000
      ingestctl dead retry --fingerprint 5f2a90c1
      ingestctl dead retry req_00d20wmh800000 --lift-bound
      ingestctl dead retry --all --yes --json
    """
)
@changing_letters("retried", lifts_bounds=True)
def retry(connection: Connection, selection: Selection) -> Iterator[Progress]:
    """Retry dead letters, and wait until the workers have applied them or they died again.

    They never replace or remove newer state. If this command is interrupted, the workers retry the letters all the
    same.
    """
    return dead_letters.retry(connection, selection)


@app.command(
    epilog="""Examples:

    \b
      ingestctl dead drop req_00d20wmh800000
      ingestctl dead drop --connector 1 --reason unreadable
    """
)
@changing_letters("dropped")
def drop(connection: Connection, selection: Selection) -> Iterator[Progress]:
    """Delete dead letters, forever."""
    return dead_letters.drop(connection, selection)
