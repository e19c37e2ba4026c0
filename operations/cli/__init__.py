"""`ingestctl`: what operators do with an installation, from a shell.

    migrate.py     brings the database to the schema of this code
    connector.py   who may send, and how much
    credential.py  with which key
    items.py       what stands in the database
    logs.py        what connectors log
    configuration.py  with what settings they run
    trace.py       what became of one request
    dead.py        what could not be applied, and what becomes of it
    status.py      what waits, who works, what is away

A command opens what it needs (`session.py`), so that one which reads Postgres alone works while Redis is away. Stdout
carries the answer and nothing else, as a table or, with `--json`, as one document (`output.py`). What may be expected
to go wrong becomes one sentence on stderr and exit code 1 (`faults.py`); anything else is a fault of ours and shows
itself as a traceback.
"""

from __future__ import annotations

import errno
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from operations.cli import configuration, connector, credential, dead, faults, items, logs, migrate, status, trace

_CANT_WRITE: Final = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class Commands(TyperGroup):
    """All commands; where expected faults end."""

    def invoke(self, ctx: Any) -> Any:
        """Runs a command. Flushes here, where a reader that has left can still be dealt with."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except faults.EXPECTED as fault:
            sys.stderr.write(f"{faults.sentence(fault)}\n")
            raise typer.Exit(1) from None
        except OSError as fault:
            if fault.errno not in _CANT_WRITE:
                raise
            if fault.errno != errno.EPIPE:
                sys.stderr.write(f"The answer can't be written: {fault.strerror}.\n")
            # What is still buffered would fail again at exit, and be told then.
            sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - open for as long as the process
            raise typer.Exit(1) from None
        return result


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("migrate", epilog=migrate.EXAMPLES)(migrate.migrate)
app.add_typer(connector.app, name="connector")
app.add_typer(credential.app, name="credential")
app.command("items", epilog=items.EXAMPLES)(items.items)
app.command("logs", epilog=logs.EXAMPLES)(logs.logs)
app.add_typer(configuration.app, name="config")
app.command("trace", epilog=trace.EXAMPLES)(trace.trace)
app.add_typer(dead.app, name="dead")
app.command("status", epilog=status.EXAMPLES)(status.status)


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it with the flag
    if not wanted:
        return
    try:
        sys.stdout.write(f"ingestctl {version('inspire-data-ingest')}\n")
    except PackageNotFoundError:
        sys.stdout.write("ingestctl, from a checkout that is not installed\n")
    raise typer.Exit


@app.callback()
def ingestctl(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Manages an installation of Inspire Data Ingest.

    The engines are those of DATABASE_URL and REDIS_URL; without these, those that `make run` started in this folder
    (or in DATA_DIR).
    """


def main() -> None:
    """The command `ingestctl`."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that can't show a letter gets its number; it is no reason to fail.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    app(prog_name="ingestctl")
