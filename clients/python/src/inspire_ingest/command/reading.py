"""How far a source is read, and up to where its rows are settled: accepted, or refused for good."""

from __future__ import annotations

from collections import deque
from typing import Any

from inspire_ingest.errors import ConfigurationError

from .sources import Row
from .state import State


class Reading:
    """Counts rows; those that were put are settled in their order."""

    def __init__(self, state: State) -> None:
        #: Rows that were read, those that the state leaves out included.
        self.rows = 0
        #: Ids of all rows, for a retain.
        self.ids: list[str] = []
        #: The last value of the cursor's column, and the one before it: of the last one, more rows may come.
        self.cursor = self._cursor_before = state.cursor
        #: Of each row that waits: its number, and the value of the cursor before it.
        self._waiting: deque[tuple[int, Any]] = deque()
        self._settled = 0

    def took(self, row: Row, cursor_column: str | None) -> None:
        """Count a row."""
        self.rows += 1
        if cursor_column is None:
            return
        if cursor_column not in row:
            message = f"The query has no column {cursor_column}: name one of {', '.join(row)} with --cursor."
            raise ConfigurationError(message)
        value = row[cursor_column]
        if value != self.cursor:
            self._cursor_before, self.cursor = self.cursor, value

    def put(self) -> None:
        """Note that the row is about to be put."""
        self._waiting.append((self.rows, self._cursor_before))

    def settled(self, count: int) -> tuple[int, Any]:
        """Return the number of the row, and the cursor's value, up to which all is settled if `count` rows are."""
        while self._waiting and self._settled < count:
            self._waiting.popleft()
            self._settled += 1
        if not self._waiting:
            return self.rows, self._cursor_before
        number, cursor = self._waiting[0]
        return number - 1, cursor
