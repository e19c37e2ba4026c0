"""How far a source is read, and up to where its rows are settled: accepted, or refused for good."""

from __future__ import annotations

from collections import deque
from typing import Any

from inspire_ingest.errors import ConfigurationError

from .sources import Row
from .state import State

#: Rows that were put between two marks: a mark for each would take as much memory as the rows.
_ROWS = 256


class Reading:
    """Counts rows; those that were put are settled in their order."""

    def __init__(self, state: State, rows_of_mark: int = _ROWS) -> None:
        #: Rows that were read, those that the state leaves out included.
        self.rows = 0
        #: Ids of all rows, for a retain.
        self.ids: list[str] = []
        #: The last value of the cursor's column, and the one before it: of the last one, more rows may come.
        self.cursor = self._cursor_before = state.cursor
        self._puts = 0
        self._rows_of_mark = rows_of_mark
        #: By how many rows were put before: how many were read then, and the value of the cursor before the next one.
        self._marks: deque[tuple[int, int, Any]] = deque()

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
        if self._puts % self._rows_of_mark == 0:
            self._marks.append((self._puts, self.rows - 1, self._cursor_before))
        self._puts += 1

    def settled(self, count: int) -> tuple[int, Any]:
        """Return the number of rows, and the cursor's value, up to which all is settled if `count` rows are."""
        if count >= self._puts:  # a signal may have come between the last row and its put
            return max(0, self.rows - 1), self._cursor_before
        while len(self._marks) > 1 and self._marks[1][0] <= count:
            self._marks.popleft()
        return self._marks[0][1:]
