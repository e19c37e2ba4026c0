"""Connections to Postgres, with a bound on everything that can wait.

The server's own timeouts don't help where its answer never arrives: behind a balancer or a proxy that keeps a
connection open and passes nothing on, keepalives are answered by the one that is in the way. So the client has a bound
of its own, its patience: whoever waits longer for an answer gives the connection up.

Errors of psycopg are sorted once, here: `is_not_now(error)` says whether the same call may pass later. Only what
Postgres says of the values themselves is about the data; everything else (the server away, stopping, read-only, full, a
deadlock's victim, a schema or a permission that is not there yet) passes once somebody has mended it.
"""

from __future__ import annotations

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
#: Longer than a statement may take: until then the server may still be at work. (A slice's transaction has its own.)
STATEMENT_PATIENCE_SECONDS: Final = 35.0
#: For what takes milliseconds, where somebody waits for it.
SHORT_PATIENCE_SECONDS: Final = 5.0
#: Interval at which a wait looks at its clock, and at which it asks whether the connection is stalled, in seconds.
_LOOK_SECONDS: Final = 0.1
_CHECK_SECONDS: Final = 3.0
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

Returned = TypeVar("Returned")


class SilentServerError(psycopg.OperationalError):
    """No answer came for longer than one may take; what became of the statement is unknown."""

    def __init__(self) -> None:
        super().__init__("Postgres has not answered for too long; the connection was given up.")


class Connection(psycopg.Connection[dict[str, Any]]):
    """A connection that waits for an answer no longer than its patience; None: for ever."""

    patience: float | None = None
    #: Opens another connection to the same server, to look at what this one is waiting for.
    another: Callable[[], Connection]
    #: Called every few seconds of a wait; the connection is closed if it returns True.
    is_stalled: Callable[[], bool] | None = None

    def wait(self, gen: PQGen[Returned], interval: float = _LOOK_SECONDS, timeout: float | None = None) -> Returned:
        """All that psycopg waits for comes through here."""
        if timeout is not None or self.patience is None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(self._checked(gen) if self.is_stalled else gen, interval, self.patience)
        except errors._WaitTimeout as silence:  # noqa: SLF001 - it has no public name, and is to be converted, it says
            self.close()
            raise SilentServerError from silence

    def _checked(self, gen: PQGen[Returned]) -> PQGen[Returned]:
        """Run the same steps; while nothing arrives, call `is_stalled` every few seconds."""
        check_at = time.monotonic() + _CHECK_SECONDS
        try:
            step = next(gen)
            while True:
                ready = yield step
                if not ready and self.is_stalled and time.monotonic() > check_at:
                    if self.is_stalled():
                        self.close()
                        raise SilentServerError
                    check_at = time.monotonic() + _CHECK_SECONDS
                step = gen.send(ready)
        except StopIteration as end:
            returned: Returned = end.value
            return returned


class _AsyncConnection(psycopg.AsyncConnection[dict[str, Any]]):
    """The same for the event loop, where somebody waits for the answer."""

    async def wait(
        self,
        gen: PQGen[Returned],
        interval: float = _LOOK_SECONDS,
        timeout: float | None = None,  # noqa: ASYNC109 - psycopg's own signature
    ) -> Returned:
        """All that psycopg waits for comes through here."""
        if timeout is not None:
            return await super().wait(gen, interval, timeout)
        try:
            return await super().wait(gen, interval, SHORT_PATIENCE_SECONDS)
        except errors._WaitTimeout as silence:  # noqa: SLF001 - see above
            await self.close()
            raise SilentServerError from silence


def connect_postgres(url: str, *, application: str, patience: float | None = None) -> Connection:
    """A connection in autocommit; transactions are opened explicitly. Raises psycopg.OperationalError.

    `patience`: seconds to wait for an answer at most; None where somebody sits before it and can interrupt.
    """
    connection = Connection.connect(url, application_name=application, **_OPTIONS)
    connection.patience = patience
    connection.another = partial(
        connect_postgres, url, application=f"{application}, checking", patience=SHORT_PATIENCE_SECONDS
    )
    return connection


def postgres_pool(url: str, *, application: str) -> AsyncConnectionPool[Any]:
    """A few connections for the event loop, opened when first needed. A call waits for one for 2 s, then raises."""
    return AsyncConnectionPool(
        url,
        connection_class=_AsyncConnection,
        min_size=0,
        max_size=_POOL_CONNECTIONS,
        timeout=_POOL_TIMEOUT_SECONDS,
        # Then the next call tries anew: its own backoff would double up to minutes.
        reconnect_timeout=_POOL_TIMEOUT_SECONDS,
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
