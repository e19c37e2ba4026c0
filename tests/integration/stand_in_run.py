"""`make run` as a program of `preloaded.py`: with stand-ins if they are named, `stand_in_run.py [STAND_IN WORKER]`."""

from __future__ import annotations

import os
import sys

from operations.local import run


def main() -> None:
    """Run until it is stopped."""
    commands = None
    if sys.argv[1:]:
        stand_in, worker = sys.argv[1:]
        # It needs no package, and starts in a third of the time without looking for them.
        words = {name: (sys.executable, "-S", stand_in, name) for name in ("api", "console", "sweeper", "cli")}
        commands = run.Commands(**words, worker=(sys.executable, "-S", stand_in, worker))
    sys.exit(run.main([], os.environ, commands))
