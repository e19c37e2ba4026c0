"""What each connector sends and what becomes of it, added up in the memory of a process.

API processes count what they accept and refuse, workers what they apply. Once a second they hand over to Redis
(`shared/redis/traffic.py`), and the sweeper moves the sums into Postgres (`workers/traffic_mover.py`).

Memory is bounded: counts are kept by connector and error code, which clients can't invent; requests of no known
connector are counted together, as connector 0; of a flood of refusals a random sample is kept, and the others only
counted.
"""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterable, Iterator
from typing import Final, Literal

import msgspec

from shared.error_codes import ErrorCode

#: What is counted of a connector, in the order in which Redis holds it. All are sums but the last, which is the longest
#: time from acceptance to commit.
COUNTERS: Final = (
    "submissions",
    "items",
    "bytes",
    "refused",
    "applied",
    "superseded",
    "removed",
    "dead",
    "lag_ms",
)
#: Requests of no known connector.
UNKNOWN: Final = 0
#: Days for which traffic is kept by the minute; by the hour, a setting says it.
KEEP_MINUTES_DAYS: Final = 2
#: Refusals of one connector, and of all, that a process keeps until it hands over, a second later. The others are only
#: counted.
_KEPT_OF_CONNECTOR: Final = 10
_KEPT: Final = 200
#: Refusals that Redis keeps until they are moved to Postgres, and that Postgres keeps.
KEPT_REFUSALS: Final = 10_000
#: What is wrong with a key or signature, as far as the API knows it. Of `unknown`, Postgres may know more: rotated,
#: disabled, deleted or secret_wrong.
Reason = Literal["missing", "malformed", "unknown", "signature_missing", "signature_wrong", "stale", "unreadable"]


class Refusal(msgspec.Struct, omit_defaults=True, rename="camel"):
    """One refused request, without any value that the client sent."""

    #: Seconds since 1970.
    at: float
    request_id: str
    connector_id: int
    route: str
    code: str
    message: str
    path: str | None = None
    limit: int | None = None
    observed: int | None = None
    stream: str | None = None
    #: Of a 401: the key or hook that the client named, and what was wrong with it.
    key_id: str | None = None
    reason: Reason | None = None
    #: Refusals of the same connector that were only counted.
    skipped: int = 0


class Batch(msgspec.Struct):
    """What a process has counted since it last handed over."""

    #: Counters by connector, and of refusals also by `<connector> <code>`.
    rows: dict[str, list[int]]
    refusals: list[Refusal]


class _Sample:
    """Refusals of one connector: a random choice of them, and how many there were."""

    __slots__ = ("kept", "seen")

    def __init__(self) -> None:
        self.kept: list[Refusal] = []
        self.seen = 0

    def taken(self) -> list[Refusal]:
        if self.kept:
            self.kept[-1].skipped = self.seen - len(self.kept)
        return self.kept


class Tally:
    """Counts of one process; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clear()

    def _clear(self) -> None:
        self._rows: dict[int, list[int]] = {}
        self._codes: dict[tuple[int, str], int] = {}
        self._samples: dict[int, _Sample] = {}
        self._kept = 0

    def accepted(self, connector_id: int, items: int, size: int) -> None:
        """Count a submission that was appended."""
        with self._lock:
            row = self._row(connector_id)
            row[0] += 1
            row[1] += items
            row[2] += size

    def refused(self, refusal: Refusal) -> None:
        """Count a refusal, and keep it or not."""
        with self._lock:
            connector_id = refusal.connector_id
            self._row(connector_id)[3] += 1
            counted = connector_id, refusal.code
            self._codes[counted] = self._codes.get(counted, 0) + 1
            sample = self._samples.get(connector_id) or self._samples.setdefault(connector_id, _Sample())
            sample.seen += 1
            if len(sample.kept) < _KEPT_OF_CONNECTOR and self._kept < _KEPT:
                sample.kept.append(refusal)
                self._kept += 1
            elif (place := random.randrange(sample.seen)) < len(sample.kept):  # noqa: S311 - a sample
                sample.kept[place] = refusal

    def applied(self, connector_id: int, items: int, superseded: int, removed: int, lag_ms: int) -> None:
        """Count what a transaction applied of a connector."""
        with self._lock:
            row = self._row(connector_id)
            row[4] += items
            row[5] += superseded
            row[6] += removed
            row[8] = max(row[8], lag_ms)

    def died(self, connector_id: int, items: int) -> None:
        """Count a submission that became a dead letter."""
        with self._lock:
            self._row(connector_id)[7] += items

    def take(self) -> Batch | None:
        """Return what was counted since the last call; None if nothing was."""
        with self._lock:
            rows, codes, samples = self._rows, self._codes, self._samples
            self._clear()
        if not rows:
            return None
        by_code = {f"{connector_id} {code}": [0, 0, 0, count] for (connector_id, code), count in codes.items()}
        refusals = [refusal for sample in samples.values() for refusal in sample.taken()]
        return Batch({**{str(connector_id): row for connector_id, row in rows.items()}, **by_code}, refusals)

    def _row(self, connector_id: int) -> list[int]:
        return self._rows.get(connector_id) or self._rows.setdefault(connector_id, [0] * len(COUNTERS))


def refusals_in(texts: Iterable[bytes]) -> Iterator[Refusal]:
    """Yield the refusals that Redis holds; what no process of ours has written is skipped."""
    for text in texts:
        with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
            refusal = msgspec.json.decode(text, type=Refusal)
            if refusal.code.upper() in ErrorCode.__members__:
                yield refusal
