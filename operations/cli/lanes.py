"""`ingestctl lanes`: change how many lanes there are."""

from __future__ import annotations

from typing import Final

import typer

from operations.cli import session
from operations.cli.arguments import AsJson
from operations.cli.output import print_json, print_line, print_note
from operations.lanes import again_at, complete, double_lanes
from operations.readable import counted
from shared.credentials.sync import read_lanes
from shared.process.startup import process_settings
from shared.redis.connections import connect_redis

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Double the lanes.")

DOUBLE_EXAMPLES: Final = """Examples:

    \b
      ingestctl lanes double
      ingestctl lanes double --json
    """


@app.command(epilog=DOUBLE_EXAMPLES)
def double(*, as_json: AsJson = False) -> None:
    """Double the lanes while submissions go on, or complete a doubling that was interrupted.

    For a moment, submissions are answered 503. Every API process, worker and sweeper must be of this version.
    """
    settings = process_settings()
    with session.open_database(settings.database_url) as connection, connect_redis(settings.redis_url) as redis:
        before = read_lanes(connection, redis).number
        number = double_lanes(connection, redis).number
        for left in complete(connection, redis):
            if left:
                print_note(f"{counted(number, 'lane')}; {counted(len(left), 'new one')} not done yet.")
        lanes = read_lanes(connection, redis)
    if as_json:
        print_json({"lanes": lanes.number, "before": before, "againAt": again_at(lanes)})
    elif before == lanes.number:
        print_line(f"The {before} lanes were doubled lately; they can be doubled again from {again_at(lanes)} on.")
    else:
        print_line(f"There are {lanes.number} lanes, where there were {before}.")
