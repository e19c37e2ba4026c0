"""Send a CSV file as the items of a stream: `push_csv.py FILE STREAM ID_COLUMN [NAME_COLUMN]`."""

from __future__ import annotations

import csv
import sys
import time
from collections.abc import Iterator

from inspire_ingest import Connector, exit_on_sigterm


def main() -> None:
    """Push the file; print what became of it."""
    file, stream, id_column, *name_column = sys.argv[1:]
    started = time.monotonic()
    exit_on_sigterm()
    with Connector.from_env(on_rejected="collect") as connector:
        items = connector.stream(stream)
        for row in rows(file):
            name = row.pop(name_column[0]) if name_column else None
            items.put(row.pop(id_column), name=name, fields=row)
        items.flush()
        seconds = time.monotonic() - started
        print(f"{items.result.items} accepted, {items.result.rejected_items} rejected in {seconds:.1f} s")
        items.flush(wait="applied")
        print(f"All are applied after {time.monotonic() - started:.1f} s.")
    for rejected in items.result.rejected:
        print(f"{rejected.row}: {rejected.message}", file=sys.stderr)


def rows(file: str) -> Iterator[dict[str, str]]:
    """Yield the rows of the file."""
    with open(file, encoding="utf-8-sig", newline="") as lines:  # noqa: PTH123 - as the csv module's own examples
        yield from csv.DictReader(lines)


if __name__ == "__main__":
    main()
