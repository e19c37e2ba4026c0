"""A Parquet file: some rows at a time, each value as one that can be sent exactly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from inspire_ingest.errors import ConfigurationError

from .sources import Bad, Row, Source, all_different, readable

#: Rows that are read at once.
_ROWS = 2_000
#: Bytes that are read at once of a column; without it, a row group is in memory as a whole.
_BUFFER = 65_536


class Parquet(Source):
    """The rows of a Parquet file."""

    unit = "rows"

    def __init__(self, path: str) -> None:
        found = Path(path).stat()
        self._path = path
        try:
            import pyarrow as arrow  # type: ignore[import-not-found,unused-ignore] # noqa: ICN001, PLC0415 - an extra
            from pyarrow import compute, parquet  # type: ignore[import-not-found,unused-ignore] # noqa: PLC0415 - as above
        except ImportError as error:
            message = "Parquet needs pyarrow: pip install 'inspire-ingest[parquet]'."
            raise ConfigurationError(message) from error
        self._arrow, self._compute = arrow, compute
        self._errors = (arrow.ArrowException, OSError, ValueError, OverflowError)
        with readable(path, *self._errors):
            self._file = parquet.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False)
        self.total = self._file.metadata.num_rows
        self.identity = f"{Path(path).resolve()} {found.st_size} {found.st_mtime_ns}"
        self._done = 0

    def rows(self) -> Iterator[Row | Bad]:
        """Yield the rows."""
        names = all_different(self._file.schema_arrow.names)
        with readable(self._path, *self._errors):
            for some in self._file.iter_batches(_ROWS):
                columns = [self._sendable(column).to_pylist() for column in some.columns]
                for values in zip(*columns):
                    yield dict(zip(names, values))
                self._done += some.num_rows

    def done(self) -> int:
        """Return how many rows are read."""
        return self._done

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _sendable(self, column: Any) -> Any:
        """Return a column without times of nanoseconds, which Python's types don't know."""
        kind = column.type
        if self._arrow.types.is_timestamp(kind) and kind.unit == "ns":
            written = "%Y-%m-%dT%H:%M:%S%Ez" if kind.tz else "%Y-%m-%dT%H:%M:%S"
            return self._compute.strftime(column, format=written)
        return column.cast(_without_nanoseconds(self._arrow, kind))


def _without_nanoseconds(arrow: Any, kind: Any) -> Any:
    """Return a type with text for such times, and a number for such durations, also within others."""
    types = arrow.types
    if types.is_temporal(kind) and getattr(kind, "unit", "") == "ns":
        return arrow.int64() if types.is_duration(kind) else arrow.string()
    if types.is_struct(kind):
        return arrow.struct([part.with_type(_without_nanoseconds(arrow, part.type)) for part in kind])
    if types.is_list(kind):
        return arrow.list_(kind.value_field.with_type(_without_nanoseconds(arrow, kind.value_type)))
    return kind
