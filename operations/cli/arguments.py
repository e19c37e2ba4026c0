"""Arguments and options of several commands, and the checks of those that need more than a type."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer

from operations import rules
from operations.cli.errors import CommandError
from operations.roles import Role
from shared.causes import SentenceError
from shared.hooks.hook import FORM
from shared.limits import MB

LARGEST_ID: Final = (1 << 63) - 1
#: Maximum size of what is read from stdin.
_MAX_INPUT_BYTES: Final = 64 * MB
#: Longest duration that `seconds_of` takes, in seconds: a year.
_LONGEST_SECONDS: Final = 31_536_000
_AGO: Final = re.compile(r"(\d{1,6})([smhd])", re.ASCII)
Value = TypeVar("Value", str, float)

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def plain_text(value: str | None) -> str | None:
    """Return text that Postgres accepts: bytes of the command line that are not UTF-8 arrive as surrogates."""
    if value is not None and any(unicodedata.category(character) == "Cs" for character in value):
        raise typer.BadParameter("It must be UTF-8.")
    return value


def connector_name(value: str) -> str:
    """Return a connector's name without the white space around it."""
    return _by_rule(rules.connector_name, value)


def account_name(value: str) -> str:
    """Return the name of an operator or a token."""
    return _by_rule(rules.account_name, value)


def request_rate(value: float | None) -> float | None:
    """Return a rate in requests a second that a bucket can have."""
    return None if value is None else _by_rule(rules.request_rate, value)


def _by_rule(rule: Callable[[Value], Value], value: Value) -> Value:
    """Apply a rule that other ways of changing things apply too. Raises BadParameter."""
    try:
        return rule(value)
    except SentenceError as error:
        raise typer.BadParameter(str(error)) from None


def read_input(file: Path) -> bytes:
    """Return the content of a file; `-` is stdin. Raises CommandError."""
    try:
        return sys.stdin.buffer.read(_MAX_INPUT_BYTES) if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise CommandError(f"{file} can't be read: {error.strerror}.") from error


def hook_id_of(value: str) -> str:
    """Return the id of a hook."""
    if not FORM.fullmatch(value):
        raise typer.BadParameter("It must be like hk_0123456789abcdef0123456789abcdef.")
    return value


def secret_text(value: str | None) -> str | None:
    """Return a secret as given; `-` reads it from stdin, since other users may see the command line."""
    return plain_text(sys.stdin.readline().rstrip("\r\n") if value == "-" else value)


def seconds_of(value: str) -> int:
    """Return the seconds of a duration like 24h, up to a year; a bare 0 is one too."""
    given = _AGO.fullmatch("0s" if value == "0" else value)
    seconds = timedelta(**{_UNITS[given[2]]: int(given[1])}).total_seconds() if given else -1
    if not 0 <= seconds <= _LONGEST_SECONDS:
        raise typer.BadParameter("It must be like 0, 30m, 24h or 7d, up to 365d.")
    return int(seconds)


def moment_since(value: str | None) -> str | None:
    """Return a time for Postgres, given as RFC 3339 or as a duration before now."""
    if value is None:
        return None
    ago = _AGO.fullmatch(value)
    try:
        if ago:
            return (datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})).isoformat()
        moment = datetime.fromisoformat(value)
    except (ValueError, OverflowError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise typer.BadParameter("It must be like 30m, 2h or 2026-11-23T08:00:00Z.")
    return moment.isoformat()


ConnectorId = Annotated[int, typer.Argument(min=1, max=LARGEST_ID, metavar="CONNECTOR_ID", help="Id of the connector.")]
OptionalConnectorId = Annotated[
    int | None, typer.Argument(min=0, max=LARGEST_ID, metavar="[CONNECTOR_ID]", help="Id of a connector; 0: of none.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
RoleOption = Annotated[
    Role, typer.Option(help="What it may do: look, change connectors, or also manage operators and tokens.")
]
