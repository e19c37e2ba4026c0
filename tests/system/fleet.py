"""A whole installation under test conditions: engines, API processes, workers, a sweeper, and what stands between them.

`make run` starts the engines and a sweeper, and starts again whatever of these dies. The API processes and workers are
the fleet's: it keeps them running as a platform would, and they reach Postgres through a gate, and some of them Redis
through a wire, which can be shut and made to swallow what passes.
"""

from __future__ import annotations

import contextlib
import json
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.system.gate import Gate
from tests.system.look import CALL_SECONDS, Database, Lanes, Logs
from tests.system.processes import Process, environment, free_port
from tests.system.redis_wire import Wire
from tests.system.stack import Api, Stack

_LOOK_SECONDS = 0.1
_COMMAND_SECONDS = 180.0
_CHUNK_BYTES = 1 << 20


class HangingGate(Gate):
    """A gate that can also keep its connections open and let nothing through them."""

    def __init__(self, database_url: str) -> None:
        #: While this is set, whatever is said on either side is read and thrown away.
        self.swallows = threading.Event()
        super().__init__(database_url)

    def _pass(self, client: socket.socket, stop: threading.Event) -> None:
        with client, socket.socket(socket.AF_UNIX) as server, contextlib.suppress(OSError):
            server.connect(self._server)
            other = {client: server, server: client}
            swallowed = False
            # What lost some of its bytes is of no use any more: it ends once the gate lets through again.
            while not stop.is_set() and not (swallowed and not self.swallows.is_set()):
                for ready in select.select([client, server], [], [], _LOOK_SECONDS)[0]:
                    chunk = ready.recv(_CHUNK_BYTES)
                    if not chunk:
                        return
                    if self.swallows.is_set():
                        swallowed = True
                    else:
                        other[ready].sendall(chunk)


@dataclass
class Slot:
    """A process that is to run."""

    name: str
    start: Callable[[], Process]
    process: Process | None = None
    starts: int = 0
    #: Signals that were sent to it and that end a process.
    ended_by: set[int] = field(default_factory=set)


class Fleet:
    """API processes and workers, started again when they end."""

    def __init__(self, stack: Stack, *, apis: int, workers: int) -> None:
        self.stack = stack
        self.database = Database(stack.database_url)
        self.redis = Redis.from_url(stack.redis_url, socket_timeout=CALL_SECONDS, retry=Retry(NoBackoff(), 0))
        self.lanes = Lanes(self.redis, self.database.rows("SELECT count(*) AS lanes FROM lanes")[0]["lanes"])
        self.logs = Logs(stack.folder)
        self.gate = HangingGate(stack.database_url)
        self.api_wire, self.worker_wire = Wire(stack.redis_url), Wire(stack.redis_url)
        self.ports = [free_port() for _ in range(apis)]
        #: Processes that ended although nobody had asked them to.
        self.deserters: list[str] = []
        self._slots: dict[str, Slot] = {}
        self._stopped = threading.Event()
        self._lock = threading.RLock()
        for number in range(apis):
            self._add(f"api-{number}", partial(self._api, number))
        self.set_workers(workers)

    def start(self) -> None:
        """Starts all of them."""
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)
        self._keeper.start()

    def stop(self) -> None:
        """Ends all of them, and what stands between."""
        self._stopped.set()
        self._keeper.join()
        for slot in self._slots.values():
            with contextlib.suppress(ProcessLookupError):
                self.send(slot.name, signal.SIGCONT)
                self.send(slot.name, signal.SIGTERM)
        for slot in self._slots.values():
            if slot.process is not None:
                slot.process.stop()
        self.gate.shut()
        self.api_wire.cut()
        self.worker_wire.cut()
        self.redis.close()
        self.database.close()

    @property
    def urls(self) -> list[str]:
        """Of the API processes."""
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
        """So many workers from now on; those that are too many are asked to end."""
        with self._lock:
            leaving = [self._slots.pop(name) for name in self.workers[count:]]
            for number in range(len(self.workers), count):
                self._add(f"worker-{number}", partial(self._worker, number))
        for slot in leaving:
            if slot.process is not None:
                slot.process.stop()

    def pid(self, name: str) -> int:
        """The process that has this name now; 0 where it is being started again."""
        process = self._slots[name].process
        return process.pid if process is not None and process.runs else 0

    def send(self, name: str, number: signal.Signals) -> None:
        """Signals a process."""
        with self._lock:
            slot = self._slots[name]
            if slot.process is not None and slot.process.runs:
                if number in (signal.SIGKILL, signal.SIGTERM):
                    slot.ended_by.add(slot.process.pid)
                slot.process.send(number)

    def is_up(self) -> bool:
        """Whether every process runs, and every API process takes submissions."""
        return all(self.pid(name) for name in self._slots) and all(map(self.is_ready, self.apis))

    def is_ready(self, name: str) -> bool:
        """Whether this API process takes submissions."""
        process = self._slots[name].process
        return bool(self.pid(name)) and isinstance(process, Api) and _answers(process)

    def is_not_ready(self, name: str) -> bool:
        """Whether this API process takes none."""
        return not self.is_ready(name)

    def starts(self, name: str) -> int:
        """How often it was started."""
        return self._slots[name].starts

    def was_started(self, name: str, before: int) -> bool:
        """Whether it was started once more since `before` was read."""
        return self.starts(name) > before

    def engine(self, name: str) -> int:
        """The process of an engine."""
        if name == "postgres":
            return int((self.stack.made.data / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
        return int(self.redis.info("server")["process_id"])

    def sweeper(self) -> int:
        """The process of the sweeper; 0 where there is none now."""
        words = ["ps", "-A", "-o", "pid=,ppid=,args="]
        for line in subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines():
            pid, parent, command = line.split(maxsplit=2)
            if int(parent) == self.stack.made.pid and command.endswith("workers.sweep"):
                return int(pid)
        return 0

    def is_held(self) -> bool:
        """Whether a worker's transaction waits for somebody else's."""
        query = "SELECT FROM pg_stat_activity WHERE application_name = 'ingest worker' AND wait_event_type = 'Lock'"
        return bool(self.database.rows(query))

    def worker_of(self, lane: int) -> str | None:
        """The worker that drains a lane now."""
        lease = self.lanes.leases().get(lane, "").removeprefix("running:")
        worker: Any = self.redis.hget(f"rq:job:{lease}", "worker_name")
        pid = int(self.redis.hget(f"rq:worker:{worker.decode()}", "pid") or 0) if worker else 0
        return next((name for name in self.workers if pid and self.pid(name) == pid), None)

    def ingestctl(self, *words: str) -> Any:
        """What `ingestctl … --json` prints; it may take as long as a machine takes on which all is started anew."""
        command = [sys.executable, "-m", "operations.cli", *words, "--json"]
        ended = subprocess.run(
            command,
            cwd=self.stack.folder,
            env=environment(),
            capture_output=True,
            check=False,
            timeout=_COMMAND_SECONDS,
        )
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    def _add(self, name: str, start: Callable[[], Process]) -> None:
        self._slots[name] = Slot(name, start)

    def _keep(self) -> None:
        while not self._stopped.wait(_LOOK_SECONDS):
            try:
                with self._lock:
                    for slot in self._slots.values():
                        self._look_after(slot)
            except OSError as fault:  # no memory for another process, say: tried again
                self.deserters.append(f"a process could not be started: {fault!r}")

    def _look_after(self, slot: Slot) -> None:
        if slot.process is not None and slot.process.runs:
            return
        if slot.process is not None and slot.process.pid not in slot.ended_by:
            self.deserters.append(f"{slot.name}: {slot.process.printed.strip().splitlines()[-1:]}")
        slot.process = slot.start()
        slot.starts += 1

    def _api(self, number: int) -> Process:
        """The last one reaches Redis by the wire."""
        wired = number == len(self.ports) - 1
        return self.stack.starting_api(
            PORT=self.ports[number], DATABASE_URL=self.gate.url, LOG_LEVEL="warning", **_wired(self.api_wire, wired)
        )

    def _worker(self, number: int) -> Process:
        """Every other one reaches Redis by the wire."""
        return self.stack.worker(DATABASE_URL=self.gate.url, **_wired(self.worker_wire, number % 2 == 1))

    @contextlib.contextmanager
    def items_locked(self, connector_id: int) -> Iterator[None]:
        """Nobody can write a connector's items within the block: who tries is held in the middle of his transaction."""
        other = self.database.connect()
        try:
            other.execute("BEGIN")
            other.execute("SELECT FROM items WHERE connector_id = %s FOR UPDATE", [connector_id])
            yield
        finally:
            other.close()


def _wired(wire: Wire, wired: bool) -> dict[str, str]:  # noqa: FBT001 - a fact, no option
    return {"REDIS_URL": wire.url} if wired else {}


def _answers(api: Api) -> bool:
    try:
        return api.answers("/readyz") == 200
    except AssertionError:  # it has just ended
        return False
