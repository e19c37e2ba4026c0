"""Logs: one line per event, JSON in production, readable on a terminal. Callers never pass a secret.

Modules log with structlog. The line about each request is logged with `log_often`, which writes the same line in under
a third of the time: without structlog's chain of processors. `output.py` writes the lines.
"""

from __future__ import annotations

import logging
import re
import sys
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import orjson
import structlog
from structlog.typing import EventDict

from shared.outage import Repeats
from shared.process.output import Lines, take_over_output
from shared.process.settings import LogFormat, LogLevel

_NUMBERS: Final = re.compile(r"[0-9a-f]{8,}|\d+")
_TRACEBACKS: Final = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)


#: Where `log_often` writes, and the fields of every line; None if it has to use structlog.
_often: tuple[Lines, dict[str, object]] | None = None


def log_often(event: str, fields: dict[str, Any]) -> None:
    """Do what `structlog.get_logger().info` does, in under a third of the time: for events of each request."""
    if _often is None:
        structlog.get_logger().info(event, **fields)
        return
    lines, always = _often
    line = {**fields, "event": event, **always, "level": "info", "timestamp": datetime.now(UTC)}
    lines.add(orjson.dumps(line, default=str, option=orjson.OPT_UTC_Z))


def finish_log() -> None:
    """Write each line at once from now on: the event loop is about to end, and on SIGTERM the process with it."""
    for printed in take_over_output():
        printed.lines.finish()


def count_lost_lines(count: Callable[[int], object]) -> None:
    """Have `count` called with the number of lines whenever some can't be written."""
    for printed in take_over_output():
        printed.lines.on_lost = count


class _LineLogger:
    """The logger to which structlog hands its rendered lines."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    def msg(self, line: bytes | str) -> None:
        self._lines.add(line.encode(errors="backslashreplace") if isinstance(line, str) else line)

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg


def configure_logging(log_format: LogFormat, level: LogLevel, **always: object) -> None:
    """Set up this process's log, on stdout. `always`: fields of every line."""
    global _often  # noqa: PLW0603 - structlog keeps its set-up in globals too
    lines = take_over_output()[0].lines
    threshold = logging.getLevelNamesMapping()[level.upper()]
    readable = log_format == "console" or (log_format == "auto" and sys.stdout.isatty())
    # Tracebacks omit the values of variables: among them are credentials, bodies and addresses with passwords.
    rendering: list[Any] = (
        [_escape_control_characters, structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
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
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda *_: _LineLogger(lines),
        cache_logger_on_first_use=True,
    )
    _often = None if readable or threshold > logging.INFO else (lines, always)
    _adopt_standard_logging(threshold)


def _escape_control_characters(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Escape what could control the operator's terminal: values such as paths come from clients."""
    return {name: _visible(value) if isinstance(value, str) else value for name, value in event.items()}


def _visible(value: str) -> str:
    return "".join(
        letter if unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Zl", "Zp") else ascii(letter)[1:-1]
        for letter in value
    )


def _to_json(event: dict[str, Any], **_: object) -> bytes:
    return orjson.dumps(event, default=str)


class _ToStructlog(logging.Handler):
    """Gives the lines of libraries, which log with the standard module, the same form.

    Those that repeat are logged ever more rarely: RQ and psycopg's pool write one for each attempt to connect.
    """

    def __init__(self) -> None:
        super().__init__()
        self._repeats = Repeats()

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        # Names of workers and jobs, ports and times differ each time.
        lasting = self._repeats.due(
            f"{record.name} {_NUMBERS.sub('', message)} {record.exc_info and record.exc_info[1]}"
        )
        if lasting is not None:
            structlog.get_logger().log(record.levelno, message, logger=record.name, exc_info=record.exc_info, **lasting)


def _adopt_standard_logging(threshold: int) -> None:
    logging.basicConfig(handlers=[_ToStructlog()], level=threshold, force=True)
    for noisy in ("rq", "rq.worker", "uvicorn.error", "uvicorn.access", "asyncio", "psycopg.pool"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "rq.worker"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
