"""Logs: one line an event, JSON in production, readable on a terminal. Never a secret: no caller passes one.

Everybody logs with structlog. What happens with each request is logged with `log_often`, which writes the same line in
under a third of the time: without structlog's chain of processors, and with one system call for a turn of the event
loop.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from datetime import UTC, datetime
from typing import Any, Final, Literal

import orjson
import structlog

_TRACEBACKS: Final = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)


class Lines:
    """Lines on their way to stdout, in the order in which they were logged, whoever logged them."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal's handler that logs in the middle of this must not wait for itself
        self._gathered: list[bytes] = []
        #: Whether the event loop may be counted on to turn once more.
        self.gathering = True

    def write(self, line: bytes) -> None:
        """Writes a line, behind those that were gathered."""
        with self._lock:
            self._gathered.append(line)
            self._write_gathered()

    def gather(self, line: bytes) -> None:
        """Writes a line at the end of this turn of the event loop, or at once where there is none."""
        with self._lock:
            self._gathered.append(line)
            if not self.gathering:
                self._write_gathered()
            elif len(self._gathered) == 1:
                try:
                    asyncio.get_running_loop().call_soon(self.flush)
                except RuntimeError:
                    self._write_gathered()

    def flush(self) -> None:
        """Writes what was gathered."""
        with self._lock:
            self._write_gathered()

    def _write_gathered(self) -> None:
        lines, self._gathered = self._gathered, []
        if lines:
            sys.stdout.buffer.write(b"\n".join((*lines, b"")))
            sys.stdout.buffer.flush()


_LINES: Final = Lines()
#: What stands on every line of this process; None where `log_often` has to go the usual way.
_always: dict[str, object] | None = None


def log_often(event: str, fields: dict[str, Any]) -> None:
    """What `structlog.get_logger().info` does, for what happens with each request: in under a third of the time."""
    if _always is None:
        structlog.get_logger().info(event, **fields)
        return
    line = {**fields, "event": event, **_always, "level": "info", "timestamp": datetime.now(UTC)}
    _LINES.gather(orjson.dumps(line, default=str, option=orjson.OPT_UTC_Z))


def stop_gathering_lines() -> None:
    """Writes each line at once from here on: the event loop is about to end, and SIGTERM ends the process with it."""
    _LINES.gathering = False
    _LINES.flush()


class _LineLogger:
    """What structlog prints with."""

    def msg(self, line: bytes) -> None:
        _LINES.write(line)

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg


def configure_logging(log_format: Literal["auto", "json", "console"], level: str, **always: object) -> None:
    """Sets up this process's log, to stdout; `always` stands on every line."""
    global _always  # noqa: PLW0603 - as the rest of the set-up, which structlog keeps in globals of its own
    readable = log_format == "console" or (log_format == "auto" and sys.stdout.isatty())
    # Tracebacks without the values of variables: among these are credentials, bodies and addresses with passwords.
    rendering: list[Any] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if readable
        else [_TRACEBACKS, structlog.processors.JSONRenderer(serializer=_to_json)]
    )
    structlog.configure(
        processors=[
            lambda _logger, _method, event: {**event, **always},
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *rendering,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory() if readable else lambda *_: _LineLogger(),
        cache_logger_on_first_use=True,
    )
    _always = None if readable or logging.getLevelName(level.upper()) > logging.INFO else always
    _adopt_standard_logging(level)


def _to_json(event: dict[str, Any], **_: object) -> bytes:
    return orjson.dumps(event, default=str)


class _ToStructlog(logging.Handler):
    """Libraries log through the standard module; their lines take the same form."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = structlog.get_logger()
        logger.log(record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info)


def _adopt_standard_logging(level: str) -> None:
    logging.basicConfig(handlers=[_ToStructlog()], level=getattr(logging, level.upper()), force=True)
    for noisy in ("rq", "rq.worker", "uvicorn.error", "uvicorn.access", "asyncio", "psycopg.pool"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "rq.worker"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
