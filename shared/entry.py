"""The wire format between the two sides: an entry of a lane's stream, and the shapes of the bodies in it.

An entry holds the body's own bytes, as validated by the API and never rewritten. `Entry` is the only place that names
a stream field. The body shapes here are for reading what was already validated, so they are as lax and as fast as can
be: field values stay the JSON text that came.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

import msgspec

Kind = Literal["items", "log", "heartbeat", "webhook"]

#: What the count of a kind is called in answers; a heartbeat counts nothing.
COUNTED: Final[dict[str, str]] = {"items": "itemsReceived", "log": "entriesReceived", "webhook": "itemsReceived"}

#: What an entry takes in Redis beside its body, roughly: id, field names, meta, listpack and index overhead.
_ENTRY_OVERHEAD_BYTES: Final = 256

EMPTY_OBJECT: Final = msgspec.Raw(b"{}")


class Meta(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """How an entry's body is to be read."""

    #: Which route took it. An entry that no process of ours has written is unreadable: it can only be put aside.
    kind: Kind | Literal["unreadable"]
    #: Of a webhook: the stream of its path, and the member that holds the item's id.
    stream: str = ""
    id_field: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One accepted submission in its lane."""

    #: The stream entry's id, by which Redis settles it.
    entry_id: str
    connector_id: int
    meta: Meta
    #: What its sender was told that was received: items or entries.
    count: int
    #: The request's body, decompressed.
    body: bytes
    #: Written by `ingestctl dead retry` of a version that appended dead letters to the stream, under a new id: its
    #: letter is still in Postgres, and this copy must never be applied.
    is_old_retry: bool = False

    @property
    def cost(self) -> int:
        """Bytes that this entry counts in the backlog."""
        return backlog_cost(self.body)

    @classmethod
    def decode(cls, entry_id: bytes, fields: list[bytes]) -> Entry:
        """From what the stream holds: the fields that the append script wrote.

        An entry that somebody put there by hand, with other fields, comes whole as an unreadable body: it must not stop
        its lane.
        """
        try:
            return cls._of_fields(entry_id.decode(), dict(zip(fields[::2], fields[1::2], strict=True)))
        except (KeyError, ValueError, msgspec.DecodeError):
            return cls(entry_id.decode(), 0, Meta("unreadable"), 0, b"\n".join(fields))

    @classmethod
    def _of_fields(cls, entry_id: str, values: dict[bytes, bytes]) -> Entry:
        connector_id, count = int(values[b"c"]), int(values[b"n"])
        if not (0 < connector_id < 1 << 63 and 0 <= count < 1 << 31):
            raise ValueError("no process of ours has written this")
        return cls(entry_id, connector_id, decode_meta(values[b"m"]), count, values[b"b"], b"o" in values)


def backlog_cost(body: bytes) -> int:
    """Bytes that an entry with this body counts in the backlog, when it is appended and when it is settled."""
    return len(body) + _ENTRY_OVERHEAD_BYTES


def encode_meta(meta: Meta) -> bytes:
    """Meta as the stream holds it."""
    return msgspec.json.encode(meta)


@lru_cache(maxsize=1024)
def decode_meta(data: bytes) -> Meta:
    """Meta from what the stream holds."""
    return msgspec.json.decode(data, type=Meta)


class Item(msgspec.Struct, gc=False):
    """One item of a batch. `fields` and `tags` are the JSON text that came."""

    id: str
    name: str | None = None
    fields: msgspec.Raw = EMPTY_OBJECT
    tags: msgspec.Raw = EMPTY_OBJECT


class ItemsBody(msgspec.Struct, gc=False):
    """The body of POST /api/ingest."""

    stream: str
    items: list[Item]


class LogEntry(msgspec.Struct, gc=False):
    """One log entry. `context` is the JSON text that came."""

    level: str
    message: str
    #: RFC 3339; none: the time of receipt.
    timestamp: str | None = None
    context: msgspec.Raw = EMPTY_OBJECT


class LogBody(msgspec.Struct, gc=False):
    """The body of POST /api/ingest/log."""

    entries: list[LogEntry]
