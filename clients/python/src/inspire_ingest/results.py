"""What became of rows: counts, request ids, rejected rows, what is left."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

#: Request ids and rejected rows that are kept for each stream; the counts go on.
KEPT = 1_000


@dataclass(frozen=True)
class Rejected:
    """A row that the service refused, or that can't be written as JSON, and why."""

    row: Any
    code: str
    message: str
    path: str | None = None
    limit: float | None = None
    observed: float | None = None


@dataclass
class Result:
    """What became of the rows of a stream so far."""

    items: int = 0
    batches: int = 0
    retries: int = 0
    rejected_items: int = 0
    #: The last 1,000 ones.
    request_ids: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT))
    #: The last 1,000 ones; none if `on_rejected` is "skip".
    rejected: deque[Rejected] = field(default_factory=lambda: deque(maxlen=KEPT))


@dataclass(frozen=True)
class Unsent:
    """What was not accepted before the connector was closed. False if that is nothing."""

    items: int
    batches: int
    #: True if all of it is in the outbox on disk, and will be sent by the next connector that opens it.
    on_disk: bool
    #: The rows that are on no disk, as they would have been sent.
    rows: list[Any]

    def __bool__(self) -> bool:
        return self.items > 0 or self.batches > 0  # a retain may have no id


@dataclass(frozen=True)
class Status:
    """What became of a submission."""

    request_id: str
    #: "queued", "applied" or "dead".
    state: str
    #: Why it is dead.
    reason: str | None
    #: The whole answer, with times and counts.
    document: dict[str, Any]

    @property
    def is_final(self) -> bool:
        """Return whether the state will not change by itself."""
        return self.state != "queued"
