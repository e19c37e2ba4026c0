"""Migrate the database to this code's schema: numbered SQL files, each applied once, in order.

All that are missing are applied in one transaction. Two processes may migrate at the same time: an advisory lock makes
the second one wait and find nothing to do. A file that was edited after it was applied is refused by its checksum:
write a new one instead. Lock timeouts are short, so that a migration that can't get a lock fails instead of holding up
every other statement behind it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Final

from shared.causes import SentenceError
from shared.kinds import TABLES
from shared.postgres import partitions
from shared.postgres.connections import Connection
from shared.postgres.partitions import Tally
from shared.postgres.queries import sql
from shared.postgres.transactions import LIMITS

#: Any constant: identifies these migrations among the database's advisory locks.
_ADVISORY_LOCK: Final = 7_204_113_559
_LIMITS: Final = (*LIMITS, ("statement_timeout", "15min"), ("lock_timeout", "15min"))

_CREATE_REGISTER: Final = b"""
CREATE TABLE IF NOT EXISTS schema_migrations (
    name       text PRIMARY KEY,
    sha256     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """A file of this folder."""

    name: str
    statements: bytes

    @property
    def sha256(self) -> str:
        """Checksum that detects an edit."""
        return hashlib.sha256(self.statements).hexdigest()


def available() -> list[Migration]:
    """Return the migrations of this code, in order."""
    folder = resources.files(__name__)
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return [Migration(file.name.removesuffix(".sql"), file.read_bytes()) for file in files]


def migrate(connection: Connection, *, lanes: int) -> list[str]:
    """Apply the missing migrations and return their names.

    `lanes`: the number of lanes of a new installation; it has no effect on an existing one. Raises SentenceError.
    """
    with connection.transaction(limits=_LIMITS):
        # Held until the transaction's end, and not by a session, which may be a pooler's.
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (_ADVISORY_LOCK,))
        connection.execute("SET LOCAL lock_timeout = '5s'")
        connection.execute(_CREATE_REGISTER)
        applied = [_apply(connection, migration) for migration in _missing(connection)]
        connection.execute(sql("insert_lanes"), {"lanes": lanes})
        _grant(connection)
    # A new installation starts with partitions. Those that can't be made now are made by the hourly job.
    partitions.make_ahead(connection, Tally())
    return applied


def _grant(connection: Connection) -> None:
    for row in connection.execute(sql("select_grants"), {"tables": [table.name for table in TABLES]}).fetchall():
        connection.execute(row["statement"].encode())


def _missing(connection: Connection) -> Iterator[Migration]:
    rows = connection.execute("SELECT name, sha256 FROM schema_migrations").fetchall()
    known = {row["name"]: row["sha256"] for row in rows}
    for migration in available():
        if migration.name not in known:
            yield migration
        elif known[migration.name] != migration.sha256:
            raise SentenceError(f"The migration {migration.name} was edited after it was applied; write a new one.")


def _apply(connection: Connection, migration: Migration) -> str:
    connection.execute(migration.statements)
    connection.execute(
        "INSERT INTO schema_migrations (name, sha256) VALUES (%s, %s)", (migration.name, migration.sha256)
    )
    return migration.name
