"""`make run` for tests that share an installation: its commands of `ingestctl` are forked, so that it starts faster."""

from __future__ import annotations

import os
import sys

from operations.local.run import Commands, main

if __name__ == "__main__":
    # Without `site`, since what it does itself is to call the process that has imported everything.
    sys.exit(main(sys.argv[1:], os.environ, Commands(cli=(sys.executable, "-S", "-m", "tests.preloaded"))))
