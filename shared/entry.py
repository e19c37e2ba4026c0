"""The wire format between the two sides: an entry of a lane's stream.

An entry holds the body's own bytes, as validated by the API and never rewritten; of a heartbeat, none. `Entry` is the
only place that names a stream field.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import msgspec

from shared.kinds import KINDS

#: Kind of an entry that no process of ours has written: it can only be dead-lettered.
UNREADABLE: Final = "unreadable"
#: Bytes that an entry takes in Redis beside its body, roughly: id, field names, meta, listpack and index overhead.
_ENTRY_OVERHEAD_BYTES: Final = 256


class Meta(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """How to read an entry's body."""

    #: The name of a kind in `shared.kinds`, or UNREADABLE.
    kind: str
    #: Of a webhook: the stream in its path, and where the item's id is (`shared/json_pointer.py`).
    stream: str = ""
    id_field: str = ""
    #: The span of the append, for those of the worker: set if traces are on. Workers of former versions ignore it.
    traceparent: str = ""


class QueuedEntry(msgspec.Struct, frozen=True):
    """What `find_entry.lua` returns of an entry that waits in its lane."""

    connector_id: int
    kind: str
    count: int

    @classmethod
    def decode(cls, fields: Sequence[bytes] | None) -> QueuedEntry | None:
        """Return None if there is no entry, or one that no process of ours has written."""
        if not fields:
            return None
        connector, meta, count = fields
        try:
            return cls(int(connector), decode_meta(meta).kind, int(count))
        except (ValueError, msgspec.DecodeError):
            return None


@dataclass(frozen=True, slots=True)
class Entry:
    """One accepted submission in its lane."""

    #: The stream entry's id, by which Redis settles it.
    entry_id: str
    connector_id: int
    meta: Meta
    #: Count reported to the client in the 202: items or entries.
    count: int
    #: The request's body, decompressed.
    body: bytes
    #: Written by `ingestctl dead retry` of a version that appended dead letters to the stream, under a new id: its
    #: letter is still in Postgres, and this copy must never be applied.
    is_old_retry: bool = False
    #: A retain that an operator has allowed to remove any number of items.
    bound_lifted: bool = False

    @property
    def cost(self) -> int:
        """Bytes that this entry counts in the backlog."""
        return backlog_cost(self.body)

    @classmethod
    def decode(cls, entry_id: bytes, fields: list[bytes]) -> Entry:
        """Return an entry from the fields that the append script wrote.

        An entry with other fields, which an operator may have added by hand, becomes an unreadable one with all of
        them as its body: it must not stop its lane.
        """
        try:
            return cls._of_fields(entry_id.decode(), dict(zip(fields[::2], fields[1::2], strict=True)))
        except (KeyError, ValueError, msgspec.DecodeError):
            return cls(entry_id.decode(), 0, Meta(UNREADABLE), 0, b"\n".join(fields))

    @classmethod
    def _of_fields(cls, entry_id: str, values: dict[bytes, bytes]) -> Entry:
        connector_id, count = int(values[b"c"]), int(values[b"n"])
        meta = decode_meta(values[b"m"])
        fits = 0 < connector_id < 1 << 63 and 0 <= count < 1 << 31
        if not fits or meta.kind not in KINDS or "\0" in meta.stream + meta.id_field + meta.traceparent:
            raise ValueError("no process of ours has written this")
        return cls(entry_id, connector_id, meta, count, values[b"b"], b"o" in values)


def backlog_cost(body: bytes) -> int:
    """Return the bytes that an entry with this body counts in the backlog, when appended and when settled."""
    return len(body) + _ENTRY_OVERHEAD_BYTES


def encode_meta(meta: Meta) -> bytes:
    """Return meta as the stream holds it."""
    return msgspec.json.encode(meta)


@lru_cache(maxsize=1024)
def decode_meta(data: bytes) -> Meta:
    """Return meta from what the stream holds."""
    return msgspec.json.decode(data, type=Meta)
