"""Postgres is a pair with a synchronous standby: the primary dies under load, the standby is promoted, all is there."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psycopg
import pytest

from operations.connectors import Connectors
from operations.local.data_dir import claim
from operations.local.engine import start_together
from operations.local.postgres import Postgres
from shared.postgres.connections import connect_postgres
from shared.postgres.migrations import migrate
from shared.redis.connections import connect_redis
from tests.integration.conftest import LANES
from tests.integration.standby_tools import Standby, both_of, standby_of
from tests.support.client import JSON, Connector, batch, item
from tests.support.processes import PreloadedPython, wait_until
from tests.support.stack import UNLIMITED, PreloadedApi

#: Between two submissions.
_PAUSE_SECONDS = 0.005


@dataclass
class Pair:
    """Both servers, and the processes on them."""

    primary: Postgres
    standby: Standby
    redis_url: str
    folder: Path
    #: Request ids of what was answered with 202, by the items' ids.
    accepted: dict[str, str] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, str]:
        """The settings of a process."""
        return {"DATABASE_URL": both_of(self.primary, self.standby), "REDIS_URL": self.redis_url}

    def fail_over(self) -> None:
        """Kill the primary and promote the standby."""
        assert self.primary.pid
        os.kill(self.primary.pid, signal.SIGKILL)
        with psycopg.connect(self.standby.url, autocommit=True) as server:
            server.execute("SELECT pg_promote()")

    def stored(self) -> set[str]:
        """Return the ids of the items that the promoted server holds."""
        with psycopg.connect(self.standby.url) as server:
            return {row[0] for row in server.execute("SELECT id FROM items")}


@pytest.fixture
def pair(redis_flushed_url: str, tmp_path: Path) -> Iterator[Pair]:
    with ExitStack() as close:
        primary = Postgres(close.enter_context(claim(tmp_path / "primary")))
        start_together(primary)
        close.callback(primary.stop)
        standby = close.enter_context(standby_of(str(primary.url), tmp_path / "standby"))
        with psycopg.connect(primary.url, autocommit=True) as server:
            # After the copy, so that the standby, once promoted, waits for none.
            server.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            server.execute("SELECT pg_reload_conf()")
            shown = "SELECT sync_state FROM pg_stat_replication"
            wait_until("it is synchronous", lambda: server.execute(shown).fetchall() == [("sync",)])
        with connect_postgres(both_of(primary, standby), application="tests") as connection:
            migrate(connection, lanes=LANES)
        yield Pair(primary, standby, redis_flushed_url, tmp_path)


def _submit(connector: Connector, pair: Pair, ended: Callable[[], bool]) -> None:
    """Submit an item a request until told to stop; the API accepts all the while."""
    with connector.connection() as client:
        while not ended():
            name = f"agent-{len(pair.accepted)}"
            answer = client.post("/api/ingest", content=batch(item(name)), headers=JSON)
            assert answer.status_code == 202, answer.text
            pair.accepted[name] = answer.json()["requestId"]


def test_nothing_is_missing_after_a_synchronous_standby_was_promoted(pair: Pair) -> None:
    with connect_postgres(pair.settings["DATABASE_URL"], application="tests") as connection:
        made = Connectors(connection, connect_redis(pair.redis_url)).create("crm", rate=UNLIMITED, burst=UNLIMITED)
    with (
        PreloadedApi(pair.folder, **pair.settings) as api,
        PreloadedPython("workers", folder=pair.folder, **pair.settings) as worker,
        PreloadedPython("workers.sweep", folder=pair.folder, **pair.settings),
    ):
        api.is_ready()
        connector, end = Connector(made.connector_id, made.credential.text, api.url), threading.Event()
        load = threading.Thread(target=_submit, args=(connector, pair, partial(end.wait, _PAUSE_SECONDS)))
        load.start()
        wait_until("submissions are applied", lambda: len(pair.stored()) > 100)
        with connector.connection() as client:
            before = dict(pair.accepted)
            applied = {
                name
                for name, request in list(before.items())[-100:]
                if client.get(f"/api/requests/{request}").json().get("state") == "applied"
            }
            pair.fail_over()
            assert applied <= pair.stored()
            known = len(pair.stored())
            wait_until("submissions are applied again", lambda: len(pair.stored()) > known + 100)
            end.set()
            load.join()
            last = list(pair.accepted.values())[-1]
            wait_until("all is applied", lambda: client.get(f"/api/requests/{last}").json().get("state") == "applied")

    assert pair.stored() == set(pair.accepted)
    with psycopg.connect(pair.standby.url) as server:
        assert server.execute("SELECT count(*) FROM receipts").fetchall() == [(len(pair.accepted),)]
    assert "Traceback" not in worker.printed
