"""Say in words why an engine can't be used.

A driver's own message names addresses and users, and now and then quotes a password. A cause names neither, so it can
be shown to every client; `detail_of` adds what operators need, for the log.
"""

from __future__ import annotations

import re
from typing import Final

import psycopg
from psycopg import errors
from redis import exceptions

NOT_MIGRATED: Final = "The database is not migrated: run `ingestctl migrate`."
UNREADABLE_DATABASE_URL: Final = "The setting DATABASE_URL is not an address that Postgres' client can read."
#: What Postgres and PgBouncer answer if they have no connection left.
_OUT_OF_CONNECTIONS: Final = r"53300|too many (?:clients|connections)|connection slots|no more connections"
#: What errors of Redis' client say, and what that means; the first that matches counts.
_REDIS: Final = (
    (
        r"certificate verify failed: (.+?)(?: \(_ssl|$)",
        r"its certificate is not trusted (\1): set REDIS_TLS_CA_FILE, or REDIS_TLS_VERIFY=false",
    ),
    (r"WRONG_VERSION_NUMBER|record layer failure", "it does not speak TLS there: use redis://, or its port for TLS"),
    (r"Authentication required|NOAUTH", "it asks for a password: name it in REDIS_URL"),
    (r"without any password configured", "it has no password: remove that in REDIS_URL"),
    (r"AuthenticationError|WRONGPASS|invalid password", "it refuses the user or the password in REDIS_URL"),
    (r"no permissions? (to .+)", r"the user in REDIS_URL has no permission \1"),
    (r"DB index is out of range", "it has no database of the number in REDIS_URL"),
    (r"BusyLoadingError|LOADING", "it is still reading its append-only file"),
    (
        r"MasterNotFoundError",
        "no sentinel names a primary that is up: check the sentinels and the service in REDIS_URL",
    ),
    (
        r"NotHereError",
        "another node of its cluster has these keys now, or the cluster is changing (its address is redis+cluster://…)",
    ),
    (r"NodeAwayError", "a node of the cluster did not answer in time"),
    (r"NOREPLICAS", "it has fewer replicas than `min-replicas-to-write` demands"),
    (r"ReadOnlyError|READONLY", "it is a replica, which takes no writes"),
    (r"OutOfMemoryError|OOM ", "it is full: give it more memory"),
    (r"MISCONF", "it can't write to its disk"),
    (r"max number of clients", "it has no connections left"),
    (r"InvalidResponse", "what answers at its address is no Redis"),
    (r"TimeoutError|Timeout ", "it does not answer"),
    (r"No connection available|MaxConnectionsError", "all connections to it are busy"),
)
#: The same for Postgres' client.
_POSTGRES: Final = (
    (
        r"certificate verify failed|root certificate file",
        "its certificate is not trusted: set sslrootcert or sslmode in DATABASE_URL",
    ),
    (r"server does not support SSL", "it does not speak TLS: correct sslmode in DATABASE_URL"),
    (r"no password supplied", "it asks for a password: name it in DATABASE_URL"),
    (
        r"28P01|28000|authentication failed|role \".*\" does not exist",
        "it refuses the user or the password in DATABASE_URL",
    ),
    (r"no pg_hba.conf entry", "its pg_hba.conf admits no such user, database or address"),
    (r"3D000|database \".*\" does not exist", "it has no database of the name in DATABASE_URL"),
    (r"(permission denied.*)", r"the role in DATABASE_URL lacks a right (\1)"),
    (_OUT_OF_CONNECTIONS, "it has no connections left"),
    (r"57P0[123]|(starting up|shutting down|not yet accepting connections)", "it is starting or stopping"),
    (r"25006|read-only", "it takes no writes now"),
    (r"53100", "its disk is full"),
    (r"PoolTimeout", "no connection to it came free in time"),
    (r"57014", "a statement took too long"),
    (r"AnswerTimeoutError|timeout expired|ConnectionTimeout", "it does not answer"),
)
#: The same for both.
_NETWORK: Final = (
    (
        r"Name or service not known|name resolution|translate host|resolve host|nodename|No address|idna",
        "its host name is unknown",
    ),
    (r"Connection refused|No such file", "nothing listens at its address"),
    (r"closed|reset by peer|Broken pipe|connection is lost|AdminShutdown|terminat", "it has ended the connection"),
)
#: How a driver's message begins with an address, and where credentials stand in one.
_ADDRESS: Final = re.compile(r"^.*connection to server (at|on) .* failed: |^Error -?\d+ \w+ \w+ \S+\. ")
_CREDENTIALS: Final = re.compile(r"(?<=://)[^\s/]*@")

_EXPECTED_OF_REDIS: Final = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.OutOfMemoryError,
    exceptions.ReadOnlyError,
    exceptions.NoPermissionError,
    exceptions.InvalidResponse,
)


class SentenceError(Exception):
    """An error whose message is the sentence to show."""


class NotNowError(SentenceError):
    """Something that this process needs is missing at the moment."""


def is_expected(error: BaseException) -> bool:
    """Return True if an engine, its settings or the network explain an error, so that it needs no traceback."""
    if isinstance(error, psycopg.Error):
        if error.sqlstate is None:
            return not isinstance(error, psycopg.DataError)
        # Connections, rights and schema, resources, an operator, the system.
        is_of_engine = error.sqlstate[:2] in ("08", "25", "28", "3D", "53", "55", "57", "58")
        return is_of_engine or is_missing_schema(error) or isinstance(error, errors.InsufficientPrivilege)
    if isinstance(error, exceptions.ResponseError) and re.match(r"NOREPLICAS|MISCONF|DB index|[A-Z]+DOWN", str(error)):
        return True
    return isinstance(error, (*_EXPECTED_OF_REDIS, NotNowError, OSError))


def cause_of(error: BaseException) -> str:
    """Return a sentence that says why an engine can't be used; it names no address, user or password."""
    if isinstance(error, SentenceError):
        return str(error)
    if isinstance(error, psycopg.Error):
        if is_missing_schema(error):
            return NOT_MIGRATED
        if _quotes_the_address(error):
            return UNREADABLE_DATABASE_URL
        return f"Postgres can't be used now: {_meaning(error, _POSTGRES)}."
    if isinstance(error, exceptions.RedisError):
        return f"Redis can't be used now: {_meaning(error, _REDIS)}."
    return f"{type(error).__name__}: {_first_line(error)}."


def detail_of(error: BaseException) -> str:
    """Return the driver's own message, for the log: it names addresses and users, but no password."""
    return type(error).__name__ if _quotes_the_address(error) else _first_line(error)


def is_missing_schema(error: psycopg.Error) -> bool:
    """Return True if the database has not been migrated."""
    return isinstance(error, errors.UndefinedTable | errors.UndefinedFunction | errors.UndefinedColumn)


def is_out_of_connections(error: psycopg.Error) -> bool:
    """Return True if the server runs and gives no more connections. A refused connection tells that in words only."""
    return re.search(_OUT_OF_CONNECTIONS, f"{error.sqlstate} {error}") is not None


def _quotes_the_address(error: BaseException) -> bool:
    """Return True for an address that can't be parsed: the message quotes parts of it, the password maybe."""
    return isinstance(error, psycopg.ProgrammingError) and error.sqlstate is None


def _meaning(error: Exception, meanings: tuple[tuple[str, str], ...]) -> str:
    text = f"{type(error).__name__} {getattr(error, 'sqlstate', None) or ''} {error}"
    for pattern, meaning in (*meanings, *_NETWORK):
        if found := re.search(pattern, text, re.IGNORECASE):
            return found.expand(meaning).rstrip(".")
    return _ADDRESS.sub("", _first_line(error))


def _first_line(error: BaseException) -> str:
    line = str(error).strip().partition("\n")[0].rstrip(" .")
    return _CREDENTIALS.sub("…@", line) or type(error).__name__
