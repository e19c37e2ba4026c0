"""Whatever a role, a database, the environment or a pooler sets for sessions, the core does the same.

Each case is a database of its own, from the first migration on. The settings are those that change what is stored, what
is read back, what is durable, what is locked and how long is waited.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import errors
from redis import Redis

from shared.entry import Meta
from shared.postgres.connections import Connection, connect_postgres
from shared.postgres.pool import postgres_pool
from shared.postgres.queries import sql
from shared.postgres.transactions import LIMITS
from shared.process.setting_values import SecretUrl
from shared.process.settings import Settings
from shared.process.startup import exit_if_postgres_is_unusable
from shared.request_id import position_of_entry
from tests.integration.conftest import temporary_database
from tests.integration.ingestctl_tools import RFC3339, Ingestctl, bare_environ
from tests.integration.lane_tools import Lane
from tests.support.pooler import SwappingPooler, pgbouncer

#: Parameters and the worst value that anybody who may use the database can set.
HOSTILE = {
    "client_encoding": "LATIN1",
    "DateStyle": "German",
    "IntervalStyle": "sql_standard",
    "TimeZone": "Asia/Kathmandu",
    "synchronous_commit": "off",
    "standard_conforming_strings": "off",
    "backslash_quote": "off",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "xmloption": "document",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "row_security": "off",
    "statement_timeout": "1s",
    "lock_timeout": "1",
    "idle_in_transaction_session_timeout": "1",
    "transaction_timeout": "1s",
    "enable_nestloop": "off",
    "enable_indexscan": "off",
    "enable_bitmapscan": "off",
    "enable_partition_pruning": "off",
    "plan_cache_mode": "force_generic_plan",
    "jit_above_cost": "0",
    "work_mem": "64",
    "quote_all_identifiers": "on",
    "check_function_bodies": "off",
    "client_min_messages": "debug1",
    "exit_on_error": "on",
    "debug_parallel_query": "on",
}
_TEXT = "Zoë 日本 🙂 \\' \""
_RATE = 0.1234567890123456


#: The same from a connection's start, by libpq's own variables.
_VARIABLES = {"PGCLIENTENCODING": "LATIN1", "PGDATESTYLE": "German", "PGTZ": "Asia/Kathmandu"}
_TEXT = "Zoë 日本 \\' \""
_RATE = 0.1234567890123456


def _of_database(url: str, _folder: Path) -> AbstractContextManager[str]:
    _set_for(f"DATABASE {_name(url)}", url)
    return nullcontext(url)


def _of_role(url: str, _folder: Path) -> AbstractContextManager[str]:
    _set_for(f"ROLE ingest IN DATABASE {_name(url)}", url)
    return nullcontext(url)


def _of_environment(url: str, _folder: Path) -> AbstractContextManager[str]:
    return nullcontext(url)


@contextmanager
def _leaked_in_pgbouncer(url: str, folder: Path) -> Iterator[str]:
    """All clients share one session, in which one of them has set everything, without `options` to undo it."""
    with pgbouncer(url, folder / "pgbouncer") as pooled:
        _leak(pooled)
        yield pooled


@contextmanager
def _swapped_by_a_pooler(url: str, _folder: Path) -> Iterator[str]:
    """The next transaction has another session, with whatever the database sets."""
    _set_for(f"DATABASE {_name(url)}", url)
    with SwappingPooler(url) as pooler:
        yield pooler.url


def _leak(url: str) -> None:
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as other:
        for name, value in {**HOSTILE, "search_path": "nowhere"}.items():
            other.execute(f"SET {name} = '{value}'".encode())


def _set_for(what: str, url: str) -> None:
    with psycopg.connect(url, autocommit=True) as owner:
        for name, value in HOSTILE.items():
            owner.execute(f"ALTER {what} SET {name} = '{value}'".encode())


def _name(url: str) -> str:
    return urlsplit(url).path[1:]


@pytest.mark.parametrize(
    "hostile", [_of_database, _of_role, _of_environment, _leaked_in_pgbouncer, _swapped_by_a_pooler]
)
def test_core_does_the_same_whatever_sessions_are_set_to(
    hostile: Callable[[str, Path], AbstractContextManager[str]],
    empty_database_url: str,
    redis_flushed_url: str,
    redis: Redis,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if hostile is _of_environment:
        options = {"PGOPTIONS": " ".join(f"-c {name}={value}" for name, value in HOSTILE.items())}
        for name, value in {**_VARIABLES, **options}.items():
            monkeypatch.setenv(name, value)
    with hostile(empty_database_url, tmp_path) as url:
        ingestctl = Ingestctl({**bare_environ(), "DATABASE_URL": url, "REDIS_URL": redis_flushed_url})
        ingestctl.says("migrate", "--lanes", "4")
        with Lane.of_new_connector(redis, url, _TEXT, rate=_RATE) as lane:
            applied = _submit(lane)
            _check_reading(lane, url, ingestctl, applied)


def _submit(lane: Lane) -> str:
    """Submit items, a log entry and what can't be applied; return the entry of the items."""
    applied = lane.append({"id": "a", "name": _TEXT, "fields": {"t": _TEXT, "n": 1.10}}, {"id": "b", "name": None})
    entries = {"stream": "s", "entries": [{"level": "info", "message": _TEXT}]}
    lane.append(raw=json.dumps(entries).encode(), meta=Meta("log"))
    lane.append(raw=b"{")
    lane.drain_once()
    lane.assert_empty()
    return applied


def _check_reading(lane: Lane, url: str, ingestctl: Ingestctl, applied: str) -> None:
    connector = str(lane.connector_id)
    first, second = ingestctl.json("items", connector, "agents")["items"]
    assert (first["name"], first["fields"]["t"], second["name"]) == (_TEXT, _TEXT, None)
    assert RFC3339.fullmatch(first["updatedAt"])
    (entry,) = ingestctl.json("logs", connector)["entries"]
    assert entry["message"] == _TEXT
    (letter,) = ingestctl.json("dead", "list")["deadLetters"]
    assert ingestctl.json("dead", "show", letter["requestId"])["body"] == "{"
    (shown,) = ingestctl.json("connector", "list")["connectors"]
    assert (shown["name"], shown["rate"]) == (_TEXT, _RATE)
    assert ingestctl.json("status")["postgres"]["available"] is True
    version = position_of_entry(lane.number, applied).version
    (outcome,) = _fetch(url, "select_outcome", connector_id=lane.connector_id, lane=lane.number, version=version)
    assert (outcome["state"], outcome["received"]) == ("applied", 2)
    assert outcome["ended_at"].tzinfo is not None


def _fetch(url: str, query: str, **values: Any) -> list[dict[str, Any]]:
    """Fetch as the API does."""

    async def fetch() -> list[dict[str, Any]]:
        async with postgres_pool(url, application="test", connections=8) as pool:
            return await pool.fetch(sql(query), values)

    return asyncio.run(fetch())


@pytest.mark.parametrize(
    ("default", "used"),
    [("off", "on"), ("local", "on"), ("remote_write", "on"), ("on", "on"), ("remote_apply", "remote_apply")],
)
def test_commits_are_at_least_on_disk(database_url: str, default: str, used: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute(f"ALTER DATABASE {_name(database_url)} SET synchronous_commit = {default}".encode())
    with connect_postgres(database_url, application="test") as connection:
        assert _setting(connection, "synchronous_commit") == used


@pytest.mark.parametrize("hostile", [_of_database, _leaked_in_pgbouncer, _swapped_by_a_pooler])
def test_timeouts_bite(
    hostile: Callable[[str, Path], AbstractContextManager[str]], database_url: str, tmp_path: Path
) -> None:
    with (
        hostile(database_url, tmp_path) as url,
        connect_postgres(url, application="test", answer_timeout=60) as connection,
        psycopg.connect(database_url, options="-c idle_in_transaction_session_timeout=0") as other,
    ):
        assert [_setting(connection, name) for name, _ in LIMITS] == [value for _, value in LIMITS]
        other.execute("LOCK TABLE connectors")
        with pytest.raises(errors.LockNotAvailable), connection.one_flight((*LIMITS, ("lock_timeout", "50ms"))):
            connection.execute("SELECT FROM connectors")
        with (
            pytest.raises(errors.QueryCanceled),
            connection.transaction(limits=(*LIMITS, ("statement_timeout", "50ms"))),
        ):
            connection.execute("SELECT pg_sleep(60)")
        with pytest.raises(psycopg.OperationalError), connection.one_flight((*LIMITS, ("transaction_timeout", "50ms"))):
            connection.execute("SELECT pg_sleep(25)")
        assert connection.is_lost()


def _setting(connection: Connection, name: str) -> str:
    return str(connection.execute("SELECT current_setting(%s) AS value", (name,)).fetchall()[0]["value"])


@pytest.mark.parametrize("pooled", [False, True], ids=["direct", "options dropped by PgBouncer"])
def test_search_path_of_an_address_holds(
    empty_database_url: str, redis_flushed_url: str, redis: Redis, tmp_path: Path, *, pooled: bool
) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as owner:
        owner.execute("CREATE SCHEMA mine")
    with ExitStack() as contexts:
        url = empty_database_url
        if pooled:
            url = contexts.enter_context(pgbouncer(url, tmp_path / "pgbouncer", ignore_startup_parameters="options"))
        url += f"{'&' if '?' in url else '?'}options=-csearch_path%3Dmine"
        ingestctl = Ingestctl({**bare_environ(), "DATABASE_URL": url, "REDIS_URL": redis_flushed_url})
        ingestctl.says("migrate", "--lanes", "4")
        with Lane.of_new_connector(redis, url) as lane:
            applied = _submit(lane)
        version = position_of_entry(lane.number, applied).version
        assert _fetch(url, "select_outcome", connector_id=lane.connector_id, lane=lane.number, version=version)
    with psycopg.connect(empty_database_url) as owner:
        assert owner.execute("SELECT count(*) FROM mine.items").fetchall() == [(2,)]
        assert owner.execute("SELECT to_regclass('public.items')").fetchall() == [(None,)]


def test_statement_mode_is_refused_with_a_sentence(
    empty_database_url: str, redis_flushed_url: str, tmp_path: Path
) -> None:
    with pgbouncer(empty_database_url, tmp_path / "pgbouncer", pool_mode="statement") as url:
        ingestctl = Ingestctl({**bare_environ(), "DATABASE_URL": url, "REDIS_URL": redis_flushed_url})
        assert "pool_mode = transaction" in ingestctl.fails("migrate")


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_database_of_another_encoding_is_refused_with_a_sentence(
    postgres_url: str, redis_url: str, ingestctl: Ingestctl, encoding: str
) -> None:
    options = f"ENCODING {encoding} LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0"
    for url in temporary_database(postgres_url, options):
        assert encoding in ingestctl.fails("migrate", DATABASE_URL=url)
        settings = Settings(database_url=SecretUrl(url), redis_url=SecretUrl(redis_url))
        with pytest.raises(SystemExit, match=f"is encoded in {encoding}"):
            exit_if_postgres_is_unusable(settings)
