"""What a command works with: opened when it starts, closed when it ends.

A command that reads only Postgres works while Redis is unavailable.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import psycopg
from redis import Redis
from redis.exceptions import RedisError

from operations.cli.errors import CommandError, sentence
from operations.cli.output import print_note
from operations.connectors import Connectors
from operations.hooks import Hooks
from operations.readable import readable_seconds
from shared.causes import is_missing_schema
from shared.hooks.sealing import Keyring
from shared.postgres.connections import Connection, connect_postgres
from shared.postgres.queries import sql
from shared.postgres.transactions import NO_LIMITS
from shared.process.startup import process_settings
from shared.redis.connections import connect_redis
from shared.redis.numbers import copied_lanes
from shared.redis.primaries import require_answer
from shared.redis.signs_of_life import read_signs, with_signs

RUN_AGAIN = "The change may be half done: run the same command again."


def open_database(url: str | None = None, *, needs_primary: bool = False) -> Connection:
    """Return a connection to Postgres, which the caller closes; without `url`, to that of the settings.

    `needs_primary`: refuse a standby; commands that only read may use one.
    """
    address = url or str(process_settings().database_url)
    return connect_postgres(address, application="ingestctl", needs_primary=needs_primary)


def add_signs_of_life(rows: Iterable[dict[str, Any]]) -> None:
    """Complete rows of `select_connectors` by what Redis knows; while it is away, by what Postgres knows."""
    settings, signs = process_settings(), {}
    with contextlib.suppress(RedisError), connect_redis(settings.redis_url) as redis:
        signs = read_signs(redis, copied_lanes(redis))
    with_signs(rows, signs, settings.quiet_after_seconds)


@contextlib.contextmanager
def reading_database() -> Iterator[Connection]:
    """Yield a connection for what may be some moments old: to a standby, if the settings name one.

    Its age is told on stderr. What must not lag, such as the outcome of a request, is read with `open_database`.
    """
    settings = process_settings()
    with open_database(settings.read_database_url or settings.database_url) as connection:
        age = connection.execute(sql("select_age")).fetchall()[0]
        if age["is_standby"]:
            behind = "an unknown time" if age["seconds"] is None else readable_seconds(age["seconds"])
            print_note(f"From a standby, which is behind by {behind} at most.")
        yield connection


@contextlib.contextmanager
def stream_rows(connection: Connection, query: str, values: Mapping[str, Any]) -> Iterator[Iterator[dict[str, Any]]]:
    """Yield the rows of a query as they arrive, one in memory at a time; a row may be 30 MB.

    The stream is closed when the block ends, whatever ends it: an open one holds the connection's lock and its query.
    """
    with connection.transaction(limits=NO_LIMITS), connection.cursor() as cursor:
        rows: Any = cursor.stream(sql(query), values)
        with contextlib.closing(rows):
            yield rows


@contextlib.contextmanager
def changing_connectors(after_an_error: str = RUN_AGAIN) -> Iterator[Connectors]:
    """Yield the connectors, to change one. Both engines must answer before anything is changed.

    An engine that fails later may leave a change half done, on the safe side: `after_an_error` tells the operator what
    to do then.
    """
    settings = process_settings()
    with open_database(settings.database_url) as connection, connect_redis(settings.redis_url) as redis:
        _require_answer(redis)
        try:
            yield Connectors(connection, redis)
        except (psycopg.Error, RedisError) as error:
            if isinstance(error, psycopg.Error) and is_missing_schema(error):
                raise
            raise CommandError(f"{sentence(error)} {after_an_error}") from error


@contextlib.contextmanager
def changing_hooks(after_an_error: str = RUN_AGAIN, *, needs_key: bool = True) -> Iterator[Hooks]:
    """Yield the hooks, to change one, as `changing_connectors` does."""
    keyring = Keyring(process_settings().secrets_key)
    if needs_key and not keyring:
        raise CommandError(
            "Hooks are off: set SECRETS_KEY to 32 random bytes in base64 (`openssl rand -base64 32`), the same here "
            "and for every API process."
        )
    with changing_connectors(after_an_error) as connectors:
        yield Hooks(connectors, keyring)


def _require_answer(redis: Redis) -> None:
    try:
        require_answer(redis)
    except RedisError as error:
        raise CommandError(f"{sentence(error)} Nothing was changed.") from error
