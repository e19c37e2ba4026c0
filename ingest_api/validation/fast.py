r"""Whether a run of elements is sure to be right: the fast way to accept, in front of the exact one that explains.

Nearly every body is right, so msgspec decodes it into the types that its declaration makes, in less than a microsecond
an element, and the result is thrown away: what is kept is the body itself. This may only accept what `exact` accepts.

In a short source, objects of primitives are built: msgspec measures their names, and calls `_take_number` for each
number that is not an integer. In a long one they are passed over, and looks at the bytes judge names and numbers, in a
third of the time, whatever the numbers. All looks are exact, so that no element makes those beside it go the slow way:

- Names and numbers: `bounds`. An integer of 1,001 digits can't hide from ten neighbouring samples, one in 100 bytes.
- Timestamps: looked at together. One that a later one shadows is never read, and need only be a string.
- U+0000: if the source has no `\u0000`, there is none.
- Nested values, shadowed or not: the braces and brackets of the source are counted.
- Members that a later one of the same name shadows: more than 200 members take 1,000 bytes without a closing brace.
  If there are so many, the colons between braces are counted. An array of elements that is shadowed is a second array.
- If strings hold such marks too, or what looks like U+0000, or members are shadowed: `flatness`.
- Properties that exclude each other: they are looked for in what was decoded.
- Sizes are in bytes, but msgspec counts characters. In ASCII without a backslash they agree. Elsewhere a short source
  is accepted if it is right at four bytes a character; in any other, `bounds` measures names and strings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from operator import attrgetter
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from ingest_api.validation.bounds import Bounds
from ingest_api.validation.decoders import LONGEST_SOURCE, WIDEST, Form, array_of, decode, decoder, struct_of
from ingest_api.validation.flatness import flat_array, flat_batch
from ingest_api.validation.json_text import is_utf8
from ingest_api.validation.numbers import may_hold_long_number
from ingest_api.validation.structure import may_hold_nul
from ingest_api.validation.timestamps import are_timestamps
from shared.kinds.shapes import Flag, Primitives, Property, Shape, Timestamp

__all__ = ["LONGEST_SOURCE", "FastValidator", "fast_validator"]

#: Source text up to which it is faster to build objects; if they are hostile, that takes some milliseconds.
_BUILT_BYTES: Final = 32_768
#: Of a source text, so many bytes mostly tell that there is more than what is required.
_SEEN_BYTES: Final = 4_096
_SHORTEST_MEMBER: Final = len('"":1,')
#: Bytes of a character, as a decoder supposes them where it may take more than there are.
_BY_CHARACTERS: Final = 1
_PASSED: Final = Form(_BY_CHARACTERS, built=False)
#: Members that an object may have, of a shape that has none.
_NO_OBJECTS: Final = 200
#: Number of objects that no text has.
_CLASH: Final = -2


class FastValidator:
    """Accepts elements of one shape, alone or within their batch."""

    def __init__(self, batch: Shape) -> None:
        name, elements = batch.elements
        self._elements_of = attrgetter(name)
        inner = elements.shape.properties if isinstance(elements.shape, Shape) else {}
        self._times = _timestamps(inner)
        self._batch_times = _timestamps(batch.properties)
        self._objects_in = _object_counter(inner)
        self._rule = elements.rule
        self._has_objects = any(isinstance(one, Primitives) for one in inner.values())
        #: Members that every object may have.
        self._members = min(
            (one.max_members for one in inner.values() if isinstance(one, Primitives)),
            default=_NO_OBJECTS,
        )
        #: By the number of objects around the array of elements.
        self._flat = flat_array(self._members), flat_batch(self._members)
        self._bounds = Bounds(elements.shape)
        #: Source text in which there can't be more.
        self._few_bytes = self._members * _SHORTEST_MEMBER
        # By the number of objects around: of a short source as wide as can be, and by characters; of a long one.
        self._widest, self._built, self._passed = (
            [decoder(_type_of(batch, around, form)) for around in (0, 1)]
            for form in (Form(WIDEST, built=True), Form(_BY_CHARACTERS, built=True), _PASSED)
        )
        bare = {name: one for name, one in inner.items() if one.required}
        self._bare_members = len(bare)
        self._bare_times = _timestamps(bare)
        #: Of an array of elements with only what is required: with room for more, decoding them takes twice as long.
        self._bare = decoder(list[struct_of("Bare", bare, _PASSED)])  # type: ignore[misc]

    def count(self, source: bytes, around: int = 1) -> int | None:
        """Return the number of elements of a batch that is sure to be right; None of any other.

        `around`: objects around the array of elements; none if the source is that array, and known to be JSON.
        """
        # A run of a long array may be short because a long element follows, and then there may be a hundred such runs.
        count = self._count_short if around and len(source) <= _BUILT_BYTES else self._count_long
        return count(source, around, is_wide=b"\\" in source or not source.isascii())

    def _count_short(self, source: bytes, around: int, *, is_wide: bool) -> int | None:
        if may_hold_long_number(source) and not self._are_within_bounds(source, around):
            return None  # before an integer of thousands of digits is built
        count = self._count_decoded(self._widest[around], source, around) if is_wide else None
        if count is None:
            count = self._count_decoded(self._built[around], source, around)
            if is_wide and count is not None and not self._are_within_bounds(source, around):
                return None
        return count

    def _count_long(self, source: bytes, around: int, *, is_wide: bool) -> int | None:
        if around and not is_utf8(source):  # of what is passed over, the decoder does not see it
            return None
        count = None if around else self._count_bare(source)
        must_look = is_wide or (count is None and self._has_objects)
        if count is None:
            count = self._count_decoded(self._passed[around], source, around)
        if must_look and count is not None and not self._are_within_bounds(source, around):
            return None
        return count

    def _are_within_bounds(self, source: bytes, around: int) -> bool:
        return self._bounds.hold(source, source.find(b"{") + 1 if around else 0)

    def _count_decoded(self, how: msgspec.json.Decoder[Any], source: bytes, around: int) -> int | None:
        """Return the number of elements if all is right but for what `bounds` tells."""
        decoded = decode(how, source)
        if decoded is None:
            return None
        elements = self._elements_of(decoded) if around else decoded
        times = _given(self._times, elements)
        if around:
            times += _given(self._batch_times, [decoded])
        is_right = self._is_right(source, decoded, elements, around) and are_timestamps(times)
        return len(elements) if is_right else None

    def _count_bare(self, source: bytes) -> int | None:
        """Return the number of elements if each has only what is required, and that is right but for sizes.

        None of any other array, and if strings hold braces or colons.
        """
        bare = self._bare_members
        seen = source.count(b":", 0, _SEEN_BYTES) - bare * source.count(b"{", 0, _SEEN_BYTES)
        if not bare or abs(seen) > bare:
            return None
        braces = source.count(b"{")
        if not braces or source.count(b":") != bare * braces:
            return None
        elements = decode(self._bare, source)
        if elements is None or len(elements) != braces or may_hold_nul(source):
            return None
        return braces if are_timestamps(_given(self._bare_times, elements)) else None

    def _is_right(self, source: bytes, decoded: Any, elements: list[Any], around: int) -> bool:
        objects = self._objects_in(elements, UNSET)
        # As many braces and brackets as were decoded: nothing is nested or shadowed, and no string holds any.
        if (
            elements
            and source.count(b"}") == around + objects
            and source.find(b"[", source.find(b"[") + 1) < 0
            and (len(source) <= self._few_bytes or not self._may_have_many_members(source))
            and not may_hold_nul(source)
        ):
            return True
        may_be = objects != _CLASH and (elements or self._may_be_empty(decoded, around))
        return bool(may_be) and self._flat[around].fullmatch(source) is not None

    def _may_be_empty(self, batch: Any, around: int) -> bool:
        """Whether the array of a batch may have no elements, by what is beside it."""
        return not (around and self._rule and getattr(batch, self._rule.unless) is UNSET)

    def _may_have_many_members(self, source: bytes) -> bool:
        """Whether there may be too many members in front of a closing brace; no brace is in a string."""
        few, rfind = self._few_bytes, source.rfind  # local, as this runs for each kilobyte of each batch
        start, last = 0, len(source) - few
        while start < last:
            if (end := rfind(b"}", start, start + few)) < 0:
                end = source.find(b"}", start)
                if end < 0:
                    return False  # only white space follows
                opening = max(source.rfind(b"{", start, end), start)
                if max(source.count(b":", start, opening), source.count(b":", opening, end)) > self._members:
                    return True
            start = end + 1
        return False


def _timestamps(properties: Mapping[str, Property]) -> list[str]:
    return [name for name, one in properties.items() if isinstance(one, Timestamp)]


def _given(names: list[str], objects: list[Any]) -> list[str]:
    """Return all values of some properties, where they are given."""
    return [value for name in names for one in objects if (value := getattr(one, name)) is not UNSET]


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


def _type_of(batch: Shape, around: int, form: Form) -> Any:
    """Return the type of a batch, or of its elements alone."""
    if around:
        return struct_of(batch.component, batch.properties, form)
    return array_of(batch.elements[1].shape, form)
