"""Inspects the engines of a soak, which may be away, and what the processes log."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row
from redis import Redis
from redis.exceptions import RedisClusterException, RedisError

from tests.support.processes import wait_until

#: Timeout in seconds of a call of an engine.
CALL_SECONDS = 5.0
#: Deadline in seconds for what was ended to be back; half of it is for a machine that does other work.
BACK_SECONDS = 120.0
_EVENT = re.compile(rb'"event": ?"(\w+)"')
_CHUNK_BYTES = 1 << 20
_CRASH_CHARACTERS = 1500
#: Returns the id of a lane's first entry, without its body.
_FIRST_ID = """
local entry = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
return entry and entry[1] or ''
"""


class Database:
    """A connection to Postgres past every proxy, made again after it was lost."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._connection: psycopg.Connection[dict[str, Any]] | None = None

    def rows(self, query: str, *values: object) -> list[dict[str, Any]]:
        """Return the rows of a query. Raises psycopg.OperationalError."""
        with self._lock:
            if self._connection is None or self._connection.closed:
                self._connection = self.connect()
            try:
                return self._connection.execute(query, values).fetchall()
            except psycopg.OperationalError:
                self._connection.close()
                raise

    def connect(self) -> psycopg.Connection[dict[str, Any]]:
        """Open a further connection, which may write even if the database is read-only by default."""
        return psycopg.connect(
            self._url,
            autocommit=True,
            row_factory=dict_row,
            connect_timeout=int(CALL_SECONDS),
            options="-c default_transaction_read_only=off -c lock_timeout=5s",
        )

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()


class Lanes:
    """The state of all lanes in Redis."""

    def __init__(self, redis: Redis, count: int) -> None:
        self._redis = redis
        #: What the names of a lane's keys begin with: on a cluster, the number has a suffix.
        self.names = wait_until("all lanes are there", lambda: self._names(count))

    def _names(self, count: int) -> list[str] | None:
        found = sorted(stream.decode().removesuffix(":stream") for stream in self._redis.scan_iter("{lane-*}:stream"))
        return found if len(found) == count else None

    def oldest(self) -> float | None:
        """Return when the oldest entry of all lanes was accepted, in seconds of the epoch; None if there is none."""
        pipe: Any = self._redis.pipeline(transaction=False)
        for name in self.names:
            pipe.execute_command("EVAL", _FIRST_ID, 1, f"{name}:stream")  # a cluster's pipeline has no `eval`
        found = [int(entry_id.split(b"-")[0]) for entry_id in pipe.execute() if entry_id]
        return min(found) / 1000 if found else None

    def entries(self, lane: int) -> int:
        """Count the entries of one lane."""
        return int(self._redis.xlen(f"{self.names[lane]}:stream"))

    def waiting(self) -> int:
        """Count the entries of all lanes."""
        pipe = self._redis.pipeline(transaction=False)
        for name in self.names:
            pipe.xlen(f"{name}:stream")
        return sum(pipe.execute())

    def pending(self) -> dict[int, int]:
        """Count the entries that were delivered and not acknowledged, of each lane that has some."""
        pipe = self._redis.pipeline(transaction=False)
        for name in self.names:
            pipe.xpending(f"{name}:stream", "drain")
        counts = enumerate(reply["pending"] for reply in pipe.execute())
        return {lane: count for lane, count in counts if count}

    def leases(self) -> dict[int, str]:
        """Return the lease of each lane that has one."""
        pipe = self._redis.pipeline(transaction=False)
        for name in self.names:
            pipe.get(f"{name}:lease")
        return {lane: lease.decode() for lane, lease in enumerate(pipe.execute()) if lease}

    def backlogs(self) -> list[dict[bytes, bytes]]:
        """Return the backlog counters of each lane."""
        pipe = self._redis.pipeline(transaction=False)
        for name in self.names:
            pipe.hgetall(f"{name}:backlog")
        return list(pipe.execute())


class Logs:
    """Counts the events in the logs of all processes, including those that have ended."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, int] = {}
        self._rest: dict[Path, bytes] = {}
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def counts(self) -> Counter[str]:
        """Count each event so far."""
        with self._lock:
            for path in self._folder.glob("*.out"):
                self._follow(path)
            return self._counts.copy()

    def crashes(self) -> list[str]:
        """Return the ends of the log lines of requests that crashed: what was raised, and where."""
        lines = (line for path in self._folder.glob("api*.out") for line in path.read_bytes().splitlines())
        return [line.decode(errors="replace")[-_CRASH_CHARACTERS:] for line in lines if b"request_crashed" in line]

    def _follow(self, path: Path) -> None:
        with path.open("rb") as file:
            file.seek(self._read.get(path, 0))
            while chunk := file.read(_CHUNK_BYTES):
                *lines, self._rest[path] = (self._rest.get(path, b"") + chunk).split(b"\n")
                self._counts.update(event[1].decode() for line in lines if (event := _EVENT.search(line)))
            self._read[path] = file.tell()


def send(pid: int, number: signal.Signals) -> None:
    """Signal a process of `make run`, if it still runs."""
    with contextlib.suppress(ProcessLookupError):
        if pid:
            os.kill(pid, number)


def answers(call: Callable[[], object]) -> bool:
    """Return whether an engine answers a call, with something true."""
    try:
        return bool(call())
    except (RedisError, RedisClusterException, psycopg.Error, OSError, ValueError, IndexError):
        return False


def until(what: str, condition: Callable[[], object], seconds: float) -> float:
    """Wait until `condition` is true, whatever errors the engines raise; return the seconds that it took."""
    began = time.monotonic()
    wait_until(what, lambda: answers(condition), seconds)
    return time.monotonic() - began


def lane_of(database: Database, connector_id: int) -> int:
    """Return the lane of a connector."""
    return int(database.rows("SELECT lane FROM connectors WHERE connector_id = %s", connector_id)[0]["lane"])
