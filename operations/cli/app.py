"""The commands of `ingestctl` put together, and what their errors become."""

from __future__ import annotations

import errno
import os
import sys
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from operations.cli import (
    apply,
    audit,
    configuration,
    connector,
    credential,
    dead,
    emulate,
    errors,
    hook,
    interrupts,
    items,
    lanes,
    logs,
    migrate,
    operator,
    refusals,
    resync,
    status,
    streams,
    token,
    trace,
    traffic,
)

_CANT_WRITE: Final = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


class Commands(TyperGroup):
    """All commands; expected errors end here."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command to its exit code."""
        try:
            return interrupts.interruptible(partial(self._invoke_and_flush, ctx))
        except KeyboardInterrupt:
            raise typer.Exit(interrupts.EXIT_CODE) from None
        except errors.EXPECTED as error:
            sys.stderr.write(f"{errors.sentence(error)}\n")
            raise typer.Exit(1) from None
        except OSError as error:
            if error.errno not in _CANT_WRITE:
                raise
            if error.errno != errno.EPIPE:
                sys.stderr.write(f"The result can't be written: {error.strerror}.\n")
            # Flushing what is still buffered at exit would fail again, with a message of Python's.
            sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 - open until the process ends
            raise typer.Exit(1) from None

    def _invoke_and_flush(self, ctx: Any) -> Any:
        """Flush inside `invoke`, which can still handle a reader that has closed the pipe."""
        result = super().invoke(ctx)
        sys.stdout.flush()
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
app.add_typer(configuration.app, name="config")
app.add_typer(hook.app, name="hook")
app.add_typer(operator.app, name="operator")
app.add_typer(token.app, name="token")
app.command("apply", epilog=apply.APPLY_EXAMPLES)(apply.apply)
app.command("export", epilog=apply.EXPORT_EXAMPLES)(apply.export)
app.command("audit", epilog=audit.EXAMPLES)(audit.audit)
app.command("items", epilog=items.EXAMPLES)(items.items)
app.command("streams", epilog=streams.EXAMPLES)(streams.streams)
app.command("logs", epilog=logs.EXAMPLES)(logs.logs)
app.command("trace", epilog=trace.EXAMPLES)(trace.trace)
app.command("traffic", epilog=traffic.EXAMPLES)(traffic.traffic)
app.command("refusals", epilog=refusals.EXAMPLES)(refusals.refusals)
app.add_typer(dead.app, name="dead")
app.add_typer(lanes.app, name="lanes")
app.command("resync", epilog=resync.EXAMPLES)(resync.resync)
app.command("status", epilog=status.EXAMPLES)(status.status)
app.command("emulate", epilog=emulate.EXAMPLES)(emulate.emulate)


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
    """Manage an installation of Inspire Data Ingest.

    The engines are those of DATABASE_URL and REDIS_URL; if these are not set, those that `make run` started in this
    folder (or in DATA_DIR).
    """
