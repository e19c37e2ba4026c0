"""After a failover, whose old primary lives on, no session of ours stays there; and none reads from a standby."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from unittest.mock import ANY
from urllib.parse import quote

import psycopg
import pytest
from psycopg import errors

from operations.connectors import CreatedConnector
from operations.local.engines import Engines
from shared.postgres.connections import Connection, connect_postgres
from shared.postgres.errors import NoWritesError
from shared.postgres.pool import postgres_pool
from shared.postgres.queries import sql
from tests.integration.conftest import url_of
from tests.integration.ingestctl_tools import Ingestctl, insert_item
from tests.integration.standby_tools import Standby, standby_of
from tests.support.processes import wait_until
from workers.context import LastingConnection


@pytest.fixture
def standby(running_engines: Engines, database_url: str, tmp_path: Path) -> Iterator[Standby]:
    """A standby of the session's Postgres, with the test's database."""
    assert database_url
    with standby_of(str(running_engines.database_url), tmp_path / "standby") as found:
        yield found


def _set_read_only(server_url: str, value: str) -> None:
    with psycopg.connect(server_url, autocommit=True) as server:
        server.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}".encode())
        server.execute("SELECT pg_reload_conf()")
        wait_until("it is set", lambda: server.execute("SHOW default_transaction_read_only").fetchone() == (value,))


@contextlib.contextmanager
def _read_only(server_url: str) -> Iterator[None]:
    _set_read_only(server_url, "on")
    try:
        yield
    finally:
        _set_read_only(server_url, "off")


def test_what_is_read_from_a_standby_tells_how_old_it_is(
    standby: Standby, connection: Connection, ingestctl: Ingestctl, crm: CreatedConnector
) -> None:
    replica = url_of(str(standby.url), connection.info.dbname)
    insert_item(connection, "agent-1")
    listed = ("items", str(crm.connector_id), "agents", "--json")
    with psycopg.connect(replica, autocommit=True) as server:
        wait_until("it is replicated", lambda: server.execute("SELECT FROM items").fetchall())

    assert ingestctl.run(*listed, READ_DATABASE_URL=replica) == (0, ingestctl.says(*listed), ANY)

    told = ingestctl.run(*listed, READ_DATABASE_URL=replica)[2]
    assert re.fullmatch(r"From a standby, which is behind by [\d.]+ \w+ at most\.\n", told), told


def test_sessions_follow_a_failover_and_none_reads_from_a_standby(
    standby: Standby, postgres_url: str, database_url: str
) -> None:
    address, _, query = database_url.partition("?")
    new = url_of(str(standby.url), address.rpartition("/")[2])
    first = query.partition("host=")[2].partition("&")[0]
    both = f"{address}?host={first},{quote(str(standby.sockets))}&port=5432,5432&target_session_attrs=read-write"
    with connect_postgres(new, application="test", answer_timeout=20) as connection:
        with pytest.raises(NoWritesError):
            connection.execute(sql("count_lanes"))
        assert connection.closed
    with connect_postgres(new, application="test", needs_primary=False) as connection:
        assert connection.execute(sql("count_lanes")).fetchall() == [{"lanes": 4}]

    worker = LastingConnection(partial(connect_postgres, both, application="test", answer_timeout=20))
    worker().execute(*_moved(1))

    async def fail_over() -> None:
        async with postgres_pool(both, application="test", connections=8) as pool:
            for one in [await pool.getconn() for _ in range(3)]:
                await pool.putconn(one)
            with psycopg.connect(new, autocommit=True) as server:
                moved = "SELECT applied_version FROM lanes WHERE lane = 0"
                wait_until("it is replicated", lambda: server.execute(moved).fetchone() == (1,))
                server.execute("SELECT pg_promote()")
            with _read_only(postgres_url):
                for _ in range(5):
                    assert await pool.fetch(sql("count_lanes"), {}) == [{"lanes": 4}]
                async with pool.connection() as one:
                    assert one.info.host == str(standby.sockets)
                with pytest.raises(errors.ReadOnlySqlTransaction):
                    worker().execute(*_moved(2))
                worker().execute(*_moved(3))
                assert worker().info.host == str(standby.sockets)

    asyncio.run(fail_over())
    worker().close()


def _moved(applied: int) -> tuple[bytes, dict[str, int]]:
    return sql("move_watermarks"), {"lane": 0, "applied": applied, "dead": 0}
