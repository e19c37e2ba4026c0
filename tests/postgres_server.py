"""`python -m tests.postgres_server FOLDER [--copy-of URL]`: a Postgres as a process, for tests that import no product.

It prints `serves PID FOLDER_OF_THE_SOCKET` once it answers, and ends with SIGTERM, with its parent, and if its server
is killed.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from operations.local.child import NEEDS_GUARD
from operations.local.data_dir import claim
from operations.local.engine import start_together
from operations.local.postgres import Postgres
from tests.integration.standby_tools import standby_of

_LOOK_SECONDS = 0.05


@contextmanager
def _primary(folder: Path) -> Iterator[Postgres]:
    with claim(folder) as claimed:
        server = Postgres(claimed, guard=NEEDS_GUARD)
        start_together(server)
        try:
            yield server
        finally:
            server.stop()


def main() -> None:
    """Run a server until it ends or SIGTERM comes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--copy-of", default="", help="the address of the primary that it follows")
    given, parent = parser.parse_args(), os.getppid()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with standby_of(given.copy_of, given.folder) if given.copy_of else _primary(given.folder) as server:
        sys.stdout.write(f"serves {server.pid} {server.sockets}\n")
        sys.stdout.flush()
        # Not the kernel's signal: that comes with the end of the thread that started this process.
        while os.getppid() == parent and server.child and server.child.ended() is None:
            time.sleep(_LOOK_SECONDS)


if __name__ == "__main__":
    main()
