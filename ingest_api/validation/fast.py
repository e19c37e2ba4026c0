r"""Tell whether elements are sure to be right: the fast way to accept, in front of the exact one that explains.

Nearly every body is right, so msgspec decodes it into the types that its declaration makes, in less than a microsecond
an element, and the result is thrown away: what is kept is the body itself. This accepts only what is right; so does
`exact` alone, but it refuses what has more than 16 members.

Of a short batch, objects of primitives are built: msgspec measures their names, and calls the decoder's hook for each
number that is not an integer. Of longer ones, and of chunks, they are passed over, and looks at the bytes judge names
and numbers, in a third of the time, whatever the numbers. All looks are exact, so that no element makes those beside it
go the slow way:

- Names and numbers: `bounds`. An integer of 1,001 digits can't hide from ten neighbouring samples, one in 100 bytes.
- Timestamps: looked at together. One that a later one shadows is never read, and need only be a string.
- U+0000: if the source has no `\u0000`, there is none.
- Nested values, shadowed or not: the braces and brackets of the source are counted.
- Members that a later one of the same name shadows: more than 200 members take 1,000 bytes without a closing brace.
  If there are so many, the colons between braces are counted. An array of elements that is shadowed is a second array.
- If strings hold such marks too, or what looks like U+0000, or members are shadowed: `flatness`.
- Properties that exclude each other: they are looked for in what was decoded.
- Sizes are in bytes, but msgspec counts characters. In ASCII without a backslash they agree. Elsewhere a short batch is
  accepted if it is right at four bytes a character; in any other text, `bounds` measures names and strings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from operator import attrgetter
from typing import Any, Final

import msgspec
from msgspec import UNSET

from ingest_api.validation.bounds import Bounds
from ingest_api.validation.decoders import WIDEST, Form, array_of, decode, decoder, struct_of
from ingest_api.validation.flatness import flat_array, flat_batch
from ingest_api.validation.json_text import is_utf8
from ingest_api.validation.numbers import may_hold_long_number
from ingest_api.validation.structure import may_hold_nul
from ingest_api.validation.timestamps import are_timestamps
from shared.kinds.shapes import Flag, Primitives, Property, Shape, Timestamp

#: Bytes of a batch up to which it is faster to build objects; if they are hostile, that takes some milliseconds.
_BUILT_BYTES: Final = 32_768
#: Of a source text, so many bytes mostly tell that there is more than what is required.
_SEEN_BYTES: Final = 4_096
_SHORTEST_MEMBER: Final = len('"":1,')
#: Bytes of a character by which no right string is refused: `bounds` measures them then.
_BY_CHARACTERS: Final = 1
_PASSED: Final = Form(_BY_CHARACTERS, built=False)
#: Members of an object, where elements have none of primitives.
_MOST_MEMBERS: Final = 200


class FastValidator:
    """Accepts elements of one shape, alone or within their batch."""

    def __init__(self, batch: Shape) -> None:
        name, elements = batch.elements
        self._elements_of = attrgetter(name)
        inner = elements.shape.properties if isinstance(elements.shape, Shape) else {}
        self._times = _timestamps(inner)
        if _timestamps(batch.properties):
            raise AssertionError("only timestamps of elements are looked at")
        self._objects_in = _object_counter(inner)
        self._rule = elements.rule
        self._has_objects = any(isinstance(one, Primitives) for one in inner.values())
        #: Members that every object may have.
        self._members = min(
            (one.max_members for one in inner.values() if isinstance(one, Primitives)),
            default=_MOST_MEMBERS,
        )
        #: By the number of objects around the array of elements.
        self._flat = flat_array(self._members), flat_batch(self._members)
        self._bounds = Bounds(elements.shape)
        #: Source text in which there can't be more.
        self._few_bytes = self._members * _SHORTEST_MEMBER
        #: Of a short batch, as wide as can be, and by characters.
        self._widest, self._built = (
            decoder(_batch_type(batch, Form(width, built=True))) for width in (WIDEST, _BY_CHARACTERS)
        )
        #: By the number of objects around the array of elements.
        self._passed = decoder(array_of(elements.shape, _PASSED)), decoder(_batch_type(batch, _PASSED))
        bare = {name: one for name, one in inner.items() if one.required}
        self._bare_members = len(bare)
        self._bare_times = _timestamps(bare)
        #: Of an array of elements with only what is required: with room for more, decoding them takes twice as long.
        self._bare = decoder(list[struct_of("Bare", bare, _PASSED)])  # type: ignore[misc]

    def count_batch(self, body: bytes) -> int | None:
        """Return the number of elements of a batch that is sure to be right; None of any other."""
        if len(body) <= _BUILT_BYTES:
            return self._count_built(body)
        if not is_utf8(body):  # the decoder does not see it in what it passes over
            return None
        return self._count_passed(body, around=1)

    def count_chunk(self, chunk: bytes) -> int | None:
        """Return the number of elements of an array, which is JSON, if it is sure to be right; None of any other.

        Nothing is built: a long element cuts chunks short, and there may be a hundred of them.
        """
        count = self._count_bare(chunk)
        if count is None:
            return self._count_passed(chunk, around=0)
        return count if not _is_wide(chunk) or self._are_within_bounds(chunk, around=0) else None

    def _count_built(self, body: bytes) -> int | None:
        if may_hold_long_number(body) and not self._are_within_bounds(body, around=1):
            return None  # before an integer of thousands of digits is built
        is_wide = _is_wide(body)
        count = self._count_decoded(self._widest, body, around=1) if is_wide else None
        if count is None:
            count = self._count_decoded(self._built, body, around=1)
            if is_wide and count is not None and not self._are_within_bounds(body, around=1):
                return None
        return count

    def _count_passed(self, source: bytes, *, around: int) -> int | None:
        count = self._count_decoded(self._passed[around], source, around=around)
        if count is None or not (self._has_objects or _is_wide(source)):
            return count
        return count if self._are_within_bounds(source, around=around) else None

    def _are_within_bounds(self, source: bytes, *, around: int) -> bool:
        return self._bounds.hold(source, source.find(b"{") + 1 if around else 0)

    def _count_decoded(self, how: msgspec.json.Decoder[Any], source: bytes, *, around: int) -> int | None:
        """Return the number of elements if all is right but for what `bounds` tells. `around`: objects around them."""
        decoded = decode(how, source)
        if decoded is None:
            return None
        elements = self._elements_of(decoded) if around else decoded
        is_right = self._is_right(source, decoded, elements, around) and are_timestamps(_given(self._times, elements))
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
        objects = self._objects_in(elements)
        if objects is None or not (elements or self._may_be_empty(decoded, around)):
            return False
        return self._is_plain(source, around + objects) or self._flat[around].fullmatch(source) is not None

    def _is_plain(self, source: bytes, objects: int) -> bool:
        """Whether there are as many braces and brackets as were decoded: nothing is nested, and no string holds any."""
        return (
            source.count(b"}") == objects
            and source.find(b"[", source.find(b"[") + 1) < 0
            and (len(source) <= self._few_bytes or not self._may_have_many_members(source))
            and not may_hold_nul(source)
        )

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


def _is_wide(source: bytes) -> bool:
    """Return whether a string may have more bytes than characters, or an escape."""
    return b"\\" in source or not source.isascii()


def _object_counter(properties: Mapping[str, Property]) -> Callable[[list[Any]], int | None]:
    """Return a function that counts the objects that elements are made of.

    It returns None if a property stands beside a flag that does not allow it. Compiled, as it runs for each element of
    each batch: a loop over the names of properties takes three times as long.
    """
    names = [name for name, one in properties.items() if isinstance(one, Primitives)]
    if not properties:
        return lambda _elements: 0
    present = " + ".join(f"(one.{name} is not unset)" for name in names) or "0"
    loop = f"  for one in elements:\n    objects += {present}\n"
    for flag, one in properties.items():
        if isinstance(one, Flag):
            apart = [name for name in properties if name not in (flag, *one.beside)]
            others = " or ".join(f"one.{name} is not unset" for name in apart)
            loop += f"    if one.{flag} is True and ({others}): return None\n"
    code = f"def count(elements, unset=UNSET):\n  objects = len(elements)\n{loop}  return objects"
    made: dict[str, Any] = {"UNSET": UNSET}
    exec(code, made)  # noqa: S102 - of names that we declare
    counter: Callable[[list[Any]], int | None] = made["count"]
    return counter


@cache
def fast_validator(batch: Shape) -> FastValidator:
    """Return the validator of a batch."""
    return FastValidator(batch)


def _batch_type(batch: Shape, form: Form) -> Any:
    return struct_of(batch.component, batch.properties, form)
