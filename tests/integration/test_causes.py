"""Causes in words, from the errors that real engines give."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import psycopg
import pytest
from redis import Redis
from redis.exceptions import RedisError

from shared.causes import cause_of, detail_of, is_expected
from shared.postgres.connections import connect_postgres
from shared.postgres.queries import sql
from shared.redis.connections import connect_redis

SECRET = "hunter2"


def cause(action: Callable[[], object]) -> str:
    """Return the cause of the error that `action` raises, which must be expected and tell no secret."""
    with pytest.raises((psycopg.Error, RedisError)) as raised:
        action()
    assert is_expected(raised.value)
    assert SECRET not in cause_of(raised.value) + detail_of(raised.value)
    return cause_of(raised.value)


@pytest.fixture
def user(redis: Redis) -> Iterator[str]:
    """A user of Redis who may read only; its password is SECRET."""
    redis.acl_setuser("reader", enabled=True, passwords=[f"+{SECRET}"], categories=["+@read"], keys=["*"])
    yield "reader"
    redis.acl_deluser("reader")


def test_redis(redis: Redis, user: str) -> None:
    path = redis.connection_pool.connection_kwargs["path"]

    def asks(url: str) -> Callable[[], object]:
        return lambda: connect_redis(url).set("key", "value")

    assert "refuses the user or the password" in cause(asks(f"unix://{user}:wrong-{SECRET}@{path}"))
    assert "has no permission to run the 'set' command" in cause(asks(f"unix://{user}:{SECRET}@{path}"))
    assert "no database of the number" in cause(asks(f"unix://{path}?db=9999"))
    assert "nothing listens" in cause(asks(f"unix://{path}.none"))
    assert "nothing listens" in cause(asks("redis://127.0.0.1:1"))
    assert "host name is unknown" in cause(asks("redis://no-such-host.invalid"))


def test_postgres(database_url: str) -> None:
    def asks(url: str, query: str = "count_lanes") -> Callable[[], object]:
        def ask() -> None:
            with connect_postgres(url, application="test") as connection:
                connection.execute(sql(query))

        return ask

    name = urlsplit(database_url).path
    with connect_postgres(database_url, application="test") as connection:
        connection.execute("DROP ROLE IF EXISTS nobody_in_particular")
        connection.execute("CREATE ROLE nobody_in_particular LOGIN")
    user = urlsplit(database_url).username or ""
    other = database_url.replace(f"//{user}", "//nobody_in_particular", 1)
    try:
        assert "permission denied for table lanes" in cause(asks(other))
    finally:
        with connect_postgres(database_url, application="test") as connection:
            connection.execute("DROP ROLE nobody_in_particular")
    assert "no database of the name" in cause(asks(database_url.replace(name, "/no_such_database")))
    assert "refuses the user" in cause(asks(database_url.replace(f"//{user}", "//no_such_role", 1)))
    assert "`ingestctl migrate`" in cause(asks(database_url.replace(name, "/template1")))
    assert "nothing listens" in cause(asks(f"postgresql://u:{SECRET}@127.0.0.1:1/d"))
    assert "not an address" in cause(asks(f"postgresql://u:{SECRET}@h/d?no_such=option"))
