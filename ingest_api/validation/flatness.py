"""Patterns of text whose elements are flat: their objects hold primitives only, shadowed members and all.

Of JSON that msgspec has decoded. Between two braces of an element stand at most as many colons as an object may have
members: so has each object within, and the element between them. No string holds U+0000.
"""

from __future__ import annotations

from typing import Any, Final

from shared.linear_patterns import WHITE, compiled

_ESCAPE: Final = r"\\(?:[^u]|u(?:[^0]|0(?:[^0]|0(?:[^0]|0[^0]))))"
_STRING: Final = rf'"(?:[^"\\]|{_ESCAPE})*"'
_PRIMITIVES: Final = rf'(?:[^"{{}}\[\]]|{_STRING})*'


def flat_array(most_members: int) -> Any:
    """Return the pattern of an array of flat elements, objects or strings."""
    return compiled(f"{WHITE}{_array(most_members)}{WHITE}")


def flat_batch(most_members: int) -> Any:
    """Return the pattern of an object that holds a single array, of flat elements, and no object."""
    return compiled(rf"{WHITE}\{{{_PRIMITIVES}{_array(most_members)}{_PRIMITIVES}\}}{WHITE}")


def _array(most_members: int) -> str:
    members = _members(most_members)
    element = rf"\{{{members}(?:\{{{members}\}}{members})*\}}"
    return rf'\[(?:{element}|[^"{{}}\[\]]|{_STRING})*\]'


def _members(most: int) -> str:
    text = rf'(?:[^"{{}}\[\]:]|{_STRING})*'
    return f"{text}(?::{text}){{0,{most}}}"
