"""Rows of a query: of SQLite, or of PostgreSQL with psycopg."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

from inspire_ingest.errors import ConfigurationError, IngestError

from .sources import Bad, Row, Source, all_different

#: The place of the cursor's value in a query; `::` is a cast.
_PLACE = re.compile(r"(?<!:):cursor\b")
_FETCHED = 1_000


class QueryFailed(IngestError):
    """The database refuses the query."""


class Query(Source):
    """The rows of a query."""

    def __init__(self, dsn: str, query: str, cursor: Any) -> None:
        self._dsn = dsn
        self._query = query
        self._cursor = cursor
        self.identity = query
        if not dsn.startswith(("sqlite:", "postgres:", "postgresql:")):
            message = "--dsn must be sqlite:///path or postgresql://…"
            raise ConfigurationError(message)

    def rows(self) -> Iterator[Row | Bad]:
        """Yield the rows."""
        yield from _sqlite(self) if self._dsn.startswith("sqlite:") else _postgres(self)

    @property
    def path(self) -> str:
        """Return the file of SQLite."""
        return self._dsn.removeprefix("sqlite://").removeprefix("/")

    @property
    def dsn(self) -> str:
        """Return the address of the server."""
        return self._dsn

    def bound(self, place: str) -> tuple[str, dict[str, Any]]:
        """Return the query with the driver's own placeholder, and its values."""
        if not _PLACE.search(self._query):
            return self._query, {}
        query = self._query.replace("%", "%%") if place.startswith("%") else self._query
        return _PLACE.sub(place, query), {"cursor": self._cursor}


def _sqlite(query: Query) -> Iterator[Row]:
    try:
        with closing(sqlite3.connect(f"file:{query.path}?mode=ro", uri=True)) as connection:
            found = connection.execute(*query.bound(":cursor"))
            names = all_different([column[0] for column in found.description])
            for values in found:
                yield dict(zip(names, values))
    except sqlite3.Error as error:
        message = f"SQLite refuses the query: {error}."
        raise QueryFailed(message) from error


def _postgres(query: Query) -> Iterator[Row]:
    try:
        import psycopg  # noqa: PLC0415 - an extra
        from psycopg.rows import dict_row  # noqa: PLC0415 - part of the same extra
    except ImportError as error:
        message = "PostgreSQL needs psycopg: pip install 'inspire-ingest[postgres]'."
        raise ConfigurationError(message) from error
    try:
        with psycopg.connect(query.dsn) as connection, connection.cursor("inspire", row_factory=dict_row) as found:
            found.itersize = _FETCHED
            text, values = query.bound("%(cursor)s")
            found.execute(text.encode(), values or None)
            all_different([column.name for column in found.description or ()])
            yield from found
    except psycopg.Error as error:
        message = f"PostgreSQL refuses the query: {error}"
        raise QueryFailed(message) from error
