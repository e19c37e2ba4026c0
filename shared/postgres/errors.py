"""Errors of Postgres, sorted by what follows from them.

- `is_transient(error)`: the same call may succeed later. Only what Postgres says about the values is permanent. All
  else (an unreachable, stopping, read-only or full server, a deadlock, a missing schema or permission) is transient: it
  passes by itself or once an operator has fixed it.
- `ends_session(error)`: the connection is to be given up, since its session is of no use any more.
- UnusableDatabaseError: this database never can be used, whatever is waited for.
"""

from __future__ import annotations

from typing import Final

import psycopg
from psycopg import errors
from psycopg_pool import PoolTimeout

from shared.causes import NotNowError, SentenceError

#: SQLSTATE classes that are about the data: cardinality, values, constraints, program limits.
_DATA_CLASSES: Final = ("21", "22", "23", "54")
#: SQLSTATE prefixes of a session that is lost, or in another state than we left it: connection exceptions, read-only
#: and other invalid transaction states, a server that stops.
_SESSION_CLASSES: Final = ("08", "25", "57P")


#: SQLSTATEs that our own functions raise, and the reason that a dead letter then has.
_OWN_REASONS: Final = {"23TMR": "too_many_removals"}


class AnswerTimeoutError(psycopg.OperationalError):
    """No answer came in time; whether the statement took effect is unknown."""

    def __init__(self) -> None:
        super().__init__("Postgres has not answered for too long; the connection was closed.")


class NoWritesError(errors.ReadOnlySqlTransaction, NotNowError):
    """The server takes no writes now: a standby, which may be behind, or one that was set read-only."""

    def __init__(self) -> None:
        super().__init__("Postgres takes no writes now: it is a standby, or default_transaction_read_only is on.")


class UnusableDatabaseError(psycopg.NotSupportedError, SentenceError):
    """The database can't hold what connectors send, or would lose it; the message is a sentence."""


def is_transient(error: psycopg.Error) -> bool:
    """Return True if the failure is due to the server's state and not to the statement's data."""
    if error.sqlstate is None:
        return not isinstance(error, psycopg.DataError)  # the client's own: a value that can't be sent
    return error.sqlstate[:2] not in _DATA_CLASSES


def reason_of(error: psycopg.Error) -> tuple[str, str]:
    """Return why a submission can't be applied: a short name, and what Postgres says."""
    if reason := _OWN_REASONS.get(error.sqlstate or ""):
        return reason, str(error.diag.message_primary)
    return error.sqlstate or type(error).__name__, str(error)


def version_at_fault(error: psycopg.Error) -> int | None:
    """Return the version of the submission that can't be applied, if our own functions name it."""
    return int(error.diag.message_detail or 0) if error.sqlstate in _OWN_REASONS else None


def ends_session(error: psycopg.Error) -> bool:
    """Return True if the connection on which this happened is to be closed, and another one opened."""
    if error.sqlstate is None:  # psycopg's own: the connection is lost
        return isinstance(error, psycopg.OperationalError) and not isinstance(error, PoolTimeout)
    return error.sqlstate.startswith(_SESSION_CLASSES)


def raise_if_never(error: psycopg.Error) -> None:
    """Raise UnusableDatabaseError if the error says that there can be no transactions."""
    if "statement pooling mode" in str(error):
        raise UnusableDatabaseError(
            "PgBouncer is in statement mode, which allows no transactions: set `pool_mode = transaction`."
        ) from error
