"""What was applied, in memory: items, log entries, and what became of each submission."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Final

import msgspec

from shared.entry import Entry
from shared.request_id import position_of_version
from shared.rfc3339 import rfc3339
from workers.decoding import kind_of, retain_of
from workers.fold import Part, Slice, version_of

#: The only lane.
LANE: Final = 0
_TOO_MANY_REMOVALS: Final = "too_many_removals"

#: A connector and a stream.
_Stream = tuple[int, str]


@dataclass(slots=True)
class Outcome:
    """What became of a submission, as a row of Postgres tells it."""

    state: str
    kind: str
    received: int
    removed: int | None = None
    reason: str | None = None
    ended_at: datetime = field(default_factory=lambda: datetime.now(UTC))


class Memory:
    """The state of an installation. The event loop reads it while a thread applies."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.names: dict[int, str] = {}
        self.clear()

    def clear(self) -> None:
        """Forget all but the connectors."""
        with self.lock:
            self.published: dict[int, str] = {}
            self.managed: dict[int, str] = {}
            #: By connector and version.
            self.outcomes: dict[tuple[int, int], Outcome] = {}
            self._items: dict[_Stream, dict[str, tuple[int, dict[str, Any]]]] = {}
            self._entries: list[dict[str, Any]] = []

    def apply(self, entry: Entry, *, dies: str | None) -> None:
        """Apply an entry, or put it aside for the reason `dies`."""
        with self.lock:
            version = version_of(LANE, entry)
            outcome = Outcome("dead", entry.meta.kind, entry.count, reason=dies)
            if dies is None:
                outcome = Outcome("applied", entry.meta.kind, entry.count)
                if kind_of(entry).retains:
                    self._retain(entry, outcome)
                else:
                    self._write(entry, version, outcome)
            self.outcomes[entry.connector_id, version] = outcome

    def items(self, stream: str | None = None, connector_id: int | None = None) -> list[dict[str, Any]]:
        """Return the items, by connector, stream and id."""
        with self.lock:
            return [
                {"connectorId": owner, "stream": name, "requestId": _request_id(version), **item}
                for (owner, name), found in sorted(self._items.items())
                for _, (version, item) in sorted(found.items())
                if stream in (None, name) and connector_id in (None, owner)
            ]

    def entries(self) -> list[dict[str, Any]]:
        """Return the log entries in the order in which they were accepted."""
        with self.lock:
            return list(self._entries)

    def submissions(self, kind: str | None = None) -> list[dict[str, Any]]:
        """Return what became of each submission, in the order in which they were accepted."""
        with self.lock:
            return [
                {
                    "connectorId": connector_id,
                    "requestId": _request_id(version),
                    "kind": outcome.kind,
                    "state": outcome.state,
                    "reason": outcome.reason,
                    "received": outcome.received,
                    "removed": outcome.removed,
                    "receivedAt": rfc3339(position_of_version(LANE, version).received_at),
                }
                for (connector_id, version), outcome in self.outcomes.items()
                if kind in (None, outcome.kind)
            ]

    def _write(self, entry: Entry, version: int, outcome: Outcome) -> None:
        removed = 0
        for part in Slice(LANE, [entry]).parts():
            if not isinstance(part, Part):
                raise TypeError(f"the kind {entry.meta.kind} has statements of its own")
            for stream, found in part.items.items():
                known = self._items.setdefault(stream, {})
                for item_id, (_, item) in found.items():
                    before = known.pop(item_id, None)
                    removed += item.deleted and before is not None
                    if not item.deleted:
                        known[item_id] = version, _told(item)
            rows = chain.from_iterable(part.appended.values())
            self._entries += (
                {"connectorId": owner, "requestId": _request_id(version), **_told(one)} for owner, _, _, one in rows
            )
        outcome.removed = removed or None

    def _retain(self, entry: Entry, outcome: Outcome) -> None:
        retain = retain_of(entry)
        known = self._items.setdefault((entry.connector_id, retain.stream), {})
        gone = known.keys() - set(chain.from_iterable(retain.ids()))
        if retain.at_most is not None and len(gone) > retain.at_most:
            outcome.state, outcome.reason = "dead", _TOO_MANY_REMOVALS
            return
        for item_id in gone:
            del known[item_id]
        outcome.removed = len(gone)


def _request_id(version: int) -> str:
    return position_of_version(LANE, version).request_id


def _told(element: Any) -> dict[str, Any]:
    """Return an element's properties, copied: one that stays must not keep its whole body in memory."""
    return {
        name: value.copy() if isinstance(value, msgspec.Raw) else value
        for name, value in msgspec.structs.asdict(element).items()
        if name != "deleted"
    }
