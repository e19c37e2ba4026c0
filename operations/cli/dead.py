"""`ingestctl dead`: submissions that could never be applied, and what becomes of them.

A letter's id is its request's. What changes letters counts them first and asks; see `operations/dead_letters.py` for
how a retry keeps from overwriting what is newer.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Annotated, Any, Final

import psycopg
import typer
from redis.exceptions import RedisError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from operations import dead_letters
from operations.cli import session
from operations.cli.arguments import LARGEST_ID, AsJson, moment_since, plain_text
from operations.cli.errors import CommandError, sentence
from operations.cli.output import (
    counted,
    print_json,
    print_json_list,
    print_line,
    print_members,
    print_table,
    readable_bytes,
    visible,
)
from operations.dead_letters import Choice, Meant, RetryError, Room, Step
from shared.entry import COUNTED
from shared.postgres.connections import Connection
from shared.postgres.queries import sql
from shared.process.startup import process_settings
from shared.request_id import Position, position_of_request, position_of_version
from shared.rfc3339 import rfc3339

_DEFAULT_LIMIT: Final = 20
_NUMBERS: Final = ("connector", "size", "letters", "connectors")
_TITLES: Final = ("request", "connector", "kind", "size", "reason", "fingerprint", "died", "detail")
_GROUP_TITLES: Final = ("fingerprint", "letters", "size", "connectors", "last died", "reason", "detail")

_ConnectorFilter = Annotated[
    int | None, typer.Option("--connector", min=1, max=LARGEST_ID, metavar="ID", help="Only those of this connector.")
]
_ReasonFilter = Annotated[
    str | None, typer.Option(callback=plain_text, metavar="REASON", help="Only those that died of this.")
]
_FingerprintFilter = Annotated[
    str | None, typer.Option(callback=plain_text, metavar="FINGERPRINT", help="Only those with this cause.")
]
_SinceFilter = Annotated[
    str | None, typer.Option(callback=moment_since, help="Only those that died since: 30m, 2h, 1d, or a time.")
]
_RequestIds = Annotated[
    list[str] | None, typer.Argument(metavar="REQUEST_ID", help="Say which letters, by their requests' ids.")
]
_Everything = Annotated[bool, typer.Option("--all", help="All dead letters.")]
_Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Lists, shows, retries and drops dead letters.")


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
    connector_id: _ConnectorFilter = None,
    reason: _ReasonFilter = None,
    fingerprint: _FingerprintFilter = None,
    since: _SinceFilter = None,
    limit: Annotated[
        int, typer.Option(min=0, max=1 << 62, help="Show so many at most, the newest, or all with 0.")
    ] = _DEFAULT_LIMIT,
    group: Annotated[bool, typer.Option("--group", help="Count them by their cause.")] = False,
    as_json: AsJson = False,
) -> None:
    """Lists dead letters, the newest first."""
    # One more than is shown tells a reader whether there are more.
    most = limit + (not as_json) if limit else None
    values = {**Choice(connector_id, reason, fingerprint, since).values(), "limit": most}
    query = "select_dead_letter_groups" if group else "select_dead_letters"
    # Closed in this order, whatever happens: a stream that is left open holds the connection, whose closing would wait.
    with session.open_database() as connection, closing(_stream(connection, query, values)) as rows:
        if as_json and group:
            print_json_list("groups", map(_group_document, rows))
        elif as_json:
            print_json_list("deadLetters", map(_document, rows))
        else:
            _print_rows(rows, limit, group=group)


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
    """Shows one dead letter, with the body that came."""
    if body and as_json:
        raise typer.BadParameter("--body and --json exclude each other.")
    with session.open_database() as connection:
        letter = dead_letters.read(connection, _position(request_id))
    if letter is None:
        raise _unknown(request_id)
    if body:
        sys.stdout.buffer.write(letter["body"])
    elif as_json:
        print_json({**_document(letter), **_body_document(letter["body"])})
    else:
        _print_letter(letter)


@app.command(
    epilog="""Examples:

    \b
      ingestctl dead retry req_00d20wmh800000
      ingestctl dead retry --fingerprint 5f2a90c1
      ingestctl dead retry --all --yes --json
    """
)
def retry(
    request_ids: _RequestIds = None,
    *,
    connector_id: _ConnectorFilter = None,
    reason: _ReasonFilter = None,
    fingerprint: _FingerprintFilter = None,
    since: _SinceFilter = None,
    everything: _Everything = False,
    yes: _Yes = False,
    as_json: AsJson = False,
) -> None:
    """Hands dead letters back to their lanes, to be applied.

    They never replace newer state. Which of them died again is seen in the list.
    """
    choice = _choice(request_ids, Choice(connector_id, reason, fingerprint, since), everything=everything)
    settings = process_settings()
    room = Room(settings.max_backlog_bytes, settings.max_connector_backlog_bytes)
    with session.open_database(str(settings.database_url)) as connection:
        meant = _agreed(connection, choice, "retry", "retried", yes=yes)
        with session.open_redis(str(settings.redis_url)) as redis:
            total = _followed("retried", meant, dead_letters.retry(connection, redis, meant, room))
    _report("retried", meant, total, as_json=as_json)


@app.command(
    epilog="""Examples:

    \b
      ingestctl dead drop req_00d20wmh800000
      ingestctl dead drop --connector 1 --reason unreadable
    """
)
def drop(
    request_ids: _RequestIds = None,
    *,
    connector_id: _ConnectorFilter = None,
    reason: _ReasonFilter = None,
    fingerprint: _FingerprintFilter = None,
    since: _SinceFilter = None,
    everything: _Everything = False,
    yes: _Yes = False,
    as_json: AsJson = False,
) -> None:
    """Forgets dead letters, for ever."""
    choice = _choice(request_ids, Choice(connector_id, reason, fingerprint, since), everything=everything)
    with session.open_database() as connection:
        meant = _agreed(connection, choice, "drop", "dropped", yes=yes)
        total = _followed("dropped", meant, dead_letters.drop(connection, meant))
    _report("dropped", meant, total, as_json=as_json)


def _choice(request_ids: list[str] | None, filters: Choice, *, everything: bool) -> Choice:
    """What is meant, said in one of three ways: by ids, by filters, or all."""
    said = [bool(request_ids), filters != Choice(), everything]
    if sum(said) != 1:
        raise typer.BadParameter("Say which letters: by request ids, by filters, or all of them with --all.")
    if not request_ids:
        return filters
    return Choice(positions=tuple(_position(one) for one in dict.fromkeys(request_ids)))


def _position(request_id: str) -> Position:
    position = position_of_request(request_id)
    if position is None:
        raise CommandError(f"{visible(request_id)} is not the id of an accepted request.")
    return position


def _unknown(request_id: str) -> CommandError:
    return CommandError(f"There is no dead letter {request_id}.")


def _agreed(connection: Connection, choice: Choice, verb: str, done: str, *, yes: bool) -> Meant:
    """The letters of a choice, counted, once whoever runs the command has agreed."""
    meant = dead_letters.count(connection, choice)
    if meant.letters < len(choice.positions):
        raise _unknown(dead_letters.missing(connection, meant)[0].request_id)
    letters, connectors = counted(meant.letters, "dead letter"), counted(meant.connectors, "connector")
    what = f"{letters} of {connectors} ({readable_bytes(meant.bytes)})"
    if yes or not meant.letters:
        return meant
    if not sys.stdin.isatty():
        raise CommandError(f"{what} would be {done}: nobody can be asked here, so say --yes.")
    if not typer.confirm(f"{verb.capitalize()} {what}?", err=True):
        raise CommandError("Nothing was changed.")
    return meant


def _followed(done: str, meant: Meant, steps: Iterator[Step]) -> Step:
    """Does the work with a bar on a terminal; what it came to."""
    total = Step(0, 0)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(done.capitalize(), total=meant.letters)
        try:
            for step in steps:
                total = Step(total.done + step.done, total.gone + step.gone)
                bar.update(task, completed=total.done + total.gone)
        except (RetryError, psycopg.Error, RedisError) as fault:
            so_far = f"{total.done:,} of {counted(meant.letters, 'dead letter')} were {done}"
            raise CommandError(f"{sentence(fault)} {so_far}; run the same command again for the others.") from fault
    return total


def _report(done: str, meant: Meant, total: Step, *, as_json: bool) -> None:
    if as_json:
        print_json({"letters": meant.letters, "bytes": meant.bytes, done: total.done, "gone": total.gone})
        return
    if not meant.letters:
        print_line("There are no such dead letters.")
        return
    gone = f"; {total.gone:,} had gone or were being applied" if total.gone else ""
    print_line(f"{counted(total.done, 'dead letter')} {done}{gone}.")
    if done == "retried" and total.done:
        print_line("They are applied in their lanes now; `ingestctl trace REQUEST_ID` tells what became of one.")


def _stream(connection: Connection, query: str, values: dict[str, Any]) -> Generator[dict[str, Any]]:
    connection.execute(sql("allow_long_reading"))
    with connection.cursor() as cursor:
        yield from cursor.stream(sql(query), values)


def _print_rows(rows: Iterator[dict[str, Any]], limit: int, *, group: bool) -> None:
    first = next(rows, None)
    if first is None:
        print_line("There are no such dead letters.")
        return
    shown = 0

    def lines() -> Iterator[tuple[str, ...]]:
        nonlocal shown
        row: dict[str, Any] | None = first
        while row is not None:
            shown += 1
            yield _group_line(row) if group else _line(row)
            row = None if shown == limit else next(rows, None)

    print_table(_GROUP_TITLES if group else _TITLES, lines(), numbers=_NUMBERS, whole=("request", "fingerprint"))
    if next(rows, None) is not None:
        print_line()
        print_line("There are more, and --limit 0 shows all.")


def _request_id(row: dict[str, Any]) -> str:
    return position_of_version(row["lane"], row["version"]).request_id


def _document(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "requestId": _request_id(row),
        "connectorId": row["connector_id"],
        "lane": row["lane"],
        "kind": row["kind"],
        **({COUNTED[row["kind"]]: row["received"]} if row["kind"] in COUNTED else {}),
        "bytes": row["bytes"],
        "reason": row["reason"],
        "detail": row["detail"],
        "fingerprint": row["fingerprint"],
        "receivedAt": rfc3339(row["received_at"]),
        "diedAt": rfc3339(row["died_at"]),
    }


def _body_document(body: bytes) -> dict[str, str]:
    """As text, where it is text."""
    try:
        return {"body": body.decode(), "bodyEncoding": "utf-8"}
    except UnicodeDecodeError:
        return {"body": base64.b64encode(body).decode(), "bodyEncoding": "base64"}


def _group_document(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "fingerprint": row["fingerprint"],
        "letters": row["letters"],
        "bytes": row["bytes"],
        "connectors": row["connectors"],
        "reason": row["reason"],
        "detail": row["detail"],
        "firstDiedAt": rfc3339(row["first_died_at"]),
        "lastDiedAt": rfc3339(row["last_died_at"]),
    }


def _line(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        _request_id(row),
        str(row["connector_id"]),
        visible(row["kind"]),
        readable_bytes(row["bytes"]),
        visible(row["reason"]),
        row["fingerprint"] or "-",
        visible(rfc3339(row["died_at"])),
        visible(row["detail"]),
    )


def _group_line(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        row["fingerprint"] or "-",
        f"{row['letters']:,}",
        readable_bytes(row["bytes"]),
        f"{row['connectors']:,}",
        visible(rfc3339(row["last_died_at"])),
        visible(row["reason"]),
        visible(row["detail"]),
    )


def _print_letter(letter: dict[str, Any]) -> None:
    members = {**_document(letter), **_body_document(letter["body"])}
    encoding = members.pop("bodyEncoding")
    print_members({name: visible(str(value)) for name, value in members.items()})
    if encoding != "utf-8":
        print_line("The body is no UTF-8: it is shown in base64, and --body prints its bytes.")
