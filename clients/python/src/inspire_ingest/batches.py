"""A batch: rows that travel in one request under one idempotency key, and how it is made smaller."""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any

from .exchange import Request

ITEMS, RETAIN, LOG = "items", "retain", "log"
#: The name of the lane of log entries; no stream has parentheses.
LOG_LANE = "(log)"

#: JSON text has no line feed within a string, so that rows can be told apart again.
_BETWEEN_ROWS = b",\n"
#: Size of a rejected row that is kept whole; a thousand of the largest ones would fill the memory.
_MAX_TOLD_BYTES = 16_384
_PATHS = {ITEMS: "/api/ingest", RETAIN: "/api/ingest/retain", LOG: "/api/ingest/log"}


@dataclass(frozen=True)
class Batch:
    """Rows of one lane. Its lane sends it before those with a larger (number, part)."""

    kind: str
    lane: str
    count: int
    rows: bytes
    key: str
    at_most: int | None = None
    number: int = 0
    part: str = ""

    def request(self, seconds: float) -> Request:
        """Return the request that sends the batch."""
        return Request("POST", _PATHS[self.kind], self._body(), {"Idempotency-Key": self.key}, seconds)

    def _body(self) -> bytes:
        stream = json.dumps(self.lane).encode()
        if self.kind == LOG:
            return b'{"entries":[' + self.rows + b"]}"
        if self.kind == ITEMS:
            return b'{"stream":' + stream + b',"items":[' + self.rows + b"]}"
        at_most = b"" if self.at_most is None else b',"atMost":%d' % self.at_most
        return b'{"stream":' + stream + b',"ids":[' + self.rows + b"]" + at_most + b"}"

    def decoded(self) -> list[Any]:
        """Return all rows as they were sent."""
        return [json.loads(row) for row in self._rows()]

    def told(self) -> list[Any]:
        """Return all rows as their author is told of them: only the id of a large one."""
        return [
            decoded if len(row) <= _MAX_TOLD_BYTES else {"id": decoded.get("id"), "omitted": f"{len(row)} bytes"}
            for row, decoded in zip(self._rows(), self.decoded())
        ]

    def without(self, indexes: Collection[int]) -> list[Batch]:
        """Return the batch without some rows, in its place and under a key of its own; nothing if none is left."""
        left = [row for index, row in enumerate(self._rows()) if index not in indexes]
        return [self._piece(left, self.part)] if left or not self.count else []

    def halves(self) -> list[Batch]:
        """Return two batches in the place of this one, each under a key of its own."""
        rows = self._rows()
        middle = len(rows) // 2
        # As text, "0" < "00" < "01" < "1": halves of halves keep the order.
        return [self._piece(rows[:middle], f"{self.part}0"), self._piece(rows[middle:], f"{self.part}1")]

    def _rows(self) -> list[bytes]:
        return self.rows.split(_BETWEEN_ROWS) if self.count else []

    def _piece(self, rows: list[bytes], part: str) -> Batch:
        return replace(self, count=len(rows), rows=_BETWEEN_ROWS.join(rows), key=new_key(), part=part)


def new_batch(kind: str, lane: str, rows: Iterable[bytes], at_most: int | None = None) -> Batch:
    """Return a batch with a new idempotency key."""
    listed = list(rows)
    return Batch(kind, lane, len(listed), _BETWEEN_ROWS.join(listed), new_key(), at_most)


def new_key() -> str:
    """Return a new idempotency key."""
    return uuid.uuid4().hex
