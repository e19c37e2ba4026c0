"""A lane: the rows of one stream, or the log entries, in their order."""

from __future__ import annotations

from collections import deque
from typing import Any

from .batches import LOG_LANE, RETAIN, Batch
from .errors import IngestError, RowsRejected
from .options import Options
from .results import KEPT, Rejected, Result


class Lane:
    """The batch that is being filled, and what became of the ones before."""

    def __init__(self, name: str, options: Options) -> None:
        self.name = name
        self.result = Result()
        self.error: IngestError | None = None
        #: Accepted, and not yet seen to be applied.
        self.unconfirmed: deque[str] = deque(maxlen=KEPT)
        self._options = options
        self._rows: list[bytes] = []
        self._bytes = 0
        self._opened_at = 0.0
        self._untold = 0

    @property
    def size(self) -> int:
        """Return the bytes of the rows that are in no batch yet."""
        return self._bytes

    @property
    def rows(self) -> list[bytes]:
        """Return the rows that are in no batch yet."""
        return self._rows

    def fits(self, row: bytes) -> bool:
        """Return whether a row may join the present batch."""
        options = self._options
        return not self._rows or (
            len(self._rows) < options.batch_items and self._bytes + len(row) <= options.batch_bytes
        )

    def add(self, row: bytes, now: float) -> bool:
        """Add a row that fits; return whether the sender has to look again."""
        if not self._rows:
            self._opened_at = now
        self._rows.append(row)
        self._bytes += len(row) + 2
        return len(self._rows) in {1, self._options.batch_items}

    def due_in(self, now: float) -> float | None:
        """Return the seconds until the present batch is to be sent; None if it is empty."""
        if not self._rows:
            return None
        if len(self._rows) >= self._options.batch_items or self._bytes >= self._options.batch_bytes:
            return 0.0
        return max(0.0, self._opened_at + self._options.batch_seconds - now)

    def clear(self) -> None:
        """Forget the rows: they are in a batch now."""
        self._rows, self._bytes = [], 0

    def accepted(self, batch: Batch, request_id: str) -> None:
        """Count a batch that was accepted; a retain has no items."""
        self.result.items += 0 if batch.kind == RETAIN else batch.count
        self.result.batches += 1
        self.result.request_ids.append(request_id)
        self.unconfirmed.append(request_id)

    def reject(self, row: Any, fault: dict[str, Any]) -> None:
        """Count a row that was refused, and keep it unless such rows are skipped; log entries always are."""
        self.result.rejected_items += 1
        if self._options.on_rejected == "skip" or self.name == LOG_LANE:
            return
        self._untold += 1
        known = {name: fault[name] for name in ("path", "limit", "observed") if name in fault}
        self.result.rejected.append(Rejected(row, str(fault.get("code", "")), str(fault.get("message", "")), **known))

    def raise_rejected(self) -> None:
        """Raise RowsRejected for rows that were not told yet, if rejected rows are to raise."""
        untold, self._untold = self._untold, 0
        if untold and self._options.on_rejected == "raise":
            raise RowsRejected([*self.result.rejected][-untold:], untold)
