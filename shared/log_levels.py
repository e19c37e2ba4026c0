"""The levels a log entry may have, and the ones that are stored: two spellings of a level are one level."""

from __future__ import annotations

from typing import Final

#: What connectors send, in lower case, and what is stored for it.
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
    """The level to store for one that was sent in any case; None where it is unknown."""
    return STORED_LEVELS.get(level.lower())
