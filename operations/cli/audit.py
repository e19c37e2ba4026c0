"""`ingestctl audit`: recorded changes and their authors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import orjson
import typer

from operations.audit import wanted_changes
from operations.cli import session
from operations.cli.arguments import AsJson, moment_since, plain_text
from operations.cli.output import print_json_list, print_rows, rows_to_read
from operations.documents import Change
from operations.readable import visible
from shared.rfc3339 import rfc3339

EXAMPLES: Final = """Examples:

    \b
      ingestctl audit
      ingestctl audit --subject "connector 7" --since 7d
      ingestctl audit --action connector --limit 0 --json
    """

_TITLES: Final = ("at", "actor", "action", "subject", "before", "after")
_DEFAULT_LIMIT: Final = 50


def audit(
    *,
    subject: Annotated[
        str | None, typer.Option(callback=plain_text, help='Only changes of this, such as "connector 7".')
    ] = None,
    actor: Annotated[
        str | None, typer.Option(callback=plain_text, help="Only changes of this user@host, operator or token.")
    ] = None,
    action: Annotated[
        str | None,
        typer.Option(callback=plain_text, help="Only this action, or all of a group: connector.rotate, connector."),
    ] = None,
    since: Annotated[
        str | None, typer.Option(callback=moment_since, help="Only changes since: 30m, 2h, 1d, or a time.")
    ] = None,
    limit: Annotated[
        int, typer.Option(min=0, max=1 << 62, help="Show so many at most, the newest, or all with 0.")
    ] = _DEFAULT_LIMIT,
    as_json: AsJson = False,
) -> None:
    """Show recorded changes with their authors, before and after, the newest first."""
    most = rows_to_read(limit, as_json=as_json)
    wanted = wanted_changes(subject=subject, actor=actor, action=action, since=since, limit=most)
    with session.open_database() as connection, session.stream_rows(connection, "select_audit", wanted) as rows:
        if as_json:
            print_json_list("changes", (Change.of(row).json() for row in rows))
        else:
            print_rows(_TITLES, rows, _cells, limit=limit, none="Nothing of this was changed.")


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return (
        visible(rfc3339(row["at"])),
        visible(row["actor"]),
        row["action"],
        visible(row["subject"]),
        _members(row["before"]),
        _members(row["after"]),
    )


def _members(members: Mapping[str, Any] | None) -> str:
    told = (f"{name} {orjson.dumps(value).decode()}" for name, value in (members or {}).items())
    return visible(", ".join(told) or None)
