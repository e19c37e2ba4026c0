"""Folds a slice of a lane into what has to be written. Pure: no Redis, no Postgres, no clock.

Entries come in the order in which they were accepted; of each item the newest version stays, and the last one within a
batch. Delivered twice or in another order, the same entries fold to the same rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from shared.log_levels import STORED_LEVELS
from shared.request_id import position_of_entry
from shared.submission import EMPTY_OBJECT, Entry, Item, ItemsBody, LogBody

_ITEMS: Final = msgspec.json.Decoder(ItemsBody)
_LOG: Final = msgspec.json.Decoder(LogBody)
_WEBHOOK: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_STRING: Final = msgspec.json.Decoder(str)

#: connector, stream, id: rows are written in this order by every drain, so that two of them can't deadlock.
ItemKey = tuple[int, str, str]
#: connector, version, index within the submission: an entry appears once, however often it is delivered.
LogKey = tuple[int, int, int]


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
class LogRow:
    """One log entry."""

    #: As stored: trace, debug, info, warn, error or fatal.
    level: str
    message: str
    #: RFC 3339; None: the time of receipt, which is in the version.
    timestamp: str | None
    context: msgspec.Raw


@dataclass(frozen=True, slots=True)
class Receipt:
    """One submission of a slice."""

    connector_id: int
    version: int
    kind: str
    #: What its sender was told: items or entries received.
    received: int


@dataclass(slots=True)
class Slice:
    """What has to be written for some entries of one lane."""

    lane: int
    items: dict[ItemKey, ItemRow] = field(default_factory=dict)
    logs: dict[LogKey, LogRow] = field(default_factory=dict)
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
        version = position_of_entry(lane, entry.accepted_as).version
        _fold_entry(result, entry, version)
        result.receipts.append(Receipt(entry.connector_id, version, entry.meta.kind, entry.count))
        known = result.last_versions.get(entry.connector_id, 0)
        result.last_versions[entry.connector_id] = max(known, version)
    return result


def _fold_entry(result: Slice, entry: Entry, version: int) -> None:
    """Adds what one submission brought. A heartbeat brings nothing: it says that its connector lives."""
    try:
        if entry.meta.kind == "items":
            _fold_items(result, entry, version)
        elif entry.meta.kind == "log":
            _fold_log(result, entry, version)
        elif entry.meta.kind == "webhook":
            _fold_webhook(result, entry, version)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError) as fault:
        raise UnreadableEntryError(str(fault)) from fault


def _fold_items(result: Slice, entry: Entry, version: int) -> None:
    batch = _ITEMS.decode(entry.body)
    for item in batch.items:
        _keep_newest(result.items, (entry.connector_id, batch.stream, item.id), _row(item, version))


def _fold_log(result: Slice, entry: Entry, version: int) -> None:
    batch = _LOG.decode(entry.body)
    for index, one in enumerate(batch.entries):
        row = LogRow(STORED_LEVELS[one.level.lower()], one.message, one.timestamp, one.context)
        result.logs[entry.connector_id, version, index] = row


def _fold_webhook(result: Slice, entry: Entry, version: int) -> None:
    members = {name: bytes(value) for name, value in _WEBHOOK.decode(entry.body).items()}
    item_id = _text(members[entry.meta.id_field])
    name = members.get("name", b"")
    row = ItemRow(version, _text(name) if name.startswith(b'"') else None, _flattened(members), EMPTY_OBJECT)
    _keep_newest(result.items, (entry.connector_id, entry.meta.stream, item_id), row)


def _keep_newest(items: dict[ItemKey, ItemRow], key: ItemKey, row: ItemRow) -> None:
    known = items.get(key)
    if known is None or known.version <= row.version:
        items[key] = row


def _row(item: Item, version: int) -> ItemRow:
    return ItemRow(version, item.name, item.fields, item.tags)


def _flattened(members: dict[str, bytes]) -> msgspec.Raw:
    """An object of primitives: nested members become strings that hold their exact source text."""
    return msgspec.Raw(
        msgspec.json.encode(
            {name: value.decode() if value[:1] in b"{[" else msgspec.Raw(value) for name, value in members.items()}
        )
    )


def _text(value: bytes) -> str:
    """A string's characters; of another primitive its JSON text."""
    return _STRING.decode(value) if value.startswith(b'"') else value.decode()
