"""Files of rows: CSV and JSON lines; how far one is read is told in bytes."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

from inspire_ingest.errors import ConfigurationError

from .parquet import Parquet
from .sources import Bad, Row, Source, all_different, readable

FORMATS = ("csv", "jsonl", "parquet")
_SUFFIXES = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
#: Size of the largest cell of a CSV in characters: the largest value that the service takes.
_MAX_CELL = 5_242_880


class File(Source):
    """A file of text, compressed if its name ends with .gz, or the standard input."""

    def __init__(self, path: str, file_format: str, delimiter: str) -> None:
        self._path = path
        self._format = file_format
        self._delimiter = delimiter
        self._raw: BinaryIO = sys.stdin.buffer if path == "-" else Path(path).open("rb")  # noqa: SIM115 - to the end
        self._is_gzip = path.endswith(".gz")
        if path != "-":
            found = Path(path).stat()
            self.unit, self.total = "bytes", found.st_size
            self.identity = f"{Path(path).resolve()} {found.st_size} {found.st_mtime_ns}"

    def rows(self) -> Iterator[Row | Bad]:
        """Yield the rows."""
        opened: Any = gzip.GzipFile(fileobj=self._raw) if self._is_gzip else self._raw
        newline = "" if self._format == "csv" else None
        errors = (UnicodeDecodeError, csv.Error, OSError, EOFError, zlib.error)
        with readable(self._path, *errors), io.TextIOWrapper(opened, encoding="utf-8-sig", newline=newline) as lines:
            yield from _csv_rows(lines, self._delimiter) if self._format == "csv" else _json_rows(lines)

    def done(self) -> int:
        """Return how many bytes are read; some are read ahead."""
        return 0 if self._raw.closed or not self.unit else self._raw.tell()

    def close(self) -> None:
        """Close the file."""
        self._raw.close()


def open_file(path: str, file_format: str | None, delimiter: str | None) -> Source:
    """Return the source in a file; raise ConfigurationError if its format is unknown."""
    name = Path(path.removesuffix(".gz"))
    wanted = file_format or _SUFFIXES.get(name.suffix.lower())
    if wanted is None:
        message = f"The format of {path} is not known by its name: give --format {', '.join(FORMATS)}."
        raise ConfigurationError(message)
    if wanted == "parquet":
        return Parquet(path)
    return File(path, wanted, delimiter or ("\t" if name.suffix.lower() == ".tsv" else ","))


def _csv_rows(lines: io.TextIOWrapper, delimiter: str) -> Iterator[Row | Bad]:
    csv.field_size_limit(_MAX_CELL)
    reader = csv.reader(lines, delimiter=delimiter)
    names = all_different(next(reader, []))
    for cells in reader:
        if len(cells) == len(names):
            yield dict(zip(names, cells))
        elif cells:
            yield Bad(
                cells, f"Line {reader.line_num} has {len(cells)} cells and the first line {len(names)}: repair it."
            )


def _json_rows(lines: io.TextIOWrapper) -> Iterator[Row | Bad]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, parse_float=_exact_number)
        except (ValueError, RecursionError) as error:
            yield Bad(line, f"Line {number} is not JSON: {error}.")
            continue
        yield row if isinstance(row, dict) else Bad(row, f"Line {number} is not a JSON object: each line must be one.")


def _exact_number(text: str) -> float | Decimal:
    """Return a number; as a Decimal, which is sent as text, if a float can't hold it."""
    number, exact = float(text), Decimal(text)
    return number if Decimal(repr(number)) == exact else exact
