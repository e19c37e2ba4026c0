"""`python -m operations.cli`, the same as `ingestctl`."""

from operations.cli import main

main()
