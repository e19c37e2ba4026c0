"""Connections to Postgres, with a bound on every wait; each statement runs in a transaction of ours.

The server's own timeouts do not help if its answer never arrives: a balancer or proxy that keeps a connection open and
passes nothing on still answers keepalives. So the client has a timeout of its own for each answer.

Nothing is kept in a session, since a pooler may give each transaction another one: no prepared statement, no setting,
no lock. `transactions.py` says what each transaction begins with. Single statements go with their BEGIN and COMMIT in
one flight, which takes no longer than the statement alone.

Errors are sorted in `errors.py`. A connection whose session is of no use any more closes itself here, so that its owner
opens another one: after a failover, an old connection may lead to a server that takes no writes.
"""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from typing import Any, Final, TypeVar

import psycopg
from psycopg import errors
from psycopg.abc import Buffer, Params, PQGen, QueryNoTemplate
from psycopg.adapt import Loader
from psycopg.pq.abc import PGconn
from psycopg.rows import dict_row
from psycopg.waiting import Ready, Wait

from shared.causes import UNREADABLE_DATABASE_URL
from shared.postgres.errors import (
    AnswerTimeoutError,
    NoWritesError,
    UnusableDatabaseError,
    ends_session,
    raise_if_never,
)
from shared.postgres.queries import sql
from shared.postgres.transactions import LIMITS, Parameters, opening, search_path_of

_CONNECT_TIMEOUT_SECONDS: Final = 5
#: Time to wait for an answer in seconds; longer than `statement_timeout`, until which the server may be at work. (A
#: slice's transaction has its own.)
ANSWER_TIMEOUT_SECONDS: Final = 35.0
#: The same for statements that take milliseconds, if a client or a supervisor waits for them.
SHORT_TIMEOUT_SECONDS: Final = 5.0
#: Interval in seconds at which a wait checks its timeout, and after which it checks for a stall.
POLL_SECONDS: Final = 0.1
_STALL_CHECK_SECONDS: Final = 3.0
#: Of each connection.
OPTIONS: Final[dict[str, Any]] = {
    # Transactions are begun by our own statements.
    "autocommit": True,
    # A pooler may give the next transaction a session that does not have the statement.
    "prepare_threshold": None,
    "row_factory": dict_row,
    "connect_timeout": _CONNECT_TIMEOUT_SECONDS,
    # Here and not only in each transaction: psycopg encodes the first values before the server has answered.
    "client_encoding": "UTF8",
    # Detects a peer that vanished: 10 s idle, then three probes.
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}

Returned = TypeVar("Returned")


class Connection(psycopg.Connection[dict[str, Any]]):
    """A connection that waits for an answer for `answer_timeout` seconds at most; None: forever."""

    answer_timeout: float | None = None
    #: Whether a server that takes no writes is refused for reading too: what it holds may be behind.
    needs_primary = True
    #: What the address or the role asks for.
    parameters: Parameters = ()
    _is_in_transaction = False
    #: Opens another connection to the same server, to find out whether this one is stalled.
    another: Callable[[], Connection]
    #: Called every few seconds of a wait; if it returns True, the connection is closed.
    is_stalled: Callable[[], bool] | None = None

    def execute(  # type: ignore[override] # psycopg's other form takes a template string
        self,
        query: QueryNoTemplate,
        params: Params | None = None,
        *,
        prepare: bool | None = None,
        binary: bool = False,
    ) -> psycopg.Cursor[dict[str, Any]]:
        """Execute a statement, in a transaction of its own unless one is open."""
        if self._is_in_transaction:
            return super().execute(query, params, prepare=prepare, binary=binary)
        with self.one_flight():
            return super().execute(query, params, prepare=prepare, binary=binary)

    @contextlib.contextmanager
    def one_flight(self, limits: Parameters = LIMITS, meanwhile: Callable[[], None] | None = None) -> Iterator[None]:
        """Send a transaction's statements and its COMMIT at once; call `meanwhile` while Postgres works.

        Results can be read after the block. Postgres can finish without us: if COMMIT were sent after the results, a
        process that hangs in between would keep its locks, since within a pipeline Postgres does not count the session
        as idle and never ends it.
        """
        with self._opened():
            with self.pipeline():
                self.execute(sql("begin"))
                begun = self.execute(opening(self.parameters + limits))
                yield
                self.execute(b"COMMIT")
                if meanwhile:
                    self.wait(_sent(self.pgconn))
                    meanwhile()
            self._require_primary(begun)

    @contextlib.contextmanager
    def transaction(  # type: ignore[override] # nothing here needs psycopg's object, and none is nested
        self, *, limits: Parameters = LIMITS
    ) -> Iterator[None]:
        """Open a transaction whose results are read within it."""
        with self._opened():
            begun = self.execute(b"; ".join((sql("begin"), opening(self.parameters + limits))))
            self._require_primary(begun.set_result(-1))
            yield
            self.commit()

    @contextlib.contextmanager
    def _opened(self) -> Iterator[None]:
        """Mark a transaction as open; after an error, roll it back, and close the connection if it is of no use."""
        self._is_in_transaction = True
        try:
            yield
        except BaseException as error:
            with contextlib.suppress(psycopg.Error):  # a lost connection has rolled back by itself
                self.rollback()
            if isinstance(error, psycopg.Error):
                if ends_session(error):
                    self.close()
                raise_if_never(error)
            raise
        finally:
            self._is_in_transaction = False

    def _require_primary(self, begun: psycopg.Cursor[dict[str, Any]]) -> None:
        if self.needs_primary and begun.fetchall()[0]["read_only"]:
            raise NoWritesError

    def meet_server(self) -> None:
        """Check the encoding, and read which `search_path` our transactions must have. Raises UnusableDatabaseError."""
        meet(self)
        # It relies on nothing, so it needs no transaction.
        default = super().execute(sql("select_search_path")).fetchall()
        self.parameters = search_path_of(self.info.options, default[0]["search_path"])

    def is_lost(self) -> bool:
        """Return True if the session has ended, also if it did so while it was idle."""
        # Nothing is owed to an idle session, so what can be read is the server's farewell, or the end.
        return self.closed or bool(select.select([self.pgconn.socket], [], [], 0)[0])

    def wait(self, gen: PQGen[Returned], interval: float = POLL_SECONDS, timeout: float | None = None) -> Returned:
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


def connect_postgres(
    url: str, *, application: str, answer_timeout: float | None = None, needs_primary: bool = True
) -> Connection:
    """Return a connection. Raises psycopg.OperationalError, or UnusableDatabaseError if the database never can be used.

    `answer_timeout`: maximum time to wait for an answer, in seconds; None for commands that an operator can interrupt.
    `needs_primary`: refuse a server that takes no writes for reading too.
    """
    try:
        connection = Connection.connect(url, application_name=application, **OPTIONS)
    except psycopg.ProgrammingError:
        # psycopg's message may quote the address with its password.
        raise UnusableDatabaseError(UNREADABLE_DATABASE_URL) from None
    connection.answer_timeout = answer_timeout
    connection.needs_primary = needs_primary
    try:
        connection.meet_server()
    except psycopg.Error:
        connection.close()
        raise
    connection.another = partial(
        connect_postgres, url, application=f"{application}, stall check", answer_timeout=SHORT_TIMEOUT_SECONDS
    )
    return connection


class _IsoLoader(Loader):
    """Reads a time as our transactions write it; psycopg goes by the session, which has its own style again."""

    def load(self, data: Buffer) -> datetime:
        return datetime.fromisoformat(bytes(data).decode())


def meet(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    """Prepare a new connection. Raises UnusableDatabaseError."""
    connection.adapters.register_loader("timestamptz", _IsoLoader)
    encoding = connection.info.parameter_status("server_encoding")
    if encoding not in (None, "UTF8"):
        raise UnusableDatabaseError(
            f"The database {connection.info.dbname} is encoded in {encoding}, which can't hold what connectors send: "
            "create one with ENCODING 'UTF8' TEMPLATE template0."
        )


def _sent(pgconn: PGconn) -> PQGen[None]:
    """Wait until the kernel has all of it: psycopg tries once, and keeps the rest until its next call."""
    while pgconn.flush():
        if (yield Wait.RW) & Ready.R:
            pgconn.consume_input()
