"""Selecting dead letters to change: the options, the question before it, the progress and the result."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import psycopg
import typer

from operations import dead_letters
from operations.cli import session
from operations.cli.arguments import LARGEST_ID, AsJson, moment_since, plain_text
from operations.cli.connector_selection import progress_bar
from operations.cli.errors import CommandError, sentence
from operations.cli.output import print_json, print_line
from operations.dead_letters import Filter, Progress, RetryError, Selection
from operations.readable import counted, readable_bytes, visible
from shared.postgres.connections import Connection
from shared.request_id import Position, position_of_request

ConnectorFilter = Annotated[
    int | None, typer.Option("--connector", min=1, max=LARGEST_ID, metavar="ID", help="Only those of this connector.")
]
ReasonFilter = Annotated[
    str | None, typer.Option(callback=plain_text, metavar="REASON", help="Only those that died of this.")
]
FingerprintFilter = Annotated[
    str | None, typer.Option(callback=plain_text, metavar="FINGERPRINT", help="Only those with this cause.")
]
SinceFilter = Annotated[
    str | None, typer.Option(callback=moment_since, help="Only those that died since: 30m, 2h, 1d, or a time.")
]
RequestIds = Annotated[
    list[str] | None, typer.Argument(metavar="REQUEST_ID", help="Say which letters, by their requests' ids.")
]
Everything = Annotated[bool, typer.Option("--all", help="All dead letters.")]
LiftBound = Annotated[
    bool, typer.Option("--lift-bound", help="Let retains remove more items than their `atMost` says.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]

#: Changes the letters of a selection, step by step.
Change = Callable[[Connection, Selection], Iterator[Progress]]


def changing_letters(done: str, *, lifts_bounds: bool = False) -> Callable[[Change], Callable[..., None]]:
    """Make a command of a change: select letters, ask, show the progress, print the result.

    `done`: the past participle of the command's name, which is the JSON result's key too. `lifts_bounds`: it has the
    option `--lift-bound`.
    """

    def decorate(change: Change) -> Callable[..., None]:
        def command(  # noqa: PLR0913 - each is an option
            request_ids: RequestIds = None,
            *,
            connector_id: ConnectorFilter = None,
            reason: ReasonFilter = None,
            fingerprint: FingerprintFilter = None,
            since: SinceFilter = None,
            everything: Everything = False,
            lift_bound: LiftBound = False,
            yes: Yes = False,
            as_json: AsJson = False,
        ) -> None:
            letters = _one_of(request_ids, Filter(connector_id, reason, fingerprint, since), everything=everything)
            with session.open_database() as connection:
                selection = dataclasses.replace(_count(connection, letters), lift_bound=lift_bound)
                if selection.letters and not yes:
                    _ask(selection, change.__name__, done)
                progress = _follow(done, selection, change(connection, selection))
            if as_json:
                print_json(_document(done, selection, progress))
            else:
                _print(done, selection, progress)

        command.__name__, command.__doc__ = change.__name__, change.__doc__
        if not lifts_bounds:
            _remove_option(command, "lift_bound")
        return command

    return decorate


def _remove_option(command: Callable[..., None], name: str) -> None:
    """Hide a parameter from typer, which then leaves it at its default."""
    signature = inspect.signature(command, eval_str=True)
    kept = [parameter for parameter in signature.parameters.values() if parameter.name != name]
    command.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined] # inspect reads it


def position_of(request_id: str) -> Position:
    """Return the position of an accepted request. Raises CommandError."""
    position = position_of_request(request_id)
    if position is None:
        raise CommandError(f"{visible(request_id)} is not the id of an accepted request.")
    return position


def unknown(request_id: str) -> CommandError:
    """Return the error for a request that has no letter."""
    return CommandError(f"There is no dead letter {request_id}.")


def _one_of(request_ids: list[str] | None, filters: Filter, *, everything: bool) -> Filter:
    """Build the filter from exactly one of: ids, filters, `--all`."""
    given = [bool(request_ids), filters != Filter(), everything]
    if sum(given) != 1:
        raise typer.BadParameter("Say which letters: by request ids, by filters, or all of them with --all.")
    if not request_ids:
        return filters
    return Filter(positions=tuple(position_of(one) for one in dict.fromkeys(request_ids)))


def _count(connection: Connection, letters: Filter) -> Selection:
    selection = dead_letters.count(connection, letters)
    if selection.letters < len(letters.positions):
        raise unknown(dead_letters.missing(connection, selection)[0].request_id)
    return selection


def _ask(selection: Selection, verb: str, done: str) -> None:
    """Ask the operator. Raises CommandError unless the answer is yes."""
    letters, connectors = counted(selection.letters, "dead letter"), counted(selection.connectors, "connector")
    what = f"{letters} of {connectors} ({readable_bytes(selection.bytes)})"
    if not sys.stdin.isatty():
        raise CommandError(f"{what} would be {done}. There is no terminal to ask on: add --yes.")
    if not typer.confirm(f"{verb.capitalize()} {what}?", err=True):
        raise CommandError("Nothing was changed.")


def _follow(done: str, selection: Selection, steps: Iterator[Progress]) -> Progress:
    """Run the steps, with a progress bar on a terminal; return the last one."""
    progress = Progress()
    with progress_bar(done.capitalize(), selection.letters) as advance:
        try:
            for progress in steps:
                advance(progress.done + progress.gone)
        except (RetryError, psycopg.Error) as error:
            so_far = f"{progress.done:,} of {counted(selection.letters, 'dead letter')} were {done}"
            raise CommandError(f"{sentence(error)} {so_far}; run the same command again for the others.") from error
    return progress


def _document(done: str, selection: Selection, progress: Progress) -> dict[str, Any]:
    counts = {"letters": selection.letters, "bytes": selection.bytes, done: progress.done, "gone": progress.gone}
    return {**counts, "diedAgain": progress.died_again} if done == "retried" else counts


def _print(done: str, selection: Selection, progress: Progress) -> None:
    if not selection.letters:
        print_line("There are no such dead letters.")
        return
    died_again = f", {progress.died_again:,} of them died again" if progress.died_again else ""
    gone = f"; {progress.gone:,} were gone or in use" if progress.gone else ""
    print_line(f"{counted(progress.done, 'dead letter')} {done}{died_again}{gone}.")
