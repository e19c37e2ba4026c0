"""What a command works with, opened when it starts and closed when it ends.

A command that only reads Postgres works while Redis is away.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg
from redis import Redis
from redis.exceptions import RedisError

from operations.cli.faults import CommandError, sentence
from operations.connectors import Connectors
from shared.postgres.connections import Connection, connect_postgres, is_missing_schema
from shared.process.startup import process_settings
from shared.redis.connections import connect_redis

AGAIN = "The change may be half done: run the same command again."


def open_database(url: str | None = None) -> Connection:
    """A connection to Postgres, to be closed by the caller; `url` where the caller has it already."""
    try:
        return connect_postgres(url or str(process_settings().database_url), application="ingestctl")
    except psycopg.ProgrammingError:
        # Its message may quote the address, password and all.
        raise CommandError("The setting DATABASE_URL is not an address that Postgres' client can read.") from None


def open_redis(url: str) -> Redis:
    """A client of Redis, to be closed by the caller; it connects when first used."""
    try:
        return connect_redis(url)
    except ValueError:
        raise CommandError("The setting REDIS_URL is not an address that Redis' client can read.") from None


@contextlib.contextmanager
def changing_connectors(after_a_fault: str = AGAIN) -> Iterator[Connectors]:
    """The connectors, to change one. Both engines answer before anything is touched.

    An engine that fails later may leave a change half done, on the safe side: `after_a_fault` says what to do then.
    """
    settings = process_settings()
    with open_database(str(settings.database_url)) as connection, open_redis(str(settings.redis_url)) as redis:
        _require_answer(redis)
        try:
            yield Connectors(connection, redis)
        except (psycopg.Error, RedisError) as fault:
            if isinstance(fault, psycopg.Error) and is_missing_schema(fault):
                raise
            raise CommandError(f"{sentence(fault)} {after_a_fault}") from fault


def _require_answer(redis: Redis) -> None:
    try:
        redis.ping()
    except RedisError as fault:
        raise CommandError(f"{sentence(fault)} Nothing was changed.") from fault
