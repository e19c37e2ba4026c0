"""A connector of `python -m tests.soak.connectors`: the processes that put numbered rows, in one of the languages."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.support.client import Connector
from tests.support.installed import typescript_client
from tests.support.processes import ROOT, environment

#: Numbers of a process of the connector: the id of its row n is n more than so many times the number of its start.
SPAN = 10_000_000
#: Pause of the connector after it has told, in seconds: it must put no more than can be sent.
_PAUSE_OF_PUTS = 0.05


def _python() -> tuple[list[str], int]:
    return [sys.executable, str(ROOT / "tests" / "clients" / "killed_connector.py")], 0


def _typescript() -> tuple[list[str], int]:
    package = typescript_client()
    return [str(package.node), str(package.folder / "tests" / "killed.ts")], 1


#: By language: how to start the connector, and what to add to what it tells to get the first number that may be lost.
LANGUAGES: dict[str, Callable[[], tuple[list[str], int]]] = {"python": _python, "typescript": _typescript}


class Numbers:
    """The connector's processes, one after the other."""

    def __init__(self, language: str, url: str, connector: Connector, folder: Path) -> None:
        self._command, self._offset = LANGUAGES[language]()
        self._outbox = folder / f"{language}.db"
        self._log = folder / f"{language}.log"
        self._arguments = [url, str(self._outbox)]
        self._environment = environment(INSPIRE_INGEST_KEY=connector.credential, PAUSE=_PAUSE_OF_PUTS) | {
            "PYTHONPATH": str(ROOT / "clients" / "python" / "src")
        }
        #: The first number that may be lost, and the id of the last row that was told.
        self.first = 0
        self.last_id = -1
        self.starts = 0
        self.start()

    def start(self) -> None:
        """Start a process, which goes on from what was told."""
        self.starts += 1
        words = [*self._command, *self._arguments, str(self.starts * SPAN + self.first)]
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                words, stdout=subprocess.PIPE, stderr=log, text=True, env=self._environment
            )
        self._reader = threading.Thread(target=self._read, args=[self._process.stdout])
        self._reader.start()

    def kill(self) -> None:
        """Kill the process, and take what it told before."""
        assert self._process.poll() in {None, -signal.SIGKILL}, f"The connector ended by itself:\n{self.said()}"
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def _read(self, lines: Any) -> None:
        with lines:
            for line in lines:
                self.last_id = int(line) + self._offset - 1
                self.first = self.last_id % SPAN + 1

    def said(self, lines: int = 15) -> str:
        """Return the last lines of the log of all processes."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])

    def waiting(self) -> str:
        """Kill the process; return what waits in the outbox, which no other process can read before."""
        self._process.kill()
        self._process.wait()
        with closing(sqlite3.connect(self._outbox)) as outbox:
            count, rows = outbox.execute("SELECT count(*), sum(count) FROM batches").fetchone()
            first = outbox.execute("SELECT key, rows FROM batches ORDER BY number, part LIMIT 1").fetchone()
        return f"{count} batches of {rows} rows wait; the first is {first}"
