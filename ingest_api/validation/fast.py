r"""Whether a body may be accepted: the fast way to say yes, in front of the exact one that also says why not.

Nearly every body is right, so msgspec decodes it into the shape that it should have, in less than a microsecond an
item, and the result is thrown away: what is kept is the body itself. A yes is said only to what `explain` passes too;
where this can't say it, `explain` decides, which costs time but nothing else.

What a typed decode doesn't see, cheap looks at the bytes make sure of:

- Long numbers: a decimal of 1,001 characters can't hide from ten neighbouring samples, one taken every 100 bytes. Where
  samples fall in step with rows of one length, a search says whether there really is one.
  Exponents reach `_take_number`: msgspec calls it for each literal that is not an integer, shadowed or not. That the
  numbers of a context have too many digits together takes more text than is looked at here (`MAX_CONTEXT_DIGITS`).
- U+0000: where the source has no `\u0000`, there is none.
- Nested values, which `Any` lets pass, shadowed or not: the braces and brackets of the source are counted. Where
  strings hold some too, the source is decoded once more, as primitives only.
- Sizes are in bytes, but msgspec counts characters. In ASCII without a backslash they agree; elsewhere only what is
  right at four bytes a character gets a yes. No value is longer than its source text, and source texts looked at
  here are shorter than one value may be.

A body over a quarter of a megabyte is walked by `explain`, which asks here for its elements a chunk at a time. So no
body becomes a tree of Python objects, and a wrong item costs the exact walk of its chunk, not of the body.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ingest_api.validation import exact as explain
from ingest_api.validation.json_text import digits_in_plain_form
from ingest_api.validation.timestamps import is_timestamp
from shared.limits import (
    MAX_FIELDS,
    MAX_ID_BYTES,
    MAX_KEY_BYTES,
    MAX_NAME_BYTES,
    MAX_NUMBER_DIGITS,
    MAX_STREAM_CHARACTERS,
    MAX_TAGS,
)
from shared.log_levels import STORED_LEVELS

#: Source text that is decoded at once, and that may be where no element ends in time: the longer the chunk, the less
#: it costs a byte and the more memory its objects take, ten to twenty times its length at the very worst.
_CHUNK_BYTES: Final = 262_144
_LONGEST_CHUNK_BYTES: Final = 1_048_576
_SAMPLED_EVERY: Final = 100
_SAMPLED_LONG_NUMBER: Final = re.compile(rb"[0-9.]{%d}" % (MAX_NUMBER_DIGITS // _SAMPLED_EVERY))
#: Begins only where a run of digits does, or a body full of long numbers would be searched from each digit anew.
_LONG_NUMBER: Final = re.compile(rb"(?<![0-9.])[0-9.]{%d}" % (MAX_NUMBER_DIGITS + 1))
#: Where one object of an array may end and the next begin: a string may hold this too, but then the chunk up to
#: here does not decode, since a text that does is read the same way by whoever reads on.
_BETWEEN_OBJECTS: Final = re.compile(rb"\}[ \t\r\n]*+,[ \t\r\n]*+\{")
_WHITE_SPACE: Final = b" \t\r\n"
#: Bytes that a character may take in UTF-8.
_WIDEST: Final = 4

_STREAM: Final = rf"^[A-Za-z0-9._:-]{{1,{MAX_STREAM_CHARACTERS}}}\Z"
_LEVEL: Final = rf"^(?ai:{'|'.join(STORED_LEVELS)})\Z"


def validate_items(body: bytes) -> int:
    """Refuses a body that is not a batch of items; the number of its items."""
    if len(body) <= _CHUNK_BYTES and (count := ITEMS.count(body)) is not None:
        return count
    return explain.judge_items(body, ITEMS.leap)


def validate_log_entries(body: bytes) -> int:
    """Refuses a body that is not a log submission; the number of its entries."""
    if len(body) <= _CHUNK_BYTES and (count := ENTRIES.count(body)) is not None:
        return count
    return explain.judge_log_entries(body, ENTRIES.leap)


def validate_heartbeat(body: bytes) -> None:
    """Refuses a body that is neither empty nor a JSON object."""
    if body.strip(_WHITE_SPACE) not in (b"", b"{}"):
        explain.judge_heartbeat(body)


def validate_webhook(body: bytes, id_field: str) -> None:
    """Refuses a body that is not one webhook item whose id is in the member `id_field`."""
    # No fast way: the exact one takes as long as a decode and a look at every member would.
    explain.judge_webhook(body, id_field)


def validate_configuration(body: bytes) -> str:
    """Refuses a body that does not hold a configuration; the configuration."""
    return explain.judge_configuration(body)


def validate_stream(stream: str) -> None:
    """Refuses a stream's name, as given in a webhook's path."""
    explain.judge_stream(stream, None)


_Primitive = str | int | float | bool | None


class Timestamp:
    """Stands in a decoded entry for a timestamp that was found right."""


_Id = TypeVar("_Id")
_Name = TypeVar("_Name")
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")
_Element = TypeVar("_Element")


class _Item(msgspec.Struct, Generic[_Id, _Name, _Key, _Value], forbid_unknown_fields=True, gc=False):
    id: _Id
    name: _Name | None = None
    fields: Annotated[dict[_Key, _Value], Meta(max_length=MAX_FIELDS)] | UnsetType = UNSET
    tags: Annotated[dict[_Key, _Value], Meta(max_length=MAX_TAGS)] | UnsetType = UNSET


class _ItemBatch(msgspec.Struct, Generic[_Element], forbid_unknown_fields=True, gc=False):
    stream: Annotated[str, Meta(pattern=_STREAM)]
    elements: list[_Element] = msgspec.field(name="items")


class _Entry(msgspec.Struct, Generic[_Key, _Value], forbid_unknown_fields=True, gc=False):
    level: Annotated[str, Meta(pattern=_LEVEL)]
    message: str
    timestamp: Timestamp | UnsetType = UNSET
    context: dict[_Key, _Value] | UnsetType = UNSET


class _EntryBatch(msgspec.Struct, Generic[_Element], forbid_unknown_fields=True, gc=False):
    elements: list[_Element] = msgspec.field(name="entries")


def _item_types(width: int) -> tuple[Any, Any]:
    """Items with any values and with primitives, where a character may take `width` bytes."""
    identifier = Annotated[str, Meta(min_length=1, max_length=MAX_ID_BYTES // width)]
    name = Annotated[str, Meta(max_length=MAX_NAME_BYTES // width)]
    key = Annotated[str, Meta(min_length=1, max_length=MAX_KEY_BYTES // width)]
    return _Item[identifier, name, key, Any], _Item[identifier, name, key, _Primitive]


def _entry_types(width: int) -> tuple[Any, Any]:
    """Log entries with any context and with primitives, where a character may take `width` bytes."""
    key = Annotated[str, Meta(min_length=1, max_length=MAX_KEY_BYTES // width)]
    return _Entry[key, Any], _Entry[key, _Primitive]


def _objects_in_items(items: list[Any]) -> int:
    unset = UNSET  # local, as this runs for each item of each batch
    objects = len(items)
    for item in items:
        objects += (item.fields is not unset) + (item.tags is not unset)
    return objects


def _objects_in_entries(entries: list[Any]) -> int:
    return len(entries) + sum(entry.context is not UNSET for entry in entries)


def _take_number(literal: str) -> None:
    if ("e" in literal or "E" in literal) and digits_in_plain_form(literal) > MAX_NUMBER_DIGITS:
        raise ValueError("left to the exact path")


def _may_hold_long_number(source: bytes) -> bool:
    if len(source) <= MAX_NUMBER_DIGITS or not _SAMPLED_LONG_NUMBER.search(source[::_SAMPLED_EVERY]):
        return False
    return _LONG_NUMBER.search(source) is not None


def _take_timestamp(kind: type, value: object) -> object:
    if kind is Timestamp and isinstance(value, str) and is_timestamp(value):
        return kind()
    raise ValueError("left to the exact path")


class _Decoders:
    """Decoders of one source text: as it should be with any values (numbers are judged), or with primitives only."""

    def __init__(self, anything: Any, primitives: Any) -> None:
        self.anything = msgspec.json.Decoder(anything, float_hook=_take_number, dec_hook=_take_timestamp)
        self.primitives = msgspec.json.Decoder(primitives, dec_hook=_take_timestamp)


class _Yes:
    """Says yes to batches of one type of element, or nothing."""

    def __init__(
        self, batch: Any, types: Callable[[int], tuple[Any, Any]], objects_in: Callable[[list[Any]], int]
    ) -> None:
        """`types` are the element's; `objects_in` counts the objects that elements are made of."""
        self._objects_in = objects_in
        #: The type of a batch in which a character is a byte, for whoever describes it.
        self.batch_type = batch[types(1)[1]]
        array: Any = list
        # By the bytes that a character may take.
        self._batches = {width: _Decoders(*(batch[element] for element in types(width))) for width in (1, _WIDEST)}
        self._arrays = {width: _Decoders(*(array[element] for element in types(width))) for width in (1, _WIDEST)}

    def count(self, body: bytes) -> int | None:
        """The number of elements of a batch that is sure to be right; None of any other."""
        return self._count(body, self._batches, objects_around=1)

    def leap(self, body: bytes, start: int, reach: int = _CHUNK_BYTES) -> tuple[int, int]:
        """How many elements from `start` on are sure to be right, and where they end (see `explain.Leap`)."""
        cut = _BETWEEN_OBJECTS.search(body, start + reach)
        # Without a cut these may be the last elements, if the array is the last member.
        end = 1 + (cut.start() if cut else body.rfind(b"}", start, max(body.rfind(b"]"), start)))
        count = 0
        if 0 < end - start <= _LONGEST_CHUNK_BYTES:
            # As an array of its own: put into a batch, a chunk could close the array and open another one.
            count = self._count(b"[%b]" % body[start:end], self._arrays, objects_around=0) or 0
        return count, end if cut or count else len(body)

    def _count(self, source: bytes, decoders: dict[int, _Decoders], objects_around: int) -> int | None:
        escapes = b"\\" in source
        if _may_hold_long_number(source):
            return None
        if escapes and b"\\u0000" in source:
            return None
        decoder = decoders[_WIDEST if escapes or not source.isascii() else 1]
        try:
            decoded = decoder.anything.decode(source)
            elements = decoded.elements if objects_around else decoded
            objects = objects_around + self._objects_in(elements)
            if source.count(b"{") != objects or source.find(b"[", source.find(b"[") + 1) >= 0:
                decoder.primitives.decode(source)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return len(elements)


#: What `validate_items` and `validate_log_entries` ask first.
ITEMS: Final = _Yes(_ItemBatch, _item_types, _objects_in_items)
ENTRIES: Final = _Yes(_EntryBatch, _entry_types, _objects_in_entries)
