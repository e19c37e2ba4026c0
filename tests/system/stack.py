"""The whole of it, running: `make run` in a folder, what else is started beside it, and a look into the engines.

What the tests know of the engines' insides is little: items, receipts and dead letters in Postgres; in Redis the lanes'
streams and backlogs, and RQ's registry of failed jobs.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
from psycopg.rows import dict_row
from redis import Redis

from tests.preloaded import run_ingestctl
from tests.system.client import Connector, get
from tests.system.processes import PATIENCE, Process, Python, environment, free_port, run, wait_until

#: The first start makes a database.
_START_SECONDS = 120.0
#: A connector that nothing holds back.
UNLIMITED = 1_000_000


class MakeRun(Python):
    """What `make run` starts, without the installation before it."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.port = int(str(settings.setdefault("PORT", free_port())))
        self.folder = folder
        super().__init__("operations.local.run", "--end-with-parent", folder=folder, **settings)

    def is_up(self) -> MakeRun:
        """Waits until everything answers and it has printed what can be pasted."""
        self.says(r"ingestctl items \d+ agents$", _START_SECONDS)
        return self

    @property
    def data(self) -> Path:
        """Its data folder, the default one."""
        return self.folder / ".data"

    @property
    def endpoints(self) -> dict[str, Any]:
        """Where everything answers."""
        found: dict[str, Any] = json.loads((self.data / "endpoints.json").read_text())
        return found

    @property
    def curl(self) -> str:
        """The line to paste."""
        return self.says(r"^curl .*$")[0]

    @property
    def items(self) -> str:
        """The other line to paste; where the project is not installed, `ingestctl` goes by its other name."""
        line = self.says(r"^.*ingestctl items \d+ agents$")[0]
        program = Path(sys.executable).parent / "ingestctl"
        return line if program.exists() else line.replace(str(program), f"{sys.executable} -m operations.cli")


class Stack:
    """A running installation."""

    def __init__(self, made: MakeRun) -> None:
        self.folder = made.folder
        self.made = made
        endpoints = made.endpoints
        self.url: str = endpoints["apiUrl"]
        self.database_url: str = endpoints["databaseUrl"]
        self.redis_url: str = endpoints["redisUrl"]
        self.redis = Redis.from_url(self.redis_url)
        self._database = self._connect()

    def close(self) -> None:
        """Lets go of the engines."""
        self.redis.close()
        self._database.close()

    # Operators' means

    def ingestctl(self, *words: str) -> Any:
        """What `ingestctl … --json` prints, in the folder, without variables."""
        ended = run_ingestctl([*words, "--json"], folder=self.folder, environ=environment(), seconds=int(PATIENCE))
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    def connector(self, name: str, *, rate: float = UNLIMITED, burst: int = UNLIMITED, url: str = "") -> Connector:
        """A new connector."""
        made = self.ingestctl("connector", "create", name, "--rate", str(rate), "--burst", str(burst))
        assert made["name"] == name
        return Connector(made["connectorId"], made["credential"], url or self.url)

    def rotate(self, connector: Connector) -> Connector:
        """The same connector with its new credential, once the old one is said to be void."""
        made = self.ingestctl("credential", "rotate", str(connector.id))
        return Connector(connector.id, made["credential"], connector.url)

    # Further processes on the same engines

    @contextmanager
    def api(self, **settings: object) -> Iterator[Api]:
        """An API process of one's own, that is ready."""
        with self.starting_api(**settings) as api:
            api.is_ready()
            yield api

    def starting_api(self, **settings: object) -> Api:
        """An API process of one's own, that may not be ready yet."""
        return Api(self.folder, **{**self._engines(), **settings})

    def worker(self, **settings: object) -> Process:
        """A worker of one's own."""
        return Python("workers", folder=self.folder, **{**self._engines(), **settings})

    def restart(self, module: str) -> None:
        """Tells the one process of `make run` that runs this module to stop, and waits for the next."""
        before = self._pid_of(module)
        assert before
        os.kill(before, signal.SIGTERM)
        wait_until(f"{module} is started again", lambda: self._pid_of(module) not in (None, before))

    def _pid_of(self, module: str) -> int | None:
        listed = run(["ps", "-A", "-o", "pid=,ppid=,args="], folder=self.folder).stdout.splitlines()
        found = [line.split() for line in listed if line.split()[1] == str(self.made.pid) and module in line]
        return int(found[0][0]) if found else None

    def _engines(self) -> dict[str, str]:
        return {"DATABASE_URL": self.database_url, "REDIS_URL": self.redis_url}

    # Looking into Postgres

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        """What a query finds; on a new connection where a test had ended Postgres."""
        try:
            found = self._database.execute(query.encode(), values)
        except psycopg.OperationalError:
            self._database.close()
            self._database = wait_until("Postgres answers", self._connect_again)
            found = self._database.execute(query.encode(), values)
        return found.fetchall() if found.description else []

    def _connect(self) -> psycopg.Connection[dict[str, Any]]:
        return psycopg.connect(self.database_url, autocommit=True, row_factory=dict_row)

    def _connect_again(self) -> psycopg.Connection[dict[str, Any]] | None:
        with contextlib.suppress(psycopg.OperationalError):
            return self._connect()
        return None

    def value(self, query: str, *values: object) -> Any:
        """The one value that a query finds, None where it finds nothing."""
        rows = self.rows(query, *values)
        return next(iter(rows[0].values())) if rows else None

    def fields(self, connector: Connector, item_id: str, stream: str = "agents") -> dict[str, Any] | None:
        """An item's fields, their numbers exact; None where there is no such item."""
        text = self.value(
            "SELECT fields::text FROM items WHERE connector_id = %s AND stream = %s AND id = %s",
            *(connector.id, stream, item_id),
        )
        return None if text is None else json.loads(text, parse_int=str, parse_float=str)

    def count(self, table: str, connector: Connector) -> int:
        """Rows of a connector."""
        return int(self.value(f"SELECT count(*) FROM {table} WHERE connector_id = %s", connector.id))  # noqa: S608 - ours

    @contextmanager
    def items_locked(self) -> Iterator[None]:
        """Nobody can write items within the block: whoever tries is held in the middle of it."""
        with psycopg.connect(self.database_url) as other:
            other.execute("LOCK TABLE items IN SHARE MODE")
            yield

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Postgres takes no writes within the block, on old connections as on new ones."""
        self._set_read_only("on")
        try:
            yield
        finally:
            self._set_read_only("off")

    def _set_read_only(self, value: str) -> None:
        self.rows(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
        self.rows("SELECT pg_reload_conf()")

    def held_writers(self) -> set[int]:
        """The workers' connections that wait in Postgres for somebody else."""
        query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'ingest worker' AND wait_event_type = 'Lock'"
        return {row["pid"] for row in self.rows(query)}

    # Looking into Redis

    def lanes(self) -> list[tuple[int, int, int]]:
        """Of each lane: entries, entries that were delivered and not settled, bytes in its backlog."""
        found = []
        for stream in self.redis.scan_iter("{lane-*}:stream"):
            backlog = self.redis.hget(stream.replace(b":stream", b":backlog"), "bytes")
            pending: Any = self.redis.xpending(stream, "drain")
            found.append((int(self.redis.xlen(stream)), int(pending["pending"]), int(backlog or 0)))
        return found

    def waiting(self) -> int:
        """Entries in all lanes."""
        return sum(entries for entries, _, _ in self.lanes())

    def lanes_are_empty(self, seconds: float = PATIENCE) -> None:
        """Waits until everything is applied and nothing is owed."""
        wait_until("the lanes are empty", lambda: set(self.lanes()) == {(0, 0, 0)}, seconds)
        # No connector's part of a backlog is left either: what would drift would hold its connector up some day.
        for backlog in self.redis.scan_iter("{lane-*}:backlog"):
            names: Any = self.redis.hkeys(backlog)
            parts = [name for name in names if name.startswith(b"c:")]
            assert not parts, self.redis.hgetall(backlog)

    def redis_pid(self) -> int:
        """The process of Redis."""
        info: Any = self.redis.info("server")
        return int(info["process_id"])

    def postgres_pid(self) -> int:
        """The process of Postgres that its others stem from."""
        return int((self.made.data / "postgres" / "data" / "postmaster.pid").read_text().split()[0])

    def failed_jobs(self) -> int:
        """Jobs that RQ saw fail."""
        return int(self.redis.zcard("rq:failed:drain"))


class Api(Python):
    """An API process."""

    def __init__(self, folder: Path, **settings: object) -> None:
        port = int(str(settings.setdefault("PORT", free_port())))
        self.url = f"http://127.0.0.1:{port}"
        super().__init__("ingest_api", folder=folder, **settings)

    def answers(self, path: str) -> int:
        """The status of a GET, 0 where nothing listens."""
        assert self.runs, f"The API ended:\n{self.printed}"
        try:
            return get(f"{self.url}{path}").status_code
        except httpx.TransportError:
            return 0

    def is_ready(self) -> None:
        """Waits until it can accept submissions."""
        wait_until("the API is ready", lambda: self.answers("/readyz") == 200)


@contextmanager
def running(folder: Path, **settings: object) -> Iterator[Stack]:
    """An installation in a folder, until the block ends."""
    with MakeRun(folder, **settings) as made:
        stack = Stack(made.is_up())
        try:
            yield stack
        finally:
            stack.close()
