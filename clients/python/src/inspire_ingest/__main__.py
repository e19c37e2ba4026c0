"""`python -m inspire_ingest` is `inspire`."""

import sys

from .command import main

if __name__ == "__main__":
    sys.exit(main())
