"""A peer: another implementation of the same contract, with what the harness needs to run it.

The order of calls: `missing()`, `prepare()`, then for every run `create_schema()`, `credentials()`, `processes()`, load
on `POST http://127.0.0.1:<port>/api/ingest`, `applied_items()`. The peers' tables live in a Postgres schema of their
own, `peers`, beside whatever is there; a peer's queue is in the Redis that it is given, under its framework's keys.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import psycopg

_SCHEMA: Final = Path(__file__).with_name("schema.sql")


@dataclass(frozen=True)
class PeerProcess:
    """A process in the foreground, ended by SIGTERM. `environ` is added to the environment that the caller has."""

    name: str
    argv: tuple[str, ...]
    environ: Mapping[str, str]
    cwd: Path


class Environment(Protocol):
    """The place where the dependencies of a peer are installed."""

    def missing(self) -> str | None:
        """Return a sentence that names what must be installed by hand, or None."""

    def prepare(self) -> None:
        """Install the pinned packages, unless they are installed. Raises BenchmarkError."""


@dataclass(frozen=True)
class Command:
    """One command line of a peer, before it knows its environment; `environ` holds settings of this peer alone."""

    name: str
    argv: tuple[str, ...]
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Peer:
    """A peer. `durability` is a sentence on what its 202 guarantees on its engines."""

    name: str
    title: str
    durability: str
    #: Folder in which its commands run.
    cwd: Path
    environment: Environment
    #: Returns its commands for a port and a number of worker processes, the API first.
    commands: Callable[[int, int], list[Command]]

    def missing(self) -> str | None:
        """Return a sentence that names what must be installed by hand, or None."""
        return self.environment.missing()

    def prepare(self) -> None:
        """Install its packages below `.bench/`, unless they are installed. Raises BenchmarkError."""
        self.environment.prepare()

    def create_schema(self, database_url: str) -> None:
        """Make empty tables; those of a former run are dropped."""
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(_SCHEMA.read_bytes())

    def credentials(self, database_url: str, n: int) -> list[tuple[int, str]]:
        """Create `n` connectors before the processes start; return the id and the credential of each."""
        made = [secrets.token_urlsafe(32) for _ in range(n)]
        hashes = [hashlib.sha256(text.encode()).hexdigest() for text in made]
        with psycopg.connect(database_url, autocommit=True) as connection:
            rows = connection.execute(
                "INSERT INTO peers.connectors (key_hash) SELECT unnest(%s::text[]) RETURNING id, key_hash", [hashes]
            ).fetchall()
        ids = {key_hash: connector for connector, key_hash in rows}
        return [(ids[key_hash], text) for key_hash, text in zip(hashes, made, strict=True)]

    def processes(self, database_url: str, redis_url: str, port: int, workers: int) -> list[PeerProcess]:
        """Return the API first, then the workers; one process for all workers of a peer that forks them."""
        urls = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
        return [
            PeerProcess(command.name, command.argv, {**urls, **command.environ}, self.cwd)
            for command in self.commands(port, workers)
        ]

    def applied_items(self, connection: psycopg.Connection[Any]) -> int:
        """Count the applied items, including superseded ones, on a connection in autocommit."""
        with connection.cursor(row_factory=psycopg.rows.scalar_row) as cursor:
            return int(cursor.execute("SELECT coalesce(sum(items), 0) FROM peers.requests").fetchone() or 0)
