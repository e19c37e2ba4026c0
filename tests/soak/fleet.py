"""An installation for faults: engines, API processes, workers, a sweeper, and proxies between them.

`make run` starts the engines and a sweeper, and restarts those that die. The fleet keeps the API processes and workers
running as a platform would; they reach Postgres, and some of them Redis, through proxies that can fail.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tests.preloaded import run_ingestctl
from tests.soak.engine_inspection import Database, Lanes, Logs
from tests.soak.engines import Engines
from tests.support.pooler import SwitchedPooler
from tests.support.processes import Process, environment, free_port
from tests.support.stack import Api, Stack
from tests.support.tcp_proxy import RedisProxy

#: Interval in seconds at which the fleet checks its processes.
_CHECK_SECONDS = 0.1
#: Deadline in seconds of a command of `ingestctl`; long, since everything may be starting again meanwhile.
_COMMAND_SECONDS = 180


@dataclass
class Slot:
    """A place for a process that is kept running."""

    name: str
    start: Callable[[], Process]
    process: Process | None = None
    starts: int = 0
    #: Pids of its processes that were sent a signal which ends them.
    ended_by: set[int] = field(default_factory=set)


class Fleet:
    """API processes and workers, restarted when they end."""

    def __init__(self, stack: Stack, engines: Engines, *, apis: int, workers: int) -> None:
        self.stack = stack
        self.shape, self.pair = engines.redis, engines.pair
        self.settings = engines.settings
        self.database = Database(stack.database_url)
        self.redis = self.shape.redis
        self.lanes = Lanes(self.redis, self.database.rows("SELECT count(*) AS lanes FROM lanes")[0]["lanes"])
        self.logs = Logs(stack.folder)
        #: Whether proxies that can fail are between the processes and the engines.
        self.is_plain = engines.are_plain
        if self.is_plain:
            self.postgres = SwitchedPooler(stack.database_url, close_damaged=True)
            self.api_redis, self.worker_redis = RedisProxy(stack.redis_url), RedisProxy(stack.redis_url)
        self.ports = [free_port() for _ in range(apis)]
        #: Processes that ended without being told to.
        self.unexpected_exits: list[str] = []
        #: Names of processes that are started with an output that is not read, instead of a file.
        self.unread: set[str] = set()
        self._slots: dict[str, Slot] = {}
        self._stopped = threading.Event()
        self._lock = threading.RLock()
        for number in range(apis):
            self._add(f"api-{number}", partial(self._api, number))
        self.set_workers(workers)

    def start(self) -> None:
        """Start all processes."""
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)
        self._keeper.start()

    def stop(self) -> None:
        """End all processes and proxies."""
        self._stopped.set()
        self._keeper.join()
        for slot in self._slots.values():
            with contextlib.suppress(ProcessLookupError):
                self.send(slot.name, signal.SIGCONT)
                self.send(slot.name, signal.SIGTERM)
        for slot in self._slots.values():
            if slot.process is not None:
                slot.process.stop()
        for proxy in (self.postgres, self.api_redis, self.worker_redis) if self.is_plain else ():
            proxy.close()
        self.database.close()

    @property
    def urls(self) -> list[str]:
        """Addresses of the API processes."""
        return [f"http://127.0.0.1:{port}" for port in self.ports]

    @property
    def apis(self) -> list[str]:
        """Names of the API processes."""
        return [name for name in self._slots if name.startswith("api")]

    @property
    def workers(self) -> list[str]:
        """Names of the workers."""
        return [name for name in self._slots if name.startswith("worker")]

    def set_workers(self, count: int) -> None:
        """Change the number of workers; those that are too many are told to stop."""
        with self._lock:
            leaving = [self._slots.pop(name) for name in self.workers[count:]]
            for number in range(len(self.workers), count):
                self._add(f"worker-{number}", partial(self._worker, number))
        for slot in leaving:
            if slot.process is not None:
                slot.process.stop()

    def pid(self, name: str) -> int:
        """Return the pid of the process with this name, 0 while it is being restarted."""
        process = self._slots[name].process
        return process.pid if process is not None and process.runs else 0

    def send(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a process."""
        with self._lock:
            slot = self._slots[name]
            if slot.process is not None and slot.process.runs:
                if number in (signal.SIGKILL, signal.SIGTERM):
                    slot.ended_by.add(slot.process.pid)
                slot.process.send(number)

    def is_up(self) -> bool:
        """Return whether every process runs, and every API process accepts submissions."""
        return all(self.pid(name) for name in self._slots) and all(map(self.is_ready, self.apis))

    def is_ready(self, name: str) -> bool:
        """Return whether this API process accepts submissions."""
        process = self._slots[name].process
        return bool(self.pid(name)) and isinstance(process, Api) and _answers(process)

    def is_not_ready(self, name: str) -> bool:
        """Return whether this API process accepts no submissions."""
        return not self.is_ready(name)

    def is_stuck(self, name: str) -> bool:
        """Return whether the process can't print."""
        process = self._slots[name].process
        return process is not None and process.is_stuck

    def starts(self, name: str) -> int:
        """Return how often the process was started."""
        return self._slots[name].starts

    def was_started(self, name: str, before: int) -> bool:
        """Return whether the process was started again since `starts` returned `before`."""
        return self.starts(name) > before

    def engine(self, name: str) -> int:
        """Return the pid of an engine: "redis" or "postgres"."""
        if name == "postgres":
            return self.stack.postgres_pid()
        return int(self.redis.info("server")["process_id"])

    def sweeper(self) -> int:
        """Return the pid of the sweeper, 0 if there is none at the moment."""
        words = ["ps", "-A", "-o", "pid=,ppid=,args="]
        for line in subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines():
            pid, parent, command = line.split(maxsplit=2)
            if int(parent) == self.stack.made.pid and command.endswith("workers.sweep"):
                return int(pid)
        return 0

    def is_held(self) -> bool:
        """Return whether a worker's transaction waits for a lock."""
        query = "SELECT FROM pg_stat_activity WHERE application_name = 'ingest worker' AND wait_event_type = 'Lock'"
        return bool(self.database.rows(query))

    def worker_of(self, lane: int) -> str | None:
        """Return the name of the worker that drains a lane, None if none does."""
        lease = self.lanes.leases().get(lane, "").removeprefix("running:")
        queue = self.shape.queue
        worker: Any = queue.hget(f"rq:job:{lease}", "worker_name")
        pid = int(queue.hget(f"rq:worker:{worker.decode()}", "pid") or 0) if worker else 0
        return next((name for name in self.workers if pid and self.pid(name) == pid), None)

    def ingestctl(self, *words: str) -> Any:
        """Run `ingestctl … --json` and return the printed document."""
        # Not the database: `make run` tells that, and with it the key of the hooks' secrets.
        environ = environment(**self.shape.settings)
        ended = run_ingestctl([*words, "--json"], folder=self.stack.folder, environ=environ, seconds=_COMMAND_SECONDS)
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    def _add(self, name: str, start: Callable[[], Process]) -> None:
        self._slots[name] = Slot(name, start)

    def _keep(self) -> None:
        while not self._stopped.wait(_CHECK_SECONDS):
            try:
                self.shape.restart_ended()
                with self._lock:
                    for slot in self._slots.values():
                        self._restart_if_ended(slot)
            except OSError as error:  # for example no memory for another process: tried again
                self.unexpected_exits.append(f"a process could not be started: {error!r}")

    def _restart_if_ended(self, slot: Slot) -> None:
        if slot.process is not None and slot.process.runs:
            return
        if slot.process is not None and slot.process.pid not in slot.ended_by:
            self.unexpected_exits.append(f"{slot.name}: {slot.process.printed.strip().splitlines()[-1:]}")
        slot.process = slot.start()
        slot.starts += 1

    def _api(self, number: int) -> Process:
        """Start an API process; the last one reaches Redis through a proxy."""
        proxy = self.api_redis if self.is_plain and number == len(self.ports) - 1 else None
        unread = f"api-{number}" in self.unread
        level = "info" if unread else "warning"
        return self.stack.starting_api(PORT=self.ports[number], LOG_LEVEL=level, unread=unread, **self._engines(proxy))

    def _worker(self, number: int) -> Process:
        """Start a worker; every second one reaches Redis through a proxy."""
        proxy = self.worker_redis if self.is_plain and number % 2 == 1 else None
        return self.stack.worker(unread=f"worker-{number}" in self.unread, **self._engines(proxy))

    def _engines(self, redis: RedisProxy | None) -> dict[str, object]:
        database = {"DATABASE_URL": self.postgres.url} if self.is_plain else {}
        return {**self.settings, **database} | ({"REDIS_URL": redis.url} if redis else {})

    @contextlib.contextmanager
    def items_locked(self, connector_id: int) -> Iterator[None]:
        """Block every write of a connector's items: a worker waits within its transaction until the block ends."""
        other = self.database.connect()
        try:
            other.execute("BEGIN")
            other.execute("SELECT FROM items WHERE connector_id = %s FOR UPDATE", [connector_id])
            yield
        finally:
            other.close()


def _answers(api: Api) -> bool:
    try:
        return api.answers("/readyz") == 200
    except AssertionError:  # it has just ended
        return False
