"""Whether names, numbers and strings of elements are within their bounds, found without a step of Python for each."""

from __future__ import annotations

from typing import Final

import msgspec

from ingest_api.validation.numbers import LONG_NUMBER, TO_NUMBER, TOO_LARGE, TOO_SMALL, holds_long_literal
from ingest_api.validation.spelling import spelled_out
from shared.kinds.shapes import Shape, Text
from shared.limits import MAX_KEY_BYTES, MAX_VALUE_BYTES
from shared.linear_patterns import BEFORE, FLAT_OBJECT, STRING, WHITE, compiled, longer_string, name_of

_WRONG_NAME: Final = f'(?:""|{longer_string(MAX_KEY_BYTES)}){WHITE}:'
_MEMBER: Final = rf'(?:[^"{{}}]|{STRING}|{FLAT_OBJECT})'
#: Up to a member of a flat element, in or before an array of such elements.
_BEFORE_MEMBER: Final = rf'(?:[^"{{}}]|{STRING}|\{{{_MEMBER}*\}})*?\{{{_MEMBER}*?'
_TOO_SMALL: Final = compiled(f"{BEFORE}{TO_NUMBER}(?:{TOO_SMALL})")
#: Ends of a name with its colon, and of a string.
_COLON, _QUOTE = b':"'


class Bounds:
    """Of elements of one shape: names of members have 1 to 256 bytes, numbers at most 1,000 digits in plain form.

    Strings have at most as many bytes of UTF-8 as the shape allows, of which the parser counts characters.
    """

    def __init__(self, elements: Shape | Text) -> None:
        self._has_members = isinstance(elements, Shape)
        #: Up to the first member that may be out of bounds. Nearly every text has none, and no other look is needed.
        self._first_suspect = compiled("|".join([*_members_with(LONG_NUMBER, elements), *_too_long(elements)]))
        #: Exact without escapes.
        self._wrong = compiled("|".join([*_members_with(TOO_LARGE, elements), *_too_long(elements)]))

    def hold(self, text: bytes, start: int = 0) -> bool:
        """Return whether all is within bounds, from a place outside of strings and elements on.

        `text`: JSON of flat elements, or else True means nothing.
        """
        suspect = self._first_suspect.match(text, start)
        if suspect is None:
            return True
        place = _outside_strings(text, start, suspect.end())
        if b"\\" in text:  # it may be that a string only looks too long
            try:
                before, behind = spelled_out(text[start:place]), spelled_out(text[place:])
            except (msgspec.DecodeError, UnicodeError):  # it is no JSON
                return False
            text, start, place = before + behind, 0, len(before)
        if self._wrong.match(text, start):
            return False
        return not (self._has_members and (_TOO_SMALL.match(text, place) or holds_long_literal(text, place)))


def _outside_strings(text: bytes, start: int, end: int) -> int:
    """Return a place from which on all numbers are to be judged, by where a match of the first suspect ends."""
    if text[end - 1] == _QUOTE:
        return end
    if text[end - 1] == _COLON:
        return end - 1
    return text.rfind(b'"', start, end) + 1  # behind the number's name


def _members_with(numbers: str, elements: Shape | Text) -> list[str]:
    """Return the pattern of text up to a member with a wrong name, or one of these numbers, if there are members."""
    return [f"{BEFORE}(?:{_WRONG_NAME}|{TO_NUMBER}(?:{numbers}))"] if isinstance(elements, Shape) else []


def _too_long(elements: Shape | Text) -> list[str]:
    """Return the patterns of text up to a string of an element that has more bytes than it may have."""
    if isinstance(elements, Text):
        return [BEFORE + longer_string(elements.max_bytes)]
    bounded = {name: one.max_bytes for name, one in elements.properties.items() if isinstance(one, Text)}
    return [
        f"{_BEFORE_MEMBER}{name_of(name)}{WHITE}{longer_string(most)}"
        for name, most in bounded.items()
        if most < MAX_VALUE_BYTES
    ]
