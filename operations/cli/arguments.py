"""Arguments and options of several commands, and the checks of those that need more than a type."""

from __future__ import annotations

import math
import re
import sys
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import typer

from operations.roles import Role
from shared.hooks.hook import FORM

LARGEST_ID: Final = (1 << 63) - 1
#: Maximum characters of a connector's name.
_LONGEST_NAME: Final = 200
#: Bounds in requests a second. The upper one is far above what a process can answer; the lower one keeps the time to
#: fill a bucket, which is its expiry in Redis, within what Redis accepts.
_SLOWEST_RATE: Final = 0.001
_FASTEST_RATE: Final = 1_000_000
LARGEST_BURST: Final = 1_000_000
#: Longest duration that `seconds_of` takes, in seconds: a year.
_LONGEST_SECONDS: Final = 31_536_000
_ACCOUNT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", re.ASCII)
_AGO: Final = re.compile(r"(\d{1,6})([smhd])", re.ASCII)
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def plain_text(value: str | None) -> str | None:
    """Return text that Postgres accepts: bytes of the command line that are not UTF-8 arrive as surrogates."""
    if value is not None and any(unicodedata.category(character) == "Cs" for character in value):
        raise typer.BadParameter("It must be UTF-8.")
    return value


def connector_name(value: str) -> str:
    """Return a connector's name without the white space around it."""
    name = value.strip()
    if not 1 <= len(name) <= _LONGEST_NAME:
        raise typer.BadParameter(f"It must have 1 to {_LONGEST_NAME} characters.")
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in name):
        raise typer.BadParameter("It must not contain control characters.")
    return name


def account_name(value: str) -> str:
    """Return the name of an operator or a token."""
    if not _ACCOUNT.fullmatch(value):
        raise typer.BadParameter(
            "It must be 1 to 64 letters, digits, `.`, `_`, `@` or `-`, and begin with one of the first two."
        )
    return value


def request_rate(value: float) -> float:
    """Return a rate in requests a second that a bucket can have."""
    # NaN compares as false with everything, so the bounds must be tested positively.
    if not (math.isfinite(value) and _SLOWEST_RATE <= value <= _FASTEST_RATE):
        raise typer.BadParameter(f"It must be between {_SLOWEST_RATE} and {_FASTEST_RATE:,}.")
    return value


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
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
RoleOption = Annotated[
    Role, typer.Option(help="What it may do: look, change connectors, or also manage operators and tokens.")
]
