"""Folds a slice of a lane into what has to be written. Pure: no Redis, no Postgres, no clock.

Entries come in the order in which they were accepted; of each item the newest version stays, and the last one within a
batch. What a slice comes to is handed out in parts of some twenty thousand rows, each folded only when it is asked for,
so that a body of millions of items takes no more memory than its text. Parts come in order too: what a later part says
of an item is newer, but for the retry of a dead letter, which the version guard of the write stops.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

import msgspec

from shared.entry import Entry, Item, ItemsBody, LogEntry
from shared.log_levels import STORED_LEVELS
from shared.request_id import position_of_entry
from workers.json_chunks import PIECE_BYTES, pieces

#: A part ends at so many rows, or so many bytes of bodies: what one statement holds.
PART_ROWS: Final = 20_000
PART_BYTES: Final = 8_388_608

_ITEMS: Final = msgspec.json.Decoder(ItemsBody)
_ITEM_LIST: Final = msgspec.json.Decoder(list[Item])
_LOG_LIST: Final = msgspec.json.Decoder(list[LogEntry])
_WEBHOOK: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_STRING: Final = msgspec.json.Decoder(str)

#: The rows of one statement share a connector and a stream far more often than not.
Group = tuple[int, str]
#: An item and the version that brought it.
Versioned = tuple[int, Item]


class UnreadableEntryError(Exception):
    """The body is not what its route accepts: it can never be applied."""


class _ItemsOutline(msgspec.Struct, gc=False):
    """A batch whose items are left as text."""

    stream: str
    items: msgspec.Raw


class _LogOutline(msgspec.Struct, gc=False):
    """A log submission whose entries are left as text."""

    entries: msgspec.Raw


_ITEMS_OUTLINE: Final = msgspec.json.Decoder(_ItemsOutline)
_LOG_OUTLINE: Final = msgspec.json.Decoder(_LogOutline)


class LogRow(msgspec.Struct, frozen=True, gc=False):
    """One log entry. Connector, version and index within the submission are its key."""

    connector_id: int
    version: int
    index: int
    #: As stored: trace, debug, info, warn, error or fatal.
    level: str
    message: str
    #: RFC 3339; None: the time of receipt, which is in the version.
    timestamp: str | None
    context: msgspec.Raw


@dataclass(slots=True)
class Receipt:
    """One submission of a slice."""

    connector_id: int
    version: int
    kind: str
    #: What its sender was told: items or entries received.
    received: int
    #: Of these, how many are not written, since a newer state of the same item is.
    superseded: int = 0


@dataclass(slots=True)
class Part:
    """Rows that are written together."""

    items: dict[Group, dict[str, Versioned]] = field(default_factory=dict)
    logs: list[LogRow] = field(default_factory=list)
    #: How much was put in, merged or not.
    rows: int = 0
    bytes: int = 0

    @property
    def is_full(self) -> bool:
        """Whether the next rows belong into another part."""
        return self.rows >= PART_ROWS or self.bytes >= PART_BYTES


class Slice:
    """What some entries of one lane come to."""

    def __init__(self, lane: int, entries: Iterable[Entry]) -> None:
        self.lane = lane
        self._entries = [(entry, version_of(lane, entry)) for entry in entries]
        #: By version. What a receipt says is superseded is known once all parts were taken.
        self.receipts = {
            version: Receipt(entry.connector_id, version, entry.meta.kind, entry.count)
            for entry, version in self._entries
        }

    @property
    def highest_version(self) -> int:
        """Highest version among the entries; 0 where there are none."""
        return max(self.receipts, default=0)

    @property
    def last_versions(self) -> dict[int, int]:
        """Highest version of each connector: its last sign of life."""
        last: dict[int, int] = {}
        for receipt in self.receipts.values():
            last[receipt.connector_id] = max(last.get(receipt.connector_id, 0), receipt.version)
        return last

    def parts(self) -> Iterator[Part]:
        """The rows, in parts. Raises UnreadableEntryError."""
        part = Part()
        for entry, version in self._entries:
            try:
                for piece in _pieces(entry):
                    self._add(part, entry.connector_id, version, piece)
                    if part.is_full:
                        yield part
                        part = Part()
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError) as fault:
                raise UnreadableEntryError(str(fault)) from fault
        if part.rows:
            yield part

    def _add(self, part: Part, connector_id: int, version: int, piece: _Piece) -> None:
        part.rows += len(piece.items) + len(piece.logs)
        part.bytes += piece.bytes
        if piece.items:
            self._keep_newest(part.items.setdefault((connector_id, piece.stream), {}), version, piece.items)
        for index, one in enumerate(piece.logs, piece.first_index):
            level = STORED_LEVELS[one.level.lower()]
            part.logs.append(LogRow(connector_id, version, index, level, one.message, one.timestamp, one.context))

    def _keep_newest(self, group: dict[str, Versioned], version: int, items: list[Item]) -> None:
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
    """The version that an entry's writes carry."""
    return position_of_entry(lane, entry.entry_id).version


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of one submission's rows. A heartbeat has none: it says that its connector lives."""

    bytes: int
    stream: str = ""
    items: list[Item] = field(default_factory=list)
    logs: list[LogEntry] = field(default_factory=list)
    #: Place of the first log entry in its submission.
    first_index: int = 0


def _pieces(entry: Entry) -> Iterator[_Piece]:
    """What one submission brought."""
    if entry.meta.kind == "items":
        yield from _item_pieces(entry.body)
    elif entry.meta.kind == "log":
        yield from _log_pieces(entry.body)
    elif entry.meta.kind == "webhook":
        yield _Piece(len(entry.body), entry.meta.stream, [_webhook_item(entry)])
    elif entry.meta.kind == "unreadable":
        raise UnreadableEntryError("The entry has other fields than an accepted submission's.")


def _item_pieces(body: bytes) -> Iterator[_Piece]:
    if len(body) <= PIECE_BYTES:
        batch = _ITEMS.decode(body)
        yield _Piece(len(body), batch.stream, batch.items)
        return
    outline = _ITEMS_OUTLINE.decode(body)
    for text_bytes, items in pieces(outline.items, _ITEM_LIST):
        yield _Piece(text_bytes, outline.stream, items)


def _log_pieces(body: bytes) -> Iterator[_Piece]:
    index = 0
    for text_bytes, logs in pieces(_LOG_OUTLINE.decode(body).entries, _LOG_LIST):
        yield _Piece(text_bytes, logs=logs, first_index=index)
        index += len(logs)


def _webhook_item(entry: Entry) -> Item:
    members = {name: bytes(value) for name, value in _WEBHOOK.decode(entry.body).items()}
    item_id = _text(members[entry.meta.id_field])
    name = members.get("name", b"")
    return Item(item_id, _text(name) if name.startswith(b'"') else None, _flattened(members))


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
