"""The levels of a log entry: what connectors may send, and what is stored for it."""

from __future__ import annotations

from typing import Final

#: By the level that was sent, in lower case: the level that is stored.
STORED_LEVELS: Final = {
    "trace": "trace",
    "debug": "debug",
    "info": "info",
    "warn": "warn",
    "warning": "warn",
    "error": "error",
    "fatal": "fatal",
    "critical": "fatal",
}


def stored_level(level: str) -> str | None:
    """Return the level to store for one that was sent in any case, or None if it is unknown."""
    return STORED_LEVELS.get(level.lower())
