"""Log entries of a connector, from `logging` too, and SIGTERM as an exit that flushes."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, Callable

#: Loggers whose records come from sending; sending them would make more.
_OWN = ("inspire_ingest", "httpx", "httpcore")
_LEVELS = ((50, "fatal"), (40, "error"), (30, "warn"), (20, "info"), (10, "debug"))

Add = Callable[[str, str, str, Mapping[str, Any]], None]


def now() -> str:
    """Return the time as log entries have it."""
    return datetime.now(timezone.utc).isoformat()


class Handler(logging.Handler):
    """Hands records to a connector, which drops what it has no room for and never waits."""

    def __init__(self, add: Add, level: int) -> None:
        super().__init__(level)
        self._add = add

    def emit(self, record: logging.LogRecord) -> None:
        """Add a record as a log entry, with its traceback."""
        if record.name.split(".")[0] in _OWN:
            return
        try:
            level = next((name for least, name in _LEVELS if record.levelno >= least), "trace")
            moment = datetime.fromtimestamp(record.created, timezone.utc).isoformat()
            self._add(level, self.format(record), moment, {"logger": record.name})
        except Exception:  # noqa: BLE001 - as every handler of logging: a log line must not end its caller
            self.handleError(record)


def exit_on_sigterm() -> None:
    """Let SIGTERM end the main thread like `sys.exit`, so that `with` blocks flush; call it in the main thread."""

    def end(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, end)
