"""What `ingestctl dead list` and `show` print of letters."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any, Final

from operations.cli import session
from operations.cli.output import print_line, print_members, print_rows
from operations.dead_documents import letter_document, request_id_of
from operations.readable import readable_bytes, visible
from operations.reasons import meaning_of
from shared.postgres.connections import Connection
from shared.rfc3339 import rfc3339

_NUMBERS: Final = ("connector", "size", "letters", "connectors")
_TITLES: Final = ("request", "connector", "kind", "size", "reason", "fingerprint", "died", "detail")
_GROUP_TITLES: Final = ("fingerprint", "letters", "size", "connectors", "last died", "reason", "detail")


def stream_letters(connection: Connection, values: dict[str, Any], *, group: bool) -> Generator[dict[str, Any]]:
    """Yield letters, or groups of letters by their cause, as they arrive."""
    query = "select_dead_letter_groups" if group else "select_dead_letters"
    with session.stream_rows(connection, query, values) as rows:
        yield from rows


def print_letters(rows: Iterator[dict[str, Any]], limit: int, *, group: bool) -> None:
    """Print letters or groups as a table, and whether there are more than `limit`."""
    titles, line = (_GROUP_TITLES, _group_line) if group else (_TITLES, _line)
    none, whole = "There are no such dead letters.", ("request", "fingerprint")
    print_rows(titles, rows, line, limit=limit, numbers=_NUMBERS, whole=whole, none=none)


def _line(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        request_id_of(row),
        str(row["connector_id"]),
        visible(row["kind"]),
        readable_bytes(row["bytes"]),
        visible(f"{row['reason']}: {meaning_of(row['reason'])}"),
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
        visible(f"{row['reason']}: {meaning_of(row['reason'])}"),
        visible(row["detail"]),
    )


def print_letter(letter: dict[str, Any]) -> None:
    """Print one letter whole, a member a line."""
    members = letter_document(letter)
    encoding = members.pop("bodyEncoding")
    print_members({name: visible(str(value)) for name, value in members.items()})
    if encoding != "utf-8":
        print_line("The body is not UTF-8: it is shown in base64, and --body prints its bytes.")
