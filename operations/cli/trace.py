"""`ingestctl trace`: the outcome of one request."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from operations.cli import session
from operations.cli.arguments import AsJson
from operations.cli.output import print_json, print_line, print_members
from operations.readable import readable_seconds, visible
from operations.requests import outcome
from shared.process.startup import process_settings
from shared.redis.connections import connect_redis

EXAMPLES: Final = """Examples:

    \b
      ingestctl trace req_00d20wmh800000
      ingestctl trace req_00d20wmh800000 --json
    """


def trace(
    request_id: Annotated[str, typer.Argument(metavar="REQUEST_ID", help="Id of the request, from its response.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Show the outcome of a request: queued, applied or dead.

    It tells when, and what the request contained.
    """
    settings = process_settings()
    with (
        connect_redis(settings.redis_url) as redis,
        session.open_database(settings.database_url) as connection,
    ):
        found = outcome(connection, redis, request_id)
    if as_json:
        print_json(found)
    else:
        _print(found)


def _print(found: dict[str, Any]) -> None:
    entries = found.pop("entries", [])
    if "ageSeconds" in found:
        found["ageSeconds"] = readable_seconds(found["ageSeconds"])
    print_members({name: visible(str(value)) for name, value in found.items()})
    for entry in entries:
        print_line(f"  {entry['timestamp']}  {entry['level']}  {visible(entry['message'])}")
