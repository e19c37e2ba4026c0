"""`ingestctl`: what operators do with an installation, from a shell.

Each command has a file; `app.py` puts them together. A command opens what it needs (`session.py`), so that one that
reads only Postgres works while Redis is unavailable. Stdout carries the result and nothing else, as a table or, with
`--json`, as one document (`output.py`). An expected error becomes one sentence on stderr and exit code 1 (`errors.py`);
anything else is a bug and shows a traceback. Ctrl-C ends any command with exit code 130 (`interrupts.py`).
"""

from __future__ import annotations

import logging
import sys
from importlib.util import find_spec

from operations.cli.interrupts import exit_on_interrupt


def main() -> None:
    """Run the command `ingestctl`."""
    exit_on_interrupt()
    # Importing the commands takes most of a second, in which Ctrl-C must not end in a traceback.
    try:
        from operations.cli.app import app  # noqa: PLC0415
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if find_spec(package):  # a part of it is missing: a bug
            raise
        sys.exit(f"The package {package} is missing: install inspire-data-ingest again, without --no-deps.")

    for stream in (sys.stdout, sys.stderr):
        # A terminal that can't show a character gets its number instead of an error.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    # psycopg logs errors that it ignores while it closes an interrupted connection.
    logging.getLogger("psycopg").addHandler(logging.NullHandler())
    app(prog_name="ingestctl")
