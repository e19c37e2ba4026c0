"""`ingestctl migrate`: bring the database to the schema of this code. Running it twice, or at once, is safe."""

from __future__ import annotations

import time
from typing import Annotated, Final

import psycopg
import typer

from operations.cli import session
from operations.cli.errors import sentence
from operations.cli.output import print_line, print_note
from operations.readable import counted
from shared.postgres import migrations
from shared.postgres.connections import Connection
from shared.postgres.queries import sql
from shared.postgres.suitability import require_suitable
from shared.process.settings import Settings
from shared.process.startup import process_settings
from shared.request_id import MAX_LANES

EXAMPLES: Final = """Examples:

    \b
      ingestctl migrate
      ingestctl migrate --lanes 64
    """
_DEFAULT_LANES: Final = 16
_DEFAULT_WAIT_SECONDS: Final = 30
_BETWEEN_ATTEMPTS_SECONDS: Final = 0.5


def migrate(
    *,
    lanes: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MAX_LANES,
            help="Number of lanes in which submissions wait; chosen by the first migration (see `lanes double`).",
            show_default=str(_DEFAULT_LANES),
        ),
    ] = None,
    wait: Annotated[
        int, typer.Option(min=0, max=3600, help="Seconds to wait for a Postgres that is still starting.")
    ] = _DEFAULT_WAIT_SECONDS,
) -> None:
    """Bring the database to this version's schema.

    It changes nothing if nothing is missing, and may run twice, or in two places at once.
    """
    settings = process_settings()
    with _connect(settings, wait) as connection:
        require_suitable(connection, accept_data_loss=settings.accept_data_loss)
        applied = migrations.migrate(connection, lanes=lanes or _DEFAULT_LANES)
        existing = int(connection.execute(sql("count_lanes")).fetchall()[0]["lanes"])
    for name in applied:
        print_line(f"Applied {name}.")
    if not applied:
        print_line("Nothing was missing.")
    if lanes not in (None, existing):
        print_note(
            f"There are {counted(existing, 'lane')}, chosen by the first migration: --lanes {lanes} changed nothing."
        )


def _connect(settings: Settings, seconds: int) -> Connection:
    deadline = time.monotonic() + seconds
    noted = False
    while True:
        try:
            return session.open_database(str(settings.database_url), needs_primary=True)
        except psycopg.OperationalError as error:
            if time.monotonic() >= deadline:
                raise
            if not noted:
                print_note(f"{sentence(error)} Waiting for it, up to {seconds} s.")
            noted = True
        time.sleep(_BETWEEN_ATTEMPTS_SECONDS)
