"""`ingestctl migrate`: brings the database to the schema of this code. Running it twice, or at once, is safe."""

from __future__ import annotations

import time
from typing import Annotated, Final

import psycopg
import typer

from operations.cli import session
from operations.cli.faults import sentence
from operations.cli.output import counted, print_line, print_note
from shared.postgres import migrations
from shared.postgres.connections import Connection
from shared.postgres.queries import sql
from shared.request_id import MAX_LANES

EXAMPLES: Final = """Examples:

    \b
      ingestctl migrate
      ingestctl migrate --lanes 64
    """
_DEFAULT_LANES: Final = 16
_PATIENCE_SECONDS: Final = 30
_BETWEEN_ATTEMPTS_SECONDS: Final = 0.5


def migrate(
    *,
    lanes: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MAX_LANES,
            help="Let submissions wait in so many lanes. It counts at the first migration only, and stays.",
            show_default=str(_DEFAULT_LANES),
        ),
    ] = None,
    wait: Annotated[
        int, typer.Option(min=0, max=3600, help="Wait so many seconds for a Postgres that is still starting.")
    ] = _PATIENCE_SECONDS,
) -> None:
    """Brings the database to this version's schema.

    Where nothing is missing, nothing happens; it may run twice, or in two places at once.
    """
    with _patient_connection(wait) as connection:
        applied = migrations.migrate(connection, lanes=lanes or _DEFAULT_LANES)
        standing = int(connection.execute(sql("count_lanes")).fetchall()[0]["lanes"])
    for name in applied:
        print_line(f"Applied {name}.")
    if not applied:
        print_line("Nothing was missing.")
    if lanes not in (None, standing):
        print_note(f"There are {counted(standing, 'lane')}, which were chosen once: --lanes {lanes} changed nothing.")


def _patient_connection(seconds: int) -> Connection:
    deadline = time.monotonic() + seconds
    said = False
    while True:
        try:
            return session.open_database()
        except psycopg.OperationalError as fault:
            if time.monotonic() >= deadline:
                raise
            if not said:
                print_note(f"{sentence(fault)} Waiting for it, up to {seconds} s.")
            said = True
        time.sleep(_BETWEEN_ATTEMPTS_SECONDS)
