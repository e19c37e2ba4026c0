"""Exact validation: decides, and says what is wrong and where.

First comes what is wrong with the text as a whole (400), then the first error in the order of the text (409), but for
what is told of an object when all its members were seen: that one is missing, or may not stand beside another. Of a
property given twice the last one counts, as in every parser that reads the body after us, and the others are checked
like it; but a timestamp that is shadowed need only be a string.

The work is bounded, whatever a body holds. Of a batch only elements are looked at here that the fast validator can't
accept (`fault_search`). The walk of an object of primitives ends behind the last member that it may have. Of an object
with known properties the first members are walked; if more come, some property is given again and again. That is
refused: only the fast validator can tell that all are right, of an element of up to 5 MB. The parser in C finds the
last value of each, and if one of those is wrong, the first in the order of their declaration, it is told.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from ingest_api.errors import ApiError, ErrorCode
from ingest_api.validation.decoders import LONGEST_SOURCE
from ingest_api.validation.fast import fast_validator
from ingest_api.validation.fault_search import check_elements
from ingest_api.validation.json_source import NESTED, OVERLONG, Source, name_refusal
from ingest_api.validation.json_text import child_path, cut
from ingest_api.validation.timestamps import MAX_TIMESTAMP_CHARACTERS, is_timestamp
from ingest_api.validation.together import check_together
from shared.json_chunks import BETWEEN_OBJECTS, BETWEEN_STRINGS
from shared.kinds.shapes import Choice, Elements, Flag, Name, Primitives, Property, Shape, Text, Timestamp, WholeNumber
from shared.limits import MAX_KEY_BYTES, MAX_VALUE_BYTES

ROOT: Final = "$"
#: Members of an object with known properties that are walked; there are fewer unless some are given many times.
_WALKED: Final = 16
_UNKNOWN: Final = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
#: Of so few digits that the number is built at no cost.
_WHOLE_NUMBER: Final = re.compile(rb"-?0|[1-9][0-9]{0,18}")


def check_batch(body: bytes, batch: Shape) -> int:
    """Return the number of elements of a batch. Raises ApiError."""
    name, _ = batch.elements
    found: int = check_object(Source.parse(body), ROOT, batch)[name]
    return found


def check_object(source: Source, path: str, shape: Shape) -> dict[str, Any]:
    """Check the object at hand; return what the check of each property returned."""
    expect(source, path, "object")
    found, all_walked = _check_members(source, path, shape)
    for name, one in shape.properties.items():
        if one.required and name not in found:
            sentence = f"`{name}` is required in {shape.called}; add it."
            raise ApiError(ErrorCode.MISSING_PROPERTY, sentence, path=child_path(path, name))
    check_together(found, path, shape)
    if not all_walked:
        raise _repeated(shape, path)
    return found


def _check_members(source: Source, path: str, shape: Shape) -> tuple[dict[str, Any], bool]:
    """Check the members of the object at hand; return what was found, and whether all were looked at."""
    whole, depth = memoryview(source.body)[source.start : source.end], source.depth
    last_given = cache(lambda: _outline(shape, others=True).decode(whole))  # once, if a timestamp is wrong
    found: dict[str, Any] = {}
    for walked, name in enumerate(source.members(path, lambda place: _unknown(OVERLONG, shape, place))):
        if walked == _WALKED:
            if len(whole) > LONGEST_SOURCE or any(isinstance(one, Elements) for one in shape.properties.values()):
                raise _repeated(shape, path)
            return _check_last_given(whole, depth, path, shape), False
        place = child_path(path, name)
        one = _known(shape, name, place)
        try:
            found[name] = _check_property(source, place, shape, one)
        except ApiError as fault:
            is_wrong_time = isinstance(one, Timestamp) and fault.code == ErrorCode.INVALID_TIMESTAMP
            if not is_wrong_time or source.text == bytes(getattr(last_given(), name)):  # no later one takes its place
                raise
    return found, True


def _repeated(shape: Shape, path: str) -> ApiError:
    sentence = f"In {shape.called}, properties are repeated too often, or wrongly; send each once."
    return ApiError(ErrorCode.TOO_MANY_FIELDS, sentence, path=path)


def _known(shape: Shape, name: str, path: str) -> Property:
    if name not in shape.properties:
        raise _unknown(name, shape, path)
    return shape.properties[name]


def _unknown(name: str, shape: Shape, path: str) -> ApiError:
    sentence = f"`{cut(name)}` is not a property of {shape.called}; remove it or rename it to one of the documented."
    return ApiError(ErrorCode.UNKNOWN_PROPERTY, sentence, path=path)


def _check_last_given(whole: memoryview, depth: int, path: str, shape: Shape) -> dict[str, Any]:
    try:
        members = _outline(shape).decode(whole)
    except msgspec.ValidationError as error:
        # Of text that is JSON, and an object, only this can be wrong.
        name = _UNKNOWN.sub(r"\1", str(error))
        raise _unknown(name, shape, child_path(path, name)) from None
    found: dict[str, Any] = {}
    for name, one in shape.properties.items():
        if (value := getattr(members, name)) is not UNSET:
            last = Source(bytes(value), depth + 1)
            found[name] = _check_property(last, child_path(path, name), shape, one)
    return found


@cache
def _outline(shape: Shape, *, others: bool = False) -> msgspec.json.Decoder[Any]:
    """Return a decoder that keeps the text of each property. `others`: whether there may be others."""
    fields = [(name, msgspec.Raw | UnsetType, UNSET) for name in shape.properties]
    return msgspec.json.Decoder(msgspec.defstruct("Outline", fields, forbid_unknown_fields=not others))


def _check_property(source: Source, path: str, shape: Shape, one: Property) -> int | None:
    """Return the number of elements, if the property holds some; of a flag, whether it is set."""
    if isinstance(one, Elements):
        return _check_elements(source, path, shape, one)
    _CHECKS[type(one)](source, path, one)
    return source.text == b"true" if isinstance(one, Flag) else None


def _check_elements(source: Source, path: str, batch: Shape, one: Elements) -> int:
    expect(source, path, "array")

    def check(element: Source, place: str) -> None:
        if isinstance(one.shape, Text):
            _check_text(element, place, one.shape)
        else:
            check_object(element, place, one.shape)

    between = BETWEEN_STRINGS if isinstance(one.shape, Text) else BETWEEN_OBJECTS
    return check_elements(source, path, fast_validator(batch), check, between)


def _check_text(source: Source, path: str, one: Text) -> None:
    if one.null and source.kind == "null":
        return
    expect(source, path, "string", "string or null" if one.null else None)
    check_size(source.string_size(path), path, one)


def check_size(size: int, path: str, one: Text) -> None:
    """Check the size of a string in bytes."""
    if not one.min_bytes <= size <= one.max_bytes:
        sentence = one.message.format(min=one.min_bytes, max=one.max_bytes, size=size)
        raise ApiError(one.code, sentence, path=path, limit=one.max_bytes, observed=size)


def _check_name(source: Source, path: str, one: Name) -> None:
    expect(source, path, "string")
    text = source.short_string(path, one.max_characters)
    check_name(text, path, one, source.characters if len(text) > one.max_characters else None)


def check_name(text: str, path: str | None, one: Name, characters: int | None = None) -> None:
    """Check a string of certain characters. `characters`: how many there are, if `text` is only the beginning."""
    if re.fullmatch(rf"{one.characters}{{1,{one.max_characters}}}", text):
        return
    error = ApiError(one.code, one.message.format(max=one.max_characters), path=path)
    if len(text) > one.max_characters:
        error.limit, error.observed = one.max_characters, characters or len(text)
    raise error


def _check_choice(source: Source, path: str, one: Choice) -> None:
    expect(source, path, "string")
    if source.short_string(path, max(map(len, one.stored))).lower() not in one.stored:
        name = path.rpartition(".")[2]
        raise ApiError(one.code, f"`{name}` must be one of {', '.join(one.stored)}.", path=path)


def _check_timestamp(source: Source, path: str, _one: Timestamp) -> None:
    expect(source, path, "string")
    if not is_timestamp(source.short_string(path, MAX_TIMESTAMP_CHARACTERS)):
        sentence = (
            f"`{path.rpartition('.')[2]}` must be RFC 3339 with an offset of at most 15:59, of the years 0001 to 9999, "
            "such as `2026-04-09T11:08:00Z`; a second of 60 only at the end of a day of UTC."
        )
        raise ApiError(ErrorCode.INVALID_TIMESTAMP, sentence, path=path)


def _check_flag(source: Source, path: str, _one: Flag) -> None:
    expect(source, path, "boolean")


def _check_whole_number(source: Source, path: str, one: WholeNumber) -> None:
    expect(source, path, "number")
    if not _WHOLE_NUMBER.fullmatch(source.body, source.start, source.end) or int(source.text) > one.max:
        source.primitive_size(path)  # a number of too many digits is refused as such
        raise ApiError(one.code, one.message.format(max=one.max), path=path, limit=one.max)


def _check_primitives(source: Source, path: str, one: Primitives) -> None:
    expect(source, path, "object")
    total = 0
    for walked, name in enumerate(source.members(path)):
        check_count(walked, path, one)
        place = child_path(path, name)
        check_member_name(name, place)
        if source.kind in NESTED:
            source.refuse_deep_nesting(place)
            sentence = (
                f"This value is an {source.kind}, and only primitives are kept; flatten it or send it as a string."
            )
            raise ApiError(ErrorCode.NESTED_VALUE, sentence, path=place)
        size = source.primitive_size(place)
        check_value_size(size, place)
        total += size
    check_total(total, path, one)


def check_count(walked: int, path: str, one: Primitives) -> None:
    """Check that an object may have another member than those that were walked."""
    if walked == one.max_members:
        sentence = one.too_many_message.format(max=one.max_members)
        raise ApiError(one.too_many, sentence, path=path, limit=one.max_members, observed=walked + 1)


def check_member_name(name: str, path: str) -> None:
    """Check the size of a member's name."""
    size = len(name.encode())
    if not 1 <= size <= MAX_KEY_BYTES:
        raise name_refusal(size, path)


def check_value_size(size: int, path: str) -> None:
    """Check the size of a single value."""
    if size > MAX_VALUE_BYTES:
        sentence = f"One value may have {MAX_VALUE_BYTES:,} bytes; this one has {size:,}: shorten it."
        raise ApiError(ErrorCode.VALUE_TOO_LARGE, sentence, path=path, limit=MAX_VALUE_BYTES, observed=size)


def check_total(total: int, path: str, one: Primitives) -> None:
    """Check the size of all values of an object together."""
    if one.max_bytes is not None and total > one.max_bytes:
        sentence = (
            f"The field values of an item may have {one.max_bytes:,} bytes together; "
            f"these have {total:,}: split the item."
        )
        raise ApiError(ErrorCode.ITEM_TOO_LARGE, sentence, path=path, limit=one.max_bytes, observed=total)


_CHECKS: Final[dict[type[Property], Callable[[Source, str, Any], None]]] = {
    Text: _check_text,
    Name: _check_name,
    Choice: _check_choice,
    Timestamp: _check_timestamp,
    Flag: _check_flag,
    WholeNumber: _check_whole_number,
    Primitives: _check_primitives,
}


def expect(source: Source, path: str, kind: str, called: str | None = None) -> None:
    """Check the JSON type of the value at hand."""
    if source.kind == kind:
        return
    if source.kind in NESTED:
        source.refuse_deep_nesting(path)
    what = "The body" if path == ROOT else "This value"
    sentence = f"{what} must be {with_article(called or kind)}, not {with_article(source.kind)}."
    raise ApiError(ErrorCode.WRONG_TYPE, sentence, path=path)


def with_article(kind: str) -> str:
    """Return a JSON type as a sentence names it."""
    return kind if kind == "null" else f"an {kind}" if kind in NESTED else f"a {kind}"
