"""After a failover, whose old primary lives on, no session of ours stays there; and none reads from a standby."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg import errors

from operations.local.binaries import find_postgres_bin
from operations.local.child import NEEDS_GUARD
from operations.local.data_dir import claim
from operations.local.engine import start_together
from operations.local.engines import Engines
from operations.local.postgres import Postgres
from shared.postgres.connections import connect_postgres
from shared.postgres.errors import NoWritesError
from shared.postgres.pool import postgres_pool
from shared.postgres.queries import sql
from tests.integration.conftest import url_of
from tests.support.processes import wait_until
from workers.context import LastingConnection


class Standby(Postgres):
    """A server that replays another one's log."""

    def answers(self) -> bool:
        """Return whether it can be read from."""
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(self.url, connect_timeout=2).close()
            return True
        return False


@pytest.fixture
def standby(running_engines: Engines, database_url: str, tmp_path: Path) -> Iterator[Standby]:
    """A standby of the session's Postgres, with the test's database."""
    assert database_url
    with claim(tmp_path / "standby") as folder:
        found = Standby(folder, guard=NEEDS_GUARD, say=lambda _line: None)
        backup = [str(find_postgres_bin() / "pg_basebackup"), "-d", str(running_engines.database_url)]
        backup += ["-D", str(found.data)]
        subprocess.run([*backup, "--checkpoint=fast", "--write-recovery-conf"], check=True)
        start_together(found)
        try:
            yield found
        finally:
            found.stop()


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
