"""A running installation: `make run` in a folder, further processes beside it, and access to the engines.

Tests know little of the engines' contents: items, receipts and dead letters in Postgres; in Redis the lanes' streams
and backlogs, and RQ's registry of failed jobs.
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
from tests.support.client import Connector, get
from tests.support.processes import PATIENCE, PreloadedPython, Process, Python, environment, free_port, run, wait_until
from tests.support.signing import Hook

#: Deadline in seconds for the first start, which creates a database.
_START_SECONDS = 120.0
#: Rate and burst of a connector that no test can exhaust.
UNLIMITED = 1_000_000


class MakeRun(Python):
    """The program behind `make run`, without the installation of packages before it."""

    def __init__(self, folder: Path, *, module: str = "operations.local.run", **settings: object) -> None:
        self.port = int(str(settings.setdefault("PORT", free_port())))
        settings.setdefault("CONSOLE_PORT", free_port())
        self.folder = folder
        super().__init__(module, "--end-with-parent", folder=folder, **settings)

    def is_up(self) -> MakeRun:
        """Wait until everything answers and the lines to paste are printed."""
        self.says(r"ingestctl items \d+ agents$", _START_SECONDS)
        return self

    @property
    def data(self) -> Path:
        """The data folder, at its default place."""
        return self.folder / ".data"

    @property
    def endpoints(self) -> dict[str, Any]:
        """The addresses of the API and of the engines."""
        found: dict[str, Any] = json.loads((self.data / "endpoints.json").read_text())
        return found

    @property
    def curl(self) -> str:
        """The printed line that submits an item."""
        return self.says(r"^curl .*$")[0]

    @property
    def items(self) -> str:
        """The printed line that lists the item; `python -m operations.cli` if the project is not installed."""
        line = self.says(r"^.*ingestctl items \d+ agents$")[0]
        program = Path(sys.executable).parent / "ingestctl"
        return line if program.exists() else line.replace(str(program), f"{sys.executable} -m operations.cli")


class Stack:
    """A running installation."""

    #: Whether further API processes and workers are forked from a process that has imported them.
    preloads = True

    def __init__(self, made: MakeRun) -> None:
        self.folder = made.folder
        self.made = made
        endpoints = made.endpoints
        self.url: str = endpoints["apiUrl"]
        self.database_url: str = endpoints["databaseUrl"]
        self.redis_url: str = endpoints["redisUrl"]
        # Sentinels and clusters are asked by clients of their own.
        self.redis = Redis() if self.redis_url.startswith("redis+") else Redis.from_url(self.redis_url)
        self._database = self._connect()

    def close(self) -> None:
        """Close the connections to the engines."""
        self.redis.close()
        self._database.close()

    # What an operator does

    def ingestctl(self, *words: str) -> Any:
        """Run `ingestctl … --json` in the folder, without variables, and return the printed document."""
        ended = run_ingestctl([*words, "--json"], folder=self.folder, environ=environment(), seconds=int(PATIENCE))
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    def connector(self, name: str, *, rate: float = UNLIMITED, burst: int = UNLIMITED, url: str = "") -> Connector:
        """Create a connector."""
        made = self.ingestctl("connector", "create", name, "--rate", str(rate), "--burst", str(burst))
        assert made["name"] == name
        return Connector(made["connectorId"], made["credential"], url or self.url)

    def rotate(self, connector: Connector) -> Connector:
        """Rotate the credential; return the connector with the new one once the old one is revoked."""
        made = self.ingestctl("credential", "rotate", str(connector.id))
        return Connector(connector.id, made["credential"], connector.url)

    def hook(self, connector: Connector, scheme: str = "github", *words: str) -> tuple[str, Hook]:
        """Create a hook; return its id, and what its sender knows."""
        made = self.ingestctl("hook", "create", str(connector.id), "--scheme", scheme, *words)
        return made["hookId"], Hook(made["path"], made["secret"], scheme)

    # Further processes on the same engines

    @contextmanager
    def api(self, **settings: object) -> Iterator[Api]:
        """Start a further API process, and wait until it is ready."""
        with self.starting_api(**settings) as api:
            api.is_ready()
            yield api

    @contextmanager
    def cold_api(self, **settings: object) -> Iterator[Api]:
        """Start a further API process from nothing: the memory of a forked one is partly that of its parent."""
        with Api(self.folder, **{**self._engines(), **settings}) as api:
            api.is_ready()
            yield api

    def starting_api(self, **settings: object) -> Api:
        """Start a further API process, which may not be ready yet."""
        kind = PreloadedApi if self.preloads else Api
        return kind(self.folder, **{**self._engines(), **settings})

    def worker(self, **settings: object) -> Process:
        """Start a further worker."""
        kind = PreloadedPython if self.preloads else Python
        return kind("workers", folder=self.folder, **{**self._engines(), **settings})

    def restart(self, module: str) -> None:
        """Send SIGTERM to the one process of `make run` that runs this module, and wait for its successor."""
        before = self.pid_of(module)
        assert before
        os.kill(before, signal.SIGTERM)
        wait_until(f"{module} is started again", lambda: self.pid_of(module) not in (None, before))

    def pid_of(self, module: str) -> int | None:
        """Return the pid of the one process of `make run` that runs this module."""
        listed = run(["ps", "-A", "-o", "pid=,ppid=,args="], folder=self.folder).stdout.splitlines()
        found = [line.split() for line in listed if line.split()[1] == str(self.made.pid) and module in line]
        return int(found[0][0]) if found else None

    def _engines(self) -> dict[str, str]:
        key = (self.made.data / "secrets-key").read_text().strip()
        return {"DATABASE_URL": self.database_url, "REDIS_URL": self.redis_url, "SECRETS_KEY": key}

    # What Postgres holds

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        """Return the rows of a query, on a new connection if a test had ended Postgres."""
        try:
            found = self._database.execute(query.encode(), values)
        except psycopg.OperationalError:
            self._database.close()
            self._database = wait_until("Postgres answers", self._connect_again)
            found = self._database.execute(query.encode(), values)
        return found.fetchall() if found.description is not None else []

    def _connect(self) -> psycopg.Connection[dict[str, Any]]:
        return psycopg.connect(self.database_url, autocommit=True, row_factory=dict_row)

    def _connect_again(self) -> psycopg.Connection[dict[str, Any]] | None:
        with contextlib.suppress(psycopg.OperationalError):
            return self._connect()
        return None

    def value(self, query: str, *values: object) -> Any:
        """Return the first value of the first row, None if there is no row."""
        rows = self.rows(query, *values)
        return next(iter(rows[0].values())) if rows else None

    def fields(self, connector: Connector, item_id: str, stream: str = "agents") -> dict[str, Any] | None:
        """Return an item's fields with their numbers as text, None if there is no such item."""
        text = self.value(
            "SELECT fields::text FROM items WHERE connector_id = %s AND stream = %s AND id = %s",
            *(connector.id, stream, item_id),
        )
        return None if text is None else json.loads(text, parse_int=str, parse_float=str)

    def count(self, table: str, connector: Connector) -> int:
        """Count a connector's rows in a table."""
        return int(self.value(f"SELECT count(*) FROM {table} WHERE connector_id = %s", connector.id))  # noqa: S608 - a name from a test

    @contextmanager
    def items_locked(self) -> Iterator[None]:
        """Block every write of items: a worker waits within its transaction until the block ends."""
        with psycopg.connect(self.database_url) as other:
            other.execute("LOCK TABLE items IN SHARE MODE")
            yield

    @contextmanager
    def read_only(self) -> Iterator[None]:
        """Make Postgres read-only within the block, for old and new connections."""
        self._set_read_only("on")
        try:
            yield
        finally:
            self._set_read_only("off")

    def _set_read_only(self, value: str) -> None:
        self.rows(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
        self.rows("SELECT pg_reload_conf()")

    def held_writers(self) -> set[int]:
        """Return the backend pids of the workers' connections that wait for a lock."""
        query = "SELECT pid FROM pg_stat_activity WHERE application_name = 'ingest worker' AND wait_event_type = 'Lock'"
        return {row["pid"] for row in self.rows(query)}

    # What Redis holds

    def lanes(self) -> list[tuple[int, int, int]]:
        """Return of each lane: entries, entries delivered and not acknowledged, bytes in its backlog."""
        asked = self.redis.pipeline(transaction=False)
        for stream in self.redis.scan_iter("{lane-*}:stream"):
            asked.xlen(stream)
            asked.xpending(stream, "drain")
            asked.hget(stream.replace(b":stream", b":backlog"), "bytes")
        told = iter(asked.execute())
        return [
            (int(entries), int(pending["pending"]), int(backlog or 0))
            for entries, pending, backlog in zip(told, told, told, strict=True)
        ]

    def waiting(self) -> int:
        """Count the entries of all lanes."""
        return sum(entries for entries, _, _ in self.lanes())

    def lanes_are_empty(self, seconds: float = PATIENCE) -> None:
        """Wait until every lane is empty, and check that no backlog counter is left."""
        wait_until("the lanes are empty", lambda: set(self.lanes()) == {(0, 0, 0)}, seconds)
        # A connector's part of a backlog that stayed above zero would block the connector in the end.
        for backlog in self.redis.scan_iter("{lane-*}:backlog"):
            names: Any = self.redis.hkeys(backlog)
            parts = [name for name in names if name.startswith(b"c:")]
            assert not parts, self.redis.hgetall(backlog)

    def redis_pid(self) -> int:
        """Return the pid of Redis."""
        info: Any = self.redis.info("server")
        return int(info["process_id"])

    def postgres_pid(self) -> int:
        """Return the pid of the postmaster."""
        return int((self.made.data / "postgres" / "data" / "postmaster.pid").read_text().split()[0])

    def failed_jobs(self) -> int:
        """Count the jobs in RQ's registry of failed jobs."""
        return int(self.redis.zcard("rq:failed:drain"))


class Api(Python):
    """An API process."""

    def __init__(self, folder: Path, **settings: object) -> None:
        port = int(str(settings.setdefault("PORT", free_port())))
        self.url = f"http://127.0.0.1:{port}"
        super().__init__("ingest_api", folder=folder, **settings)

    def answers(self, path: str) -> int:
        """Return the status of a GET, 0 if nothing listens."""
        assert self.runs, f"The API ended:\n{self.printed}"
        try:
            return get(f"{self.url}{path}").status_code
        except httpx.TransportError:
            return 0

    def is_ready(self) -> None:
        """Wait until the process accepts submissions."""
        wait_until("the API is ready", lambda: self.answers("/readyz") == 200)


class PreloadedApi(PreloadedPython, Api):
    """An API process, forked from a process that has imported it."""


@contextmanager
def running(folder: Path, **settings: object) -> Iterator[Stack]:
    """Run an installation in a folder until the block ends."""
    with MakeRun(folder, module="tests.shared_run", **settings) as made:
        stack = Stack(made.is_up())
        try:
            yield stack
        finally:
            stack.close()
