"""Decode submissions for the fold, by the declarations of their kinds.

The bodies were validated when they were accepted, so the types here are as lax and as fast as possible: values of
objects stay the JSON text that came. A long body is decoded a chunk at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, reduce
from typing import Any, Final

import msgspec

from shared import json_pointer
from shared.entry import UNREADABLE, Entry
from shared.json_chunks import BETWEEN_STRINGS, CHUNK_BYTES, chunks
from shared.kinds import KINDS
from shared.kinds.items import ITEM
from shared.kinds.retain import BATCH as RETAIN
from shared.kinds.shapes import AnyObject, Flag, Kind, OneItem, Primitives, Property, Shape, Text, WholeNumber

EMPTY_OBJECT: Final = msgspec.Raw(b"{}")
_WEBHOOK: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_STRING: Final = msgspec.json.Decoder(str)


class UnreadableEntryError(Exception):
    """The body is not what its route accepts: it can never be applied."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of one submission's elements."""

    kind: Kind
    #: Bytes of the source text.
    bytes: int
    elements: list[Any] = field(default_factory=list)
    #: Of items.
    stream: str = ""
    #: Place of the first element in its submission.
    first_index: int = 0


@dataclass(frozen=True, slots=True)
class Retain:
    """The items that a stream keeps."""

    stream: str
    #: How many others may be removed; None: any number.
    at_most: int | None
    #: Yields the ids, some at a time, from the first on at each call.
    ids: Callable[[], Iterator[list[str]]]


def kind_of(entry: Entry) -> Kind:
    """Return the kind of a submission. Raises UnreadableEntryError."""
    if entry.meta.kind == UNREADABLE:
        raise UnreadableEntryError("The entry has other fields than an accepted submission's.")
    return KINDS[entry.meta.kind]


def retain_of(entry: Entry) -> Retain:
    """Decode a retain, but for its ids. Raises an error of msgspec, as `ids` does."""
    batch = _outline(RETAIN).decode(entry.body)

    def ids() -> Iterator[list[str]]:
        return (some for _, some in chunks(batch.ids, _elements(RETAIN).decode, between=BETWEEN_STRINGS))

    return Retain(batch.stream, None if entry.bound_lifted else batch.atMost, ids)


def pieces_of(entry: Entry) -> Iterator[Piece]:
    """Yield the elements of a submission, which is no retain. Raises UnreadableEntryError or an error of msgspec."""
    kind = kind_of(entry)
    match kind.body:
        case AnyObject():
            return  # a sign of life, which has no rows
        case OneItem():
            yield Piece(kind, len(entry.body), [_webhook_item(entry)], entry.meta.stream)
        case Shape():
            yield from _batch_pieces(kind, kind.body, entry.body)


def _batch_pieces(kind: Kind, batch: Shape, body: bytes) -> Iterator[Piece]:
    name, _ = batch.elements
    if len(body) <= CHUNK_BYTES:
        whole = _whole(batch).decode(body)
        yield Piece(kind, len(body), getattr(whole, name), getattr(whole, "stream", ""))
        return
    outline = _outline(batch).decode(body)
    stream, index, start = getattr(outline, "stream", ""), 0, 0
    for end, elements in chunks(getattr(outline, name), _elements(batch).decode):
        yield Piece(kind, end - start, elements, stream, index)
        index, start = index + len(elements), end


@cache
def element_type(shape: Shape) -> type[Any]:
    """Return the struct of a shape's elements: strings, and the JSON text of objects."""
    fields: list[Any] = []
    for name, one in shape.properties.items():
        if isinstance(one, Primitives):
            fields.append((name, msgspec.Raw, EMPTY_OBJECT))
        elif isinstance(one, Flag):
            fields.append((name, bool, False))
        else:
            fields.append(_scalar(name, one))
    return msgspec.defstruct(shape.component, sorted(fields, key=len), gc=False)


def _scalar(name: str, one: Property) -> tuple[Any, ...]:
    kind: Any = int if isinstance(one, WholeNumber) else str
    return (name, kind) if one.required else (name, kind | None, None)


@cache
def _whole(batch: Shape) -> msgspec.json.Decoder[Any]:
    return _batch_decoder(batch, _array(batch))


@cache
def _outline(batch: Shape) -> msgspec.json.Decoder[Any]:
    """Return a decoder that leaves the elements as text."""
    return _batch_decoder(batch, msgspec.Raw)


@cache
def _elements(batch: Shape) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(_array(batch))


def _array(batch: Shape) -> Any:
    _, elements = batch.elements
    array: Any = list
    return array[str if isinstance(elements.shape, Text) else element_type(elements.shape)]


def _batch_decoder(batch: Shape, elements: Any) -> msgspec.json.Decoder[Any]:
    name, _ = batch.elements
    fields = [(name, elements) if other == name else _scalar(other, one) for other, one in batch.properties.items()]
    return msgspec.json.Decoder(msgspec.defstruct(batch.component, fields, gc=False))


def _webhook_item(entry: Entry) -> Any:
    members = {name: bytes(value) for name, value in _WEBHOOK.decode(entry.body).items()}
    name = members.get("name", b"")
    first, *steps = json_pointer.parse(entry.meta.id_field)
    item_id = bytes(reduce(json_pointer.step, steps, msgspec.Raw(members[first])))
    return element_type(ITEM)(
        id=_text(item_id),
        name=_text(name) if name.startswith(b'"') else None,
        fields=_flattened(members),
    )


def _flattened(members: dict[str, bytes]) -> msgspec.Raw:
    """Return an object of primitives: nested members become strings that hold their exact source text."""
    return msgspec.Raw(
        msgspec.json.encode(
            {name: value.decode() if value[:1] in b"{[" else msgspec.Raw(value) for name, value in members.items()}
        )
    )


def _text(value: bytes) -> str:
    """Return a string's characters; of another primitive its JSON text."""
    return _STRING.decode(value) if value.startswith(b'"') else value.decode()
