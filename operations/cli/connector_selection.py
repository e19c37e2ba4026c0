"""Choosing connectors for a command: by ids, by names, or all; and doing it in parts, with progress."""

from __future__ import annotations

import fnmatch
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from operations.cli import session
from operations.cli.arguments import LARGEST_ID, plain_text
from operations.cli.connector_output import connector_document, print_connector, print_connectors
from operations.cli.errors import CommandError
from operations.cli.output import print_json_list
from operations.connectors import Connectors, select_connectors
from shared.postgres.connections import Connection

#: Connectors that one transaction changes.
_A_PART: Final = 200

ConnectorIds = Annotated[
    list[int] | None,
    typer.Argument(min=1, max=LARGEST_ID, metavar="CONNECTOR_ID", help="Ids of the connectors."),
]
Match = Annotated[
    str | None,
    typer.Option(callback=plain_text, metavar="PATTERN", help="Those whose names match, such as 'shop-*'."),
]
All = Annotated[bool, typer.Option("--all", help="All connectors.")]


def selected(connection: Connection, ids: Sequence[int] | None, match: str | None, *, everything: bool) -> list[int]:
    """Return the ids that exactly one of ids, pattern and `--all` selects. Raises CommandError if there are none."""
    if sum((bool(ids), match is not None, everything)) != 1:
        raise typer.BadParameter("Say which connectors: by ids, by --match, or all of them with --all.")
    if ids:
        return sorted(set(ids))
    found = [
        row["connector_id"]
        for row in select_connectors(connection)
        if everything or fnmatch.fnmatchcase(row["name"], match or "")
    ]
    if not found:
        raise CommandError("There are no such connectors.")
    return found


def change_in_parts(
    ids: Sequence[int] | None,
    match: str | None,
    *,
    everything: bool,
    change: Callable[[Connectors, list[int]], Any],
    after_an_error: str = session.RUN_AGAIN,
) -> list[int]:
    """Change the selected connectors, and return their ids. Each part is changed as a whole or not at all."""
    with session.changing_connectors(after_an_error) as connectors:
        chosen = selected(connectors.connection, ids, match, everything=everything)
        with progress_bar("Changed", len(chosen)) as advance:
            for start in range(0, len(chosen), _A_PART):
                part = chosen[start : start + _A_PART]
                change(connectors, part)
                advance(start + len(part))
    return chosen


def show_changed(ids: Sequence[int], *, one: bool, as_json: bool) -> None:
    """Show what was changed; `one`: a single connector was named."""
    with session.open_database() as connection:
        rows = [row for row in select_connectors(connection) if row["connector_id"] in set(ids)]
    session.add_signs_of_life(rows)
    if one:
        print_connector(rows[0], as_json=as_json)
    elif as_json:
        print_json_list("connectors", map(connector_document, rows))
    else:
        print_connectors(rows)


@contextmanager
def progress_bar(done: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on a terminal; yields a function that is told how much is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    disabled = not sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=disabled) as bar:
        task = bar.add_task(done, total=total)
        yield lambda completed: bar.update(task, completed=completed)
