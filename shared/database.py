"""Connections to Postgres, with a bound on everything that can wait.

Errors of psycopg are sorted once, here: `is_not_now(error)` says whether the same call may pass later (the server is
away, stopping, read-only, full, or chose us as a deadlock's victim); everything else is about the data.
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
#: SQLSTATE classes of "not now": connection, transaction rollback (deadlock, serialisation), resources (disk full,
#: memory, connections), operator intervention (shutdown, cancelled), system error; and lock_timeout's own.
_NOT_NOW_CLASSES: Final = ("08", "40", "53", "57", "58")
_NOT_NOW_STATES: Final = ("55P03", "25006", "25P03", "25P04")


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
    state = error.sqlstate
    if state is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return state[:2] in _NOT_NOW_CLASSES or state in _NOT_NOW_STATES


def is_missing_schema(error: psycopg.Error) -> bool:
    """Whether the database has not been migrated."""
    return isinstance(error, errors.UndefinedTable | errors.UndefinedFunction | errors.UndefinedColumn)
