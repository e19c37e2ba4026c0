"""The types that declarations make, as decoders: what msgspec decodes into them is right, but for what it doesn't see.

It counts characters where sizes are in bytes. In ASCII without a backslash they agree; elsewhere what is right at four
bytes a character may be accepted, or patterns measure the strings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import product
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ingest_api.validation.numbers import SHORTEST_LONG_NUMBER, digits_in_plain_form
from shared.kinds.shapes import Choice, Elements, Flag, Name, Primitives, Property, Shape, Text, Timestamp, WholeNumber
from shared.limits import MAX_KEY_BYTES, MAX_NUMBER_DIGITS, MAX_VALUE_BYTES

#: Bytes that a character may take in UTF-8.
WIDEST: Final = 4
#: Maximum bytes of an element that the fast way judges. No value in it is longer than values may be: none is measured.
LONGEST_SOURCE: Final = MAX_VALUE_BYTES
#: Any number of so few digits that needs no count, whatever its exponent of two digits.
_SHORT_NUMBER: Final = re.compile(r"[-.0-9]{1,900}(?:[eE][-+]?[0-9]{1,2})?").fullmatch


class Form(NamedTuple):
    """What a decoder makes of a text."""

    #: Bytes that a character may take.
    width: int
    #: Whether objects of primitives are built, and so their names and numbers judged, or passed over.
    built: bool


def decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """Return the decoder of a type."""
    return msgspec.json.Decoder(kind, float_hook=_take_number)


class _Passed(msgspec.Struct, gc=False):
    """Any object, of which nothing is built."""


def decode(decoder: msgspec.json.Decoder[Any], source: bytes) -> Any:
    """Return what a text is decoded into; None if it is no JSON, or not of the decoder's type."""
    try:
        return decoder.decode(source)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _take_number(literal: str) -> float:
    if len(literal) < SHORTEST_LONG_NUMBER:
        return 0.0  # not None, which would pass for null
    if _SHORT_NUMBER(literal) or digits_in_plain_form(literal.encode()) <= MAX_NUMBER_DIGITS:
        return 0.0
    raise ValueError("left to the exact validation")


def struct_of(name: str, properties: Mapping[str, Property], form: Form) -> Any:
    """Return the type of objects with these properties. Objects of primitives hold any values."""
    fields = [(name, *_field(one, form)) for name, one in properties.items()]
    fields.sort(key=len)  # those without a default first
    return msgspec.defstruct(name, fields, forbid_unknown_fields=True, gc=False)


def array_of(elements: Shape | Text, form: Form) -> Any:
    """Return the type of an array of elements."""
    if isinstance(elements, Text):
        return list[_type(elements, form)]  # type: ignore[misc]
    return list[struct_of(elements.component, elements.properties, form)]  # type: ignore[misc]


def _field(one: Property, form: Form) -> tuple[Any, ...]:
    kind = _type(one, form)
    return (kind,) if one.required else (kind | UnsetType, UNSET)


def _type(one: Property, form: Form) -> Any:
    match one:
        case Text():
            kind = _sized(one.min_bytes, one.max_bytes, form.width)
            return kind | None if one.null else kind
        case Primitives():
            members: Any = dict
            built = members[_sized(1, MAX_KEY_BYTES, form.width), Any]
            return Annotated[built, Meta(max_length=one.max_members)] if form.built else _Passed
        case Elements():
            return array_of(one.shape, form)
    return _scalar_type(one)


def _scalar_type(one: Property) -> Any:
    match one:
        case Name():
            return Annotated[str, Meta(pattern=rf"\A{one.characters}{{1,{one.max_characters}}}\Z")]
        case Choice():
            # Some hundred spellings, looked up in C.
            letters = (zip(word, word.upper(), strict=True) for word in one.stored)
            return Literal[tuple("".join(spelled) for pairs in letters for spelled in product(*pairs))]
        case Timestamp():
            return str
        case Flag():
            return bool
        case WholeNumber():
            return Annotated[int, Meta(ge=0, le=one.max)]
    raise AssertionError(f"no rule for {one}")


def _sized(least: int, most: int, width: int) -> Any:
    """Return the type of strings of so many bytes, each character of which may take so many."""
    if most >= LONGEST_SOURCE and not least:
        return str
    return Annotated[str, Meta(min_length=least, max_length=most // width)]
