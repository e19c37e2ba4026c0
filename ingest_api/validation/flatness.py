"""Patterns of text whose elements are flat: their objects hold primitives only, shadowed members and all.

Of JSON that msgspec has decoded. Between two braces of an element stand at most as many colons as an object may have
members: so has each object within, and the element between them.
"""

from __future__ import annotations

from typing import Any

from shared.linear_patterns import PRIMITIVES, STRING, WHITE, compiled


def flat_array(most_members: int) -> Any:
    """Return the pattern of an array of flat elements, objects or strings."""
    return compiled(f"{WHITE}{_array(most_members)}{WHITE}")


def flat_batch(most_members: int) -> Any:
    """Return the pattern of an object that holds a single array, of flat elements, and no object."""
    return compiled(rf"{WHITE}\{{{PRIMITIVES}{_array(most_members)}{PRIMITIVES}\}}{WHITE}")


def _array(most_members: int) -> str:
    members = _members(most_members)
    element = rf"\{{{members}(?:\{{{members}\}}{members})*\}}"
    return rf'\[(?:{element}|[^"{{}}\[\]]|{STRING})*\]'


def _members(most: int) -> str:
    text = rf'(?:[^"{{}}\[\]:]|{STRING})*'
    return f"{text}(?::{text}){{0,{most}}}"
