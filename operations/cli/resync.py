"""`ingestctl resync`: make Redis follow Postgres at once, after one of them was restored or replaced.

The sweeper does the same within a second; the command tells when it is done, and needs no sweeper.
"""

from __future__ import annotations

from typing import Final

from operations.cli import session
from operations.cli.arguments import AsJson
from operations.cli.output import print_json, print_line
from operations.readable import counted
from shared.credentials.sync import count_lanes, load_lanes
from shared.process.startup import process_settings
from shared.redis.connections import connect_redis

EXAMPLES: Final = """Examples:

    \b
      ingestctl resync
      ingestctl resync --json
    """


def resync(*, as_json: AsJson = False) -> None:
    """Make Redis' credentials those of Postgres, after one of them was restored, and show how many differed.

    Submissions and connectors go on meanwhile.
    """
    settings = process_settings()
    with session.open_database(settings.database_url) as connection, connect_redis(settings.redis_url) as redis:
        lanes = count_lanes(connection, redis)
        corrected = load_lanes(connection, redis, range(lanes))
    if as_json:
        print_json({"lanes": lanes, "corrected": corrected})
    else:
        differed = counted(corrected, "credential differed", "credentials differed")
        print_line(f"{counted(lanes, 'lane')} compared with Postgres; {differed}.")
