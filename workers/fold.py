"""Folds a slice of a lane into what has to be written. Pure: no Redis, no Postgres, no clock.

Entries come in the order in which they were accepted; of each item the newest version stays, and the last one within a
batch. Delivered twice or in another order, the same entries fold to the same rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from shared.request_id import position_of_entry
from shared.submission import EMPTY_OBJECT, Entry, Item, ItemsBody

_ITEMS = msgspec.json.Decoder(ItemsBody)
_NULL = b"null"

#: connector, stream, id: rows are written in this order by every drain, so that two of them can't deadlock.
ItemKey = tuple[int, str, str]


class UnreadableEntryError(Exception):
    """The body is not what its route accepts: it can never be applied."""


@dataclass(frozen=True, slots=True)
class ItemRow:
    """The newest state of one item in a slice."""

    version: int
    name: str | None
    #: JSON text, as it came.
    fields: msgspec.Raw
    tags: msgspec.Raw


@dataclass(frozen=True, slots=True)
class Receipt:
    """One submission of a slice."""

    connector_id: int
    version: int
    kind: str
    #: What its sender was told: items received.
    received: int


@dataclass(slots=True)
class Slice:
    """What has to be written for some entries of one lane."""

    lane: int
    items: dict[ItemKey, ItemRow] = field(default_factory=dict)
    receipts: list[Receipt] = field(default_factory=list)
    #: Highest version of each connector: its last sign of life.
    last_versions: dict[int, int] = field(default_factory=dict)

    @property
    def highest_version(self) -> int:
        """Highest version among the entries; 0 where there are none."""
        return max(self.last_versions.values(), default=0)


def fold(lane: int, entries: Iterable[Entry]) -> Slice:
    """What `entries` of `lane` come to. Raises UnreadableEntryError."""
    result = Slice(lane)
    for entry in entries:
        version = position_of_entry(lane, entry.entry_id).version
        received = _fold_items(result.items, entry, version)
        result.receipts.append(Receipt(entry.connector_id, version, entry.meta.kind, received))
        known = result.last_versions.get(entry.connector_id, 0)
        result.last_versions[entry.connector_id] = max(known, version)
    return result


def _fold_items(items: dict[ItemKey, ItemRow], entry: Entry, version: int) -> int:
    try:
        batch = _ITEMS.decode(entry.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise UnreadableEntryError(str(fault)) from fault
    for item in batch.items:
        key = (entry.connector_id, batch.stream, item.id)
        known = items.get(key)
        if known is None or known.version <= version:
            items[key] = _row(item, version)
    return len(batch.items)


def _row(item: Item, version: int) -> ItemRow:
    return ItemRow(version, item.name, _object(item.fields), _object(item.tags))


def _object(text: msgspec.Raw) -> msgspec.Raw:
    """`null` stands for an object without members."""
    return EMPTY_OBJECT if bytes(text) == _NULL else text
