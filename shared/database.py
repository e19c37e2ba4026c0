"""Connections to Postgres, with a bound on everything that can wait.

Errors of psycopg are sorted once, here: `is_not_now(error)` says whether the same call may pass later. Only what
Postgres says of the values themselves is about the data; everything else (the server away, stopping, read-only, full, a
deadlock's victim, a schema or a permission that is not there yet) passes once somebody has mended it.
"""

from __future__ import annotations

from typing import Any, Final

import psycopg
from psycopg import errors
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

Connection = psycopg.Connection[dict[str, Any]]

_CONNECT_TIMEOUT_SECONDS: Final = 5
_SERVER_TIMEOUTS: Final = (
    "-c statement_timeout=30s -c lock_timeout=10s -c idle_in_transaction_session_timeout=5s -c timezone=UTC"
)
_OPTIONS: Final[dict[str, Any]] = {
    "autocommit": True,
    "row_factory": dict_row,
    "connect_timeout": _CONNECT_TIMEOUT_SECONDS,
    "options": _SERVER_TIMEOUTS,
    # Notices a peer that vanished without a word: 10 s idle, then three probes.
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
_POOL_CONNECTIONS: Final = 8
_POOL_TIMEOUT_SECONDS: Final = 2.0
#: SQLSTATE classes that are about the data: cardinality, values, constraints, program limits.
_DATA_CLASSES: Final = ("21", "22", "23", "54")


def connect(url: str, *, application: str) -> Connection:
    """A connection in autocommit; transactions are opened explicitly. Raises psycopg.OperationalError."""
    return psycopg.Connection[dict[str, Any]].connect(url, application_name=application, **_OPTIONS)


def pool(url: str, *, application: str) -> AsyncConnectionPool[Any]:
    """A few connections for the event loop, opened when first needed. A call waits for one for 2 s, then raises."""
    return AsyncConnectionPool(
        url,
        min_size=0,
        max_size=_POOL_CONNECTIONS,
        timeout=_POOL_TIMEOUT_SECONDS,
        open=False,
        check=AsyncConnectionPool.check_connection,
        kwargs={**_OPTIONS, "application_name": application},
    )


def is_not_now(error: psycopg.Error) -> bool:
    """Whether the failure is the server's state and not the statement's data."""
    if error.sqlstate is None:
        return not isinstance(error, psycopg.DataError)  # the client's own: a value that can't be sent
    return error.sqlstate[:2] not in _DATA_CLASSES


def is_missing_schema(error: psycopg.Error) -> bool:
    """Whether the database has not been migrated."""
    return isinstance(error, errors.UndefinedTable | errors.UndefinedFunction | errors.UndefinedColumn)
