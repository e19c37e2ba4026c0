r"""Whether a run of elements is sure to be right: the fast way to accept, in front of the exact one that explains.

Nearly every body is right, so msgspec decodes it into the types that its declaration makes, in less than a microsecond
an element, and the result is thrown away: what is kept is the body itself. This may only accept what `exact` accepts.

What a typed decode doesn't see, cheap looks at the bytes make sure of:

- Long numbers: a decimal of 1,001 characters can't hide from ten neighbouring samples, one taken every 100 bytes. If
  samples fall in step with rows of one length, a search tells whether there really is one, outside of strings.
  Exponents reach `_take_number`: msgspec calls it for each literal that is not an integer, shadowed or not.
- U+0000: if the source has no `\u0000`, there is none.
- Nested values, which `Any` lets pass, shadowed or not: the braces and brackets of the source are counted. If strings
  hold some too, or members are shadowed, the depth of the source tells.
- Members that a later one of the same name shadows: more than 200 members take 1,200 bytes without a closing brace.
  If there are so many, the colons between braces are counted. An array of elements that is shadowed is a second array.
- Properties that exclude each other: they are looked for in what was decoded.
- Sizes are in bytes, but msgspec counts characters. In ASCII without a backslash they agree; elsewhere what is right at
  four bytes a character is accepted, and only if that fails each string is measured.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from itertools import product
from operator import attrgetter
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ingest_api.validation.json_text import digits_in_plain_form
from ingest_api.validation.structure import find_nul, is_deeper, marks
from ingest_api.validation.timestamps import is_timestamp
from shared.kinds.shapes import Choice, Elements, Flag, Name, Primitives, Property, Shape, Text, Timestamp, WholeNumber
from shared.limits import MAX_KEY_BYTES, MAX_NUMBER_DIGITS

#: Source text that is decoded at once: its objects take ten to twenty times its length at the very worst. It is also
#: shorter than any value or item may be, so that those limits need no look.
LONGEST_SOURCE: Final = 1_048_576
_SAMPLED_EVERY: Final = 100
_SAMPLED_LONG_NUMBER: Final = re.compile(rb"[0-9.]{%d}" % (MAX_NUMBER_DIGITS // _SAMPLED_EVERY))
#: Spells what numbers are made of: each digit and each point as a 0, each exponent as an e. The two things that are
#: looked for are then plain bytes, which are found twenty times faster than a pattern.
_SPELLED: Final = bytes(ord("0" if octet in b"0123456789." else "e" if octet in b"eE" else " ") for octet in range(256))
_LONG_NUMBER: Final = b"0" * (MAX_NUMBER_DIGITS + 1)
_EXPONENT: Final = b"0e"
#: As many digits as may be too many for a float.
_MANY_DIGITS: Final = b"0" * 308
_NOT_IN_NUMBERS: Final = bytes(set(range(256)) - set(b'".,:0123456789'))
#: The shortest number of more digits than are taken.
_SHORTEST_LONG_NUMBER: Final = len("1e1000")
#: Any number of so few digits that needs no count, whatever its exponent of two digits.
_SHORT_NUMBER: Final = re.compile(r"[-.0-9]{1,900}(?:[eE][-+]?[0-9]{1,2})?").fullmatch
_SHORTEST_MEMBER: Final = len('"":1,')
#: Bytes that a character may take in UTF-8.
_WIDEST: Final = 4
#: In place of that: the bytes of each string are counted.
_MEASURED: Final = 0
_NARROW: Final = (1,)
_WIDE: Final = (_WIDEST, _MEASURED)
#: Members that an object may have, of a shape that has none.
_NO_OBJECTS: Final = 1_000
#: Number of objects that no text has.
_CLASH: Final = -2
#: Of an array of flat elements, whose properties may be flat objects.
_LEVELS: Final = 3


class FastValidator:
    """Accepts elements of one shape, alone or within their batch."""

    def __init__(self, batch: Shape) -> None:
        name, elements = batch.elements
        self._elements_of = attrgetter(name)
        inner = elements.shape.properties if isinstance(elements.shape, Shape) else {}
        self._objects_in = _object_counter(inner)
        self._rule = elements.rule
        #: Members that every object may have.
        self._members = min(
            (one.max_members for one in inner.values() if isinstance(one, Primitives)),
            default=_NO_OBJECTS,
        )
        #: What `marks` makes of an object with too many members, or of its beginning.
        self._too_many = b":" * (self._members + 1)
        #: Source text in which there can't be more.
        self._few_bytes = self._members * _SHORTEST_MEMBER
        # Of an array and of a batch, by the bytes that a character may take.
        widths = (1, _WIDEST, _MEASURED)
        arrays = {width: _type(elements, width) for width in widths}
        self._decoders = (
            {width: _decoder(arrays[width]) for width in widths},
            {width: _decoder(_struct(batch, width)) for width in widths},
        )
        #: Of an array in which each number fits a float: a call for each decimal would take as long as its parse.
        self._of_floats = {width: _decoder(arrays[width], number=None) for width in widths}

    def count(self, source: bytes, around: int = 1) -> int | None:
        """Return the number of elements of a batch that is sure to be right; None of any other.

        `around`: objects around the array of elements; none if the source is that array.
        """
        escapes = b"\\" in source
        if _holds_long_number(source) or (escapes and find_nul(source, 0, len(source)) >= 0):
            return None
        decoders = self._decoders[around]
        if not around and _has_floats_only(source):
            decoders = self._of_floats
        for width in _WIDE if escapes or not source.isascii() else _NARROW:
            try:
                decoded = decoders[width].decode(source)
                elements = self._elements_of(decoded) if around else decoded
                objects = self._objects_in(elements, UNSET)
                # As many braces and brackets as were decoded: nothing is nested or shadowed, and no string holds any.
                if elements and (
                    source.count(b"}") == around + objects
                    and source.find(b"[", source.find(b"[") + 1) < 0
                    and (len(source) <= self._few_bytes or not self._may_have_many_members(source))
                ):
                    return len(elements)
                if objects != _CLASH and (elements or self._may_be_empty(decoded, around)):
                    return len(elements) if self._is_flat(source, around) else None
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
        return None

    def _may_be_empty(self, batch: Any, around: int) -> bool:
        """Whether the array of a batch may have no elements, by what is beside it."""
        return not (around and self._rule and getattr(batch, self._rule.unless) is UNSET)

    def _may_have_many_members(self, source: bytes) -> bool:
        """Whether there may be too many members between two closing braces, none of which is in a string."""
        few, rfind = self._few_bytes, source.rfind  # local, as this runs for each kilobyte of each batch
        start, last = 0, len(source) - few
        while start < last:
            if (end := rfind(b"}", start, start + few)) < 0:
                end = source.find(b"}", start)
                if end < 0:
                    return False  # only white space follows
                if source.count(b":", start, end) > self._members and self._has_too_many(source, start, end):
                    return True
            start = end + 1
        return False

    def _is_flat(self, source: bytes, around: int) -> bool:
        """Whether all objects are sure to be flat and to have few members, shadowed ones and all, in a single array."""
        if is_deeper(source, 0, len(source), around + _LEVELS):
            return False
        found = b"".join(marks(source, 0, len(source)))
        return self._too_many not in found and found.count(b"[") == 1

    def _has_too_many(self, source: bytes, start: int, end: int) -> bool:
        return self._too_many in b"".join(marks(source, start, end))


def _object_counter(properties: Mapping[str, Property]) -> Callable[[list[Any], UnsetType], int]:
    """Return a function that counts the objects that elements are made of.

    It returns _CLASH if a property stands beside a flag that does not allow it. Compiled, as it runs for each element
    of each batch: a loop over the names of properties takes three times as long.
    """
    names = [name for name, one in properties.items() if isinstance(one, Primitives)]
    if not properties:
        return lambda _elements, _unset: 0
    present = " + ".join(f"(one.{name} is not unset)" for name in names) or "0"
    loop = f"  for one in elements:\n    objects += {present}\n"
    for flag, one in properties.items():
        if isinstance(one, Flag):
            apart = [name for name in properties if name not in (flag, *one.beside)]
            others = " or ".join(f"one.{name} is not unset" for name in apart)
            loop += f"    if one.{flag} is True and ({others}): return {_CLASH}\n"
    code = f"def count(elements, unset):\n  objects = len(elements)\n{loop}  return objects"
    made: dict[str, Any] = {}
    exec(code, made)  # noqa: S102 - of names that we declare
    counter: Callable[[list[Any], UnsetType], int] = made["count"]
    return counter


@cache
def fast_validator(batch: Shape) -> FastValidator:
    """Return the validator of a batch."""
    return FastValidator(batch)


class _Checked:
    """Stands in what was decoded for a string that was found right."""

    accepts: Callable[[str], object]
    found: _Checked


def _checked(accepts: Callable[[str], object]) -> type[_Checked]:
    """Return the type of strings that a function accepts."""
    kind: type[_Checked] = type("Checked", (_Checked,), {"accepts": staticmethod(accepts)})
    kind.found = kind()
    return kind


def _take_string(kind: type[_Checked], value: object) -> _Checked:
    if isinstance(value, str) and kind.accepts(value):
        return kind.found
    raise ValueError("left to the exact validation")


def _take_number(literal: str) -> float:
    if len(literal) < _SHORTEST_LONG_NUMBER:
        return 0.0  # not None, which would pass for null
    if _SHORT_NUMBER(literal) or digits_in_plain_form(literal) <= MAX_NUMBER_DIGITS:
        return 0.0
    raise ValueError("left to the exact validation")


def _decoder(kind: Any, *, number: Callable[[str], float] | None = _take_number) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind, float_hook=number, dec_hook=_take_string)


def _struct(shape: Shape, width: int) -> Any:
    """Return the type of a shape in which a character takes up to so many bytes. Objects hold any values."""
    fields = [(name, *_field(one, width)) for name, one in shape.properties.items()]
    fields.sort(key=len)  # those without a default first
    return msgspec.defstruct(shape.component, fields, forbid_unknown_fields=True, gc=False)


def _field(one: Property, width: int) -> tuple[Any, ...]:
    kind = _type(one, width)
    return (kind,) if one.required else (kind | UnsetType, UNSET)


def _type(one: Property, width: int) -> Any:
    match one:
        case Text():
            kind = _sized(one.min_bytes, one.max_bytes, width)
            return kind | None if one.null else kind
        case Primitives():
            members: Any = dict
            return Annotated[members[_sized(1, MAX_KEY_BYTES, width), Any], Meta(max_length=one.max_members)]
        case Elements():
            elements: Any = list
            return elements[_type(one.shape, width) if isinstance(one.shape, Text) else _struct(one.shape, width)]
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
            return _checked(is_timestamp)
        case Flag():
            return bool
        case WholeNumber():
            return Annotated[int, Meta(ge=0, le=one.max)]
    raise AssertionError(f"no rule for {one}")


def _sized(least: int, most: int, width: int) -> Any:
    """Return the type of strings of so many bytes."""
    if width == _MEASURED:
        return _checked(lambda text: least <= len(text.encode()) <= most)
    if most >= LONGEST_SOURCE and not least:
        return str
    return Annotated[str, Meta(min_length=least, max_length=most // width)]


def _has_floats_only(source: bytes) -> bool:
    """Whether each number is sure to fit a float."""
    spelled = source.translate(_SPELLED)
    return _EXPONENT not in spelled and _MANY_DIGITS not in spelled


def _holds_long_number(source: bytes) -> bool:
    if len(source) <= MAX_NUMBER_DIGITS or not _SAMPLED_LONG_NUMBER.search(source[::_SAMPLED_EVERY]):
        return False
    if _LONG_NUMBER not in source.translate(_SPELLED):
        return False
    numbers = marks(source, 0, len(source), _NOT_IN_NUMBERS)
    return any(_LONG_NUMBER in part.translate(_SPELLED) for part in numbers)
