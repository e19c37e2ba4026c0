"""Fold a slice of a lane into the rows to write. Pure: no Redis, no Postgres, no clock.

Entries come in the order in which they were accepted; of each item the newest version stays, and the last one within a
batch. The result is handed out in parts of some twenty thousand rows, each folded only when it is asked for, so that a
body of millions of items takes no more memory than its text. Parts come in order too: a later part holds newer states,
except for the retry of a dead letter, which the version guard of the write stops. A retain's statements stand between
the parts with what was accepted before and after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from shared.entry import Entry
from shared.request_id import position_of_entry
from workers.decoding import Piece, UnreadableEntryError, kind_of, pieces_of, retain_of
from workers.retained import Statement, statements_of

#: Maximum size of a part, which one statement holds: rows, and bytes of bodies.
PART_ROWS: Final = 20_000
PART_BYTES: Final = 8_388_608

#: A row of a table to which a kind appends: connector, version, place in its submission, and the element.
AppendedRow = tuple[int, int, int, Any]
#: Connector and stream, which most rows of a statement share.
Group = tuple[int, str]
#: An item and the version that brought it.
Versioned = tuple[int, Any]


@dataclass(slots=True)
class Receipt:
    """One submission of a slice."""

    connector_id: int
    version: int
    kind: str
    #: Count reported to the client in the 202: items or entries.
    received: int
    #: How many of these are not written, since a newer state of the same item is.
    superseded: int = 0


@dataclass(slots=True)
class Part:
    """Rows that are written together."""

    items: dict[Group, dict[str, Versioned]] = field(default_factory=dict)
    #: By the table's kind.
    appended: dict[str, list[AppendedRow]] = field(default_factory=dict)
    #: Rows and bytes that were added, merged or not.
    rows: int = 0
    bytes: int = 0

    @property
    def is_full(self) -> bool:
        """Whether the next rows belong to another part."""
        return self.rows >= PART_ROWS or self.bytes >= PART_BYTES


class Slice:
    """The rows of some entries of one lane."""

    def __init__(self, lane: int, entries: Iterable[Entry]) -> None:
        self.lane = lane
        self._entries = [(entry, version_of(lane, entry)) for entry in entries]
        #: By version. `superseded` is complete once all parts were taken.
        self.receipts = {
            version: Receipt(entry.connector_id, version, entry.meta.kind, entry.count)
            for entry, version in self._entries
        }

    @property
    def highest_version(self) -> int:
        """Highest version among the entries; 0 if there are none."""
        return max(self.receipts, default=0)

    @property
    def last_versions(self) -> dict[int, int]:
        """Highest version of each connector: its last sign of life."""
        last: dict[int, int] = {}
        for receipt in self.receipts.values():
            last[receipt.connector_id] = max(last.get(receipt.connector_id, 0), receipt.version)
        return last

    def parts(self) -> Iterator[Part | Statement]:
        """Yield the rows, in parts, and the statements of retains between them. Raises UnreadableEntryError."""
        part = Part()
        for entry, version in self._entries:
            try:
                if kind_of(entry).retains:
                    retain = retain_of(entry)
                    if (entry.connector_id, retain.stream) in part.items:
                        yield part
                        part = Part()
                    yield from statements_of(retain, entry.connector_id, version)
                    continue
                for piece in pieces_of(entry):
                    self._add(part, entry.connector_id, version, piece)
                    if part.is_full:
                        yield part
                        part = Part()
            except (ValueError, RecursionError, KeyError) as error:
                raise UnreadableEntryError(str(error)) from error
        if part.rows:
            yield part

    def _add(self, part: Part, connector_id: int, version: int, piece: Piece) -> None:
        part.rows += len(piece.elements)
        part.bytes += piece.bytes
        if piece.kind.table is None:
            self._keep_newest(part.items.setdefault((connector_id, piece.stream), {}), version, piece.elements)
            return
        rows = part.appended.setdefault(piece.kind.name, [])
        rows += ((connector_id, version, index, one) for index, one in enumerate(piece.elements, piece.first_index))

    def _keep_newest(self, group: dict[str, Versioned], version: int, items: list[Any]) -> None:
        for item in items:
            known = group.get(item.id)
            if known is None:
                group[item.id] = version, item
            elif known[0] <= version:
                self.receipts[known[0]].superseded += 1
                group[item.id] = version, item
            else:
                self.receipts[version].superseded += 1


def version_of(lane: int, entry: Entry) -> int:
    """Return the version that an entry's writes carry."""
    return position_of_entry(lane, entry.entry_id).version
