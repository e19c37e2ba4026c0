"""`python -m shared.cli`, the same as `ingestctl`."""

from shared.cli import main

main()
