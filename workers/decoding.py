"""Decode submissions for the fold, by the declarations of their kinds.

The bodies were validated when they were accepted, so the types here are as lax and as fast as possible: values of
objects stay the JSON text that came. A long body is decoded a chunk at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, reduce
from typing import Any, Final

import msgspec

from shared import json_pointer
from shared.entry import UNREADABLE, Entry
from shared.json_chunks import CHUNK_BYTES, chunks
from shared.kinds import KINDS
from shared.kinds.items import ITEM
from shared.kinds.shapes import AnyObject, Kind, OneItem, Primitives, Shape

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


def pieces_of(entry: Entry) -> Iterator[Piece]:
    """Yield the elements of a submission. Raises UnreadableEntryError or an error of msgspec."""
    if entry.meta.kind == UNREADABLE:
        raise UnreadableEntryError("The entry has other fields than an accepted submission's.")
    kind = KINDS[entry.meta.kind]
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
        else:
            fields.append((name, str) if one.required else (name, str | None, None))
    return msgspec.defstruct(shape.component, sorted(fields, key=len), gc=False)


@cache
def _whole(batch: Shape) -> msgspec.json.Decoder[Any]:
    _, elements = batch.elements
    array: Any = list
    return _batch_decoder(batch, array[element_type(elements.shape)])


@cache
def _outline(batch: Shape) -> msgspec.json.Decoder[Any]:
    """Return a decoder that leaves the elements as text."""
    return _batch_decoder(batch, msgspec.Raw)


@cache
def _elements(batch: Shape) -> msgspec.json.Decoder[Any]:
    _, elements = batch.elements
    array: Any = list
    return msgspec.json.Decoder(array[element_type(elements.shape)])


def _batch_decoder(batch: Shape, elements: Any) -> msgspec.json.Decoder[Any]:
    name, _ = batch.elements
    fields = [(other, elements if other == name else str) for other in batch.properties]
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
