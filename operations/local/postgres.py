"""PostgreSQL as a child process: on a unix socket only, with durable settings, never as root.

Its death signal is SIGINT, the fast shutdown; SIGTERM would wait until every client has disconnected. If that is cut
short, the next start replays the log; the backends end when the postmaster is gone.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

import psycopg

from operations.local.binaries import find_postgres_bin
from operations.local.child import Child, RunAs, spawn
from operations.local.engine import Engine
from operations.local.errors import LocalError
from operations.local.sockets import socket_folder
from operations.local.unprivileged import choose_user
from shared.process.setting_values import SecretUrl

_NAME: Final = "ingest"
_SOCKET: Final = ".s.PGSQL.5432"
_CONNECT_SECONDS: Final = 2
#: The line of postmaster.pid that holds the state of the start.
_STATUS_LINE: Final = 7
_INITDB: Final = (
    f"--username={_NAME}",
    "--auth=trust",
    "--encoding=UTF8",
    # Postgres' own C.UTF-8: an update of libc can't corrupt an index.
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--data-checksums",
)
#: On the command line, where they override every file.
_DURABLE: Final = ("fsync=on", "synchronous_commit=on", "full_page_writes=on")
#: 200 connections are enough for workers, API processes and psql. Log lines about checkpoints carry no information.
_OTHER: Final = ("unix_socket_permissions=0700", "max_connections=200", "log_checkpoints=off", "port=5432")


class Postgres(Engine):
    """The database."""

    name = "postgres"
    stop_signal = signal.SIGINT
    #: The user of its process; None: our own.
    run_as: RunAs | None = None

    @property
    def url(self) -> SecretUrl:
        """Its address, with the port that is part of the socket's name: PGPORT in the environment would change it."""
        return SecretUrl(f"postgresql://{_NAME}@/{_NAME}?host={quote(str(self.sockets))}&port=5432")

    @property
    def data(self) -> Path:
        """The folder of the cluster."""
        return self.folder / "data"

    def prepare(self, lock: int) -> Iterator[None]:
        """Choose the user, create the cluster the first time, remove what a killed server left."""
        self.run_as = choose_user(find_postgres_bin() / "postgres", self.folder)
        owner = self.folder.stat()
        self.sockets = socket_folder(self.folder, _SOCKET, (owner.st_uid, owner.st_gid))
        if not self.data.exists():
            yield from self._initdb(lock)
        self._remove_stale_pids()

    def spawn(self, lock: int) -> Child:
        """Start the server in the foreground; its log is its output."""
        options = (*_DURABLE, *_OTHER, f"unix_socket_directories={self._quoted_sockets()}")
        words = [word for option in options for word in ("-c", option)]
        return self._run("postgres", "-D", self.data, "-h", "", *words, lock=lock, death_signal=signal.SIGINT)

    def answers(self) -> bool:
        """Return whether the database can be used; create it the first time."""
        with contextlib.suppress(OSError, IndexError):
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            if int(lines[0]) == self.pid and lines[_STATUS_LINE].strip() == "ready":
                return _accepts(self.url) or self._create_database()
        return False

    def _initdb(self, lock: int) -> Iterator[None]:
        """Create the cluster under a temporary name, so that a run that is killed leaves no half cluster."""
        draft = self.folder / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        initdb = self._run("initdb", "-D", draft, *_INITDB, lock=lock, death_signal=signal.SIGKILL)
        try:
            while initdb.ended() is None:
                yield
        finally:
            initdb.kill()
            initdb.wait()
        if initdb.ended() != 0:
            raise self.failed("could not make its data folder")
        draft.rename(self.data)

    def _run(self, program: str, *words: str | Path, lock: int, death_signal: signal.Signals) -> Child:
        with self.log.open() as log:
            return spawn(
                [find_postgres_bin() / program, *words],
                death_signal=death_signal,
                # PGDATA, PGOPTIONS and others of the user's environment are not meant for this server.
                environ={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
                output=log,
                run_as=self.run_as,
                keep_fds=[lock],
                umask=0o077,
                guard=self._guard,
            )

    def _remove_stale_pids(self) -> None:
        """Remove pid files. The lock shows that no server of ours runs, even if the pid has been reused."""
        if _is_listening(self.sockets / _SOCKET):
            raise LocalError(f"A PostgreSQL that was started by hand uses {self.data}: stop it first.")
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        (self.sockets / f"{_SOCKET}.lock").unlink(missing_ok=True)

    def _create_database(self) -> bool:
        maintenance = self.url.replace(f"/{_NAME}?", "/postgres?")
        with (
            contextlib.suppress(psycopg.OperationalError, psycopg.errors.DuplicateDatabase),
            psycopg.connect(maintenance, autocommit=True, connect_timeout=_CONNECT_SECONDS) as connection,
        ):
            connection.execute(f"CREATE DATABASE {_NAME}")
            return True
        return False

    def _quoted_sockets(self) -> str:
        """Quote the folder: the setting is a list, which a comma or space in the path would split."""
        return '"' + str(self.sockets).replace('"', '""') + '"'


def _accepts(url: str) -> bool:
    with contextlib.suppress(psycopg.OperationalError):
        psycopg.connect(url, connect_timeout=_CONNECT_SECONDS).close()
        return True
    return False


def _is_listening(path: Path) -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        return True
    return False
