"""Rows that were rejected: counted, the first ones told, and all of them written to a file if there is one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import IO, Any

from inspire_ingest.results import Result

#: Rejected rows that are told on the terminal.
_TOLD = 5


class Rejects:
    """The rejected rows of one push."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: IO[str] | None = None
        self._first: list[str] = []
        self.count = 0
        #: Those of a connector's result that were never sent, since JSON can't hold them.
        self.unsent = 0

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()

    def add(self, row: Any, code: str, message: str, path: str | None = None) -> None:
        """Add a row."""
        self.count += 1
        if len(self._first) < _TOLD:
            self._first.append(f"{ascii(row)[:120]}: {message}")
        if self._path is not None:
            self._file = self._file or self._path.open("w", encoding="utf-8")
            told = {"row": row, "code": code, "message": message, "path": path}
            self._file.write(f"{json.dumps(told, default=str)}\n")

    def take(self, result: Result) -> None:
        """Add the rows that the service refused since the last call."""
        while result.rejected:
            rejected = result.rejected.popleft()
            self.unsent += rejected.code == "not_encodable"
            self.add(rejected.row, rejected.code, rejected.message, rejected.path)

    def tell(self) -> None:
        """Tell the first ones on stderr, and where all are."""
        for text in self._first:
            sys.stderr.write(f"rejected: {text}\n")
        if self.count > len(self._first):
            where = f"in {self._path}" if self._path else "not kept: give --rejects FILE"
            sys.stderr.write(f"rejected: {self.count} rows in all, {where}\n")
