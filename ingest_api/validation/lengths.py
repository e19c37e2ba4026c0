"""Patterns of text with strings that are too long in bytes: msgspec counts characters."""

from __future__ import annotations

from typing import Any, Final

from shared.kinds.shapes import Shape, Text
from shared.limits import MAX_VALUE_BYTES
from shared.linear_patterns import BEFORE, FLAT_OBJECT, STRING, WHITE, compiled, longer_string, name_of

_MEMBER: Final = rf'(?:[^"{{}}]|{STRING}|{FLAT_OBJECT})'
#: Up to a member of a flat element, in or before an array of such elements.
_BEFORE_MEMBER: Final = rf'(?:[^"{{}}]|{STRING}|\{{{_MEMBER}*\}})*?\{{{_MEMBER}*?'


def too_long(elements: Shape | Text) -> Any:
    """Return the pattern of text up to the first string of an element that has more bytes than it may have.

    Of flat elements, from their array on, or from within the object that holds it. None if none can have more.
    """
    if isinstance(elements, Text):
        return compiled(f"{BEFORE}{longer_string(elements.max_bytes)}")
    bounded = {name: one.max_bytes for name, one in elements.properties.items() if isinstance(one, Text)}
    members = [
        f"{name_of(name)}{WHITE}{longer_string(most)}" for name, most in bounded.items() if most < MAX_VALUE_BYTES
    ]
    return compiled(f"{_BEFORE_MEMBER}(?:{'|'.join(members)})") if members else None
