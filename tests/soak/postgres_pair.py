"""A pair of Postgres servers as the database of a soak: a primary and a synchronous standby, named by one address."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sys
from pathlib import Path

import psycopg

from tests.soak.engine_inspection import CALL_SECONDS, until
from tests.support.processes import Process

#: Deadline in seconds for a server to start, with the copy that it may need.
_START_SECONDS = 90.0


class Member:
    """One server. It is given a new folder whenever it is made anew; its link leads to the socket."""

    def __init__(self, folder: Path, name: str) -> None:
        self.link, self._folder = folder / name, folder
        self._numbers = itertools.count()

    def start(self, *, copy_of: str = "") -> None:
        """Start it from nothing, or as the standby of a server."""
        data = self._folder / f"{self.link.name}-{next(self._numbers)}"
        words: list[str | Path] = [sys.executable, "-m", "tests.postgres_server", data]
        words += ["--copy-of", copy_of] if copy_of else []
        self.process = Process(words, folder=self._folder, name=data.name)
        told = self.process.says(r"^serves (\d+) (.+)$", _START_SECONDS)
        self.pid = int(told[1])
        self.link.unlink(missing_ok=True)
        self.link.symlink_to(told[2])

    @property
    def url(self) -> str:
        """The address of this server alone."""
        return f"postgresql://ingest@/ingest?host={self.link}&port=5432"

    def tell(self, statement: str) -> list[tuple[object, ...]]:
        """Run a statement."""
        with psycopg.connect(self.url, autocommit=True, connect_timeout=int(CALL_SECONDS)) as server:
            cursor = server.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


class PostgresPair:
    """The pair."""

    def __init__(self, folder: Path) -> None:
        self.primary, self.standby = Member(folder, "pg-a"), Member(folder, "pg-b")
        links = f"{self.primary.link},{self.standby.link}"
        self.url = f"postgresql://ingest@/ingest?host={links}&port=5432,5432&target_session_attrs=read-write"
        self.primary.start()
        try:
            self.follow()
        except BaseException:
            self.close()
            raise

    def follow(self) -> None:
        """Make the standby anew as a copy of the primary, whose commits wait for it from then on."""
        self.standby.start(copy_of=self.primary.url)
        # After the copy, so that the standby, once promoted, waits for none.
        self.primary.tell("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.primary.tell("SELECT pg_reload_conf()")
        shown = "SELECT sync_state FROM pg_stat_replication"
        until("the standby is synchronous", lambda: self.primary.tell(shown) == [("sync",)], _START_SECONDS)

    def fail_over(self) -> None:
        """Kill the primary, and promote the standby once nothing of the primary is left."""
        os.kill(self.primary.pid, signal.SIGKILL)
        self.primary.process.ends(_START_SECONDS)
        self.primary.link.unlink()
        self.primary, self.standby = self.standby, self.primary
        self.primary.tell("SELECT pg_promote()")

    def close(self) -> None:
        """End both."""
        for member in (self.standby, self.primary):
            with contextlib.suppress(AttributeError):  # it was never started
                member.process.stop()
