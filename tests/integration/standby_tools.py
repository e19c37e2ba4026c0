"""A standby of a Postgres."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg

from operations.local.binaries import find_postgres_bin
from operations.local.child import NEEDS_GUARD
from operations.local.data_dir import claim
from operations.local.engine import start_together
from operations.local.postgres import Postgres


class Standby(Postgres):
    """A server that replays another one's log."""

    def answers(self) -> bool:
        """Return whether it can be read from."""
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(self.url, connect_timeout=2).close()
            return True
        return False


@contextmanager
def standby_of(primary_url: str, folder: Path) -> Iterator[Standby]:
    """Copy a server, and run the copy as its standby."""
    with claim(folder) as claimed:
        found = Standby(claimed, guard=NEEDS_GUARD, say=lambda _line: None)
        backup = [str(find_postgres_bin() / "pg_basebackup"), "-d", primary_url, "-D", str(found.data)]
        subprocess.run([*backup, "--checkpoint=fast", "--write-recovery-conf"], check=True)
        start_together(found)
        try:
            yield found
        finally:
            found.stop()


def both_of(primary: Postgres, standby: Standby) -> str:
    """Return the address of the one of two servers that takes writes."""
    hosts = ",".join(quote(str(server.sockets)) for server in (primary, standby))
    return f"postgresql://ingest@/ingest?host={hosts}&port=5432,5432&target_session_attrs=read-write"
