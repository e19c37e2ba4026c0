"""Connections to Postgres, with a bound on every wait.

The server's own timeouts do not help if its answer never arrives: a balancer or proxy that keeps a connection open and
passes nothing on still answers keepalives. So the client has a timeout of its own for each answer.

Errors of psycopg are sorted here: `is_transient(error)` says whether the same call may succeed later. Only what
Postgres says about the values is permanent. All else (an unreachable, stopping, read-only or full server, a deadlock, a
missing schema or permission) is transient: it passes by itself or once an operator has fixed it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

import psycopg
from psycopg import errors
from psycopg.abc import PQGen
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

_CONNECT_TIMEOUT_SECONDS: Final = 5
#: Time to wait for an answer in seconds; longer than `statement_timeout`, until which the server may be at work. (A
#: slice's transaction has its own.)
ANSWER_TIMEOUT_SECONDS: Final = 35.0
#: The same for statements that take milliseconds, if a client or a supervisor waits for them.
SHORT_TIMEOUT_SECONDS: Final = 5.0
#: Interval in seconds at which a wait checks its timeout, and after which it checks for a stall.
_POLL_SECONDS: Final = 0.1
_STALL_CHECK_SECONDS: Final = 3.0
_SERVER_TIMEOUTS: Final = (
    "-c statement_timeout=30s -c lock_timeout=10s -c idle_in_transaction_session_timeout=5s -c timezone=UTC"
)
_OPTIONS: Final[dict[str, Any]] = {
    "autocommit": True,
    "row_factory": dict_row,
    "connect_timeout": _CONNECT_TIMEOUT_SECONDS,
    "options": _SERVER_TIMEOUTS,
    # Detects a peer that vanished: 10 s idle, then three probes.
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
_POOL_TIMEOUT_SECONDS: Final = 2.0
#: SQLSTATE classes that are about the data: cardinality, values, constraints, program limits.
_DATA_CLASSES: Final = ("21", "22", "23", "54")
#: What Postgres and PgBouncer answer if they have no connection left.
_OUT_OF_CONNECTIONS: Final = re.compile(r"too many (clients|connections)|connection slots|no more connections")

Returned = TypeVar("Returned")


class AnswerTimeoutError(psycopg.OperationalError):
    """No answer came in time; whether the statement took effect is unknown."""

    def __init__(self) -> None:
        super().__init__("Postgres has not answered for too long; the connection was closed.")


class Connection(psycopg.Connection[dict[str, Any]]):
    """A connection that waits for an answer for `answer_timeout` seconds at most; None: forever."""

    answer_timeout: float | None = None
    #: Opens another connection to the same server, to find out whether this one is stalled.
    another: Callable[[], Connection]
    #: Called every few seconds of a wait; if it returns True, the connection is closed.
    is_stalled: Callable[[], bool] | None = None

    def wait(self, gen: PQGen[Returned], interval: float = _POLL_SECONDS, timeout: float | None = None) -> Returned:
        """Wait for the server; psycopg calls this for every answer."""
        if timeout is not None or self.answer_timeout is None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(self._checked(gen) if self.is_stalled else gen, interval, self.answer_timeout)
        except errors._WaitTimeout as error:  # noqa: SLF001 - it has no public name, and psycopg asks to convert it
            self.close()
            raise AnswerTimeoutError from error

    def _checked(self, gen: PQGen[Returned]) -> PQGen[Returned]:
        """Pass on the steps of `gen`, and check for a stall whenever no answer has come for some seconds."""
        check_at = time.monotonic() + _STALL_CHECK_SECONDS
        try:
            step = next(gen)
            while True:
                ready = yield step
                if not ready and self.is_stalled and time.monotonic() > check_at:
                    if self.is_stalled():
                        self.close()
                        raise AnswerTimeoutError
                    check_at = time.monotonic() + _STALL_CHECK_SECONDS
                step = gen.send(ready)
        except StopIteration as end:
            returned: Returned = end.value
            return returned


class _AsyncConnection(psycopg.AsyncConnection[dict[str, Any]]):
    """The same for the event loop, always with the short timeout."""

    async def wait(
        self,
        gen: PQGen[Returned],
        interval: float = _POLL_SECONDS,
        timeout: float | None = None,  # noqa: ASYNC109 - psycopg's own signature
    ) -> Returned:
        """Wait for the server; psycopg calls this for every answer."""
        if timeout is not None:
            return await super().wait(gen, interval, timeout)
        try:
            return await super().wait(gen, interval, SHORT_TIMEOUT_SECONDS)
        except errors._WaitTimeout as error:  # noqa: SLF001 - see above
            await self.close()
            raise AnswerTimeoutError from error


def connect_postgres(url: str, *, application: str, answer_timeout: float | None = None) -> Connection:
    """Return a connection in autocommit; transactions are opened explicitly. Raises psycopg.OperationalError.

    `answer_timeout`: maximum time to wait for an answer, in seconds; None for commands that an operator can interrupt.
    """
    connection = Connection.connect(url, application_name=application, **_OPTIONS)
    connection.answer_timeout = answer_timeout
    connection.another = partial(
        connect_postgres, url, application=f"{application}, stall check", answer_timeout=SHORT_TIMEOUT_SECONDS
    )
    return connection


def postgres_pool(url: str, *, application: str, connections: int) -> AsyncConnectionPool[Any]:
    """Return a pool for the event loop. It connects when first used; a call that finds no connection in 2 s raises."""
    return AsyncConnectionPool(
        url,
        connection_class=_AsyncConnection,
        min_size=0,
        max_size=connections,
        timeout=_POOL_TIMEOUT_SECONDS,
        # After this the next call tries again; without it, the pool's own backoff would grow to minutes.
        reconnect_timeout=_POOL_TIMEOUT_SECONDS,
        open=False,
        check=AsyncConnectionPool.check_connection,
        kwargs={**_OPTIONS, "application_name": application},
    )


def is_transient(error: psycopg.Error) -> bool:
    """Return True if the failure is due to the server's state and not to the statement's data."""
    if error.sqlstate is None:
        return not isinstance(error, psycopg.DataError)  # the client's own: a value that can't be sent
    return error.sqlstate[:2] not in _DATA_CLASSES


def is_out_of_connections(error: psycopg.Error) -> bool:
    """Return True if the server runs and gives no more connections. A refused connection tells that in words only."""
    return isinstance(error, errors.TooManyConnections) or _OUT_OF_CONNECTIONS.search(str(error)) is not None


def is_missing_schema(error: psycopg.Error) -> bool:
    """Return True if the database has not been migrated."""
    return isinstance(error, errors.UndefinedTable | errors.UndefinedFunction | errors.UndefinedColumn)
