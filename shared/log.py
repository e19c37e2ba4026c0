"""Logs: one line an event, JSON in production, readable on a terminal. Never a secret: no caller passes one."""

from __future__ import annotations

import logging
import sys
from typing import Any, Final, Literal

import orjson
import structlog

_TRACEBACKS: Final = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)


def configure_logging(log_format: Literal["auto", "json", "console"], level: str, **always: object) -> None:
    """Sets up this process's log, to stdout; `always` stands on every line."""
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
        logger_factory=structlog.PrintLoggerFactory() if readable else structlog.BytesLoggerFactory(),
        cache_logger_on_first_use=True,
    )
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
