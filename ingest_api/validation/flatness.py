"""Patterns of text whose elements are flat: their objects hold primitives only, shadowed members and all.

Of JSON without escapes that msgspec has decoded. Between two braces, no more colons stand than an object has members.
"""

from __future__ import annotations

from typing import Any, Final

from ingest_api.validation.linear import compiled

_STRING: Final = '"[^"]*"'
_WHITE: Final = r"[ \t\r\n]*"


def flat_array(most_members: int) -> Any:
    """Return the pattern of an array of flat elements, objects or strings."""
    return compiled(f"{_WHITE}{_array(most_members)}{_WHITE}")


def flat_batch(most_members: int) -> Any:
    """Return the pattern of an object that holds a single array, of flat elements, and no object."""
    members = _members(most_members)
    return compiled(rf"{_WHITE}\{{{members}{_array(most_members)}{members}\}}{_WHITE}")


def _array(most_members: int) -> str:
    members = _members(most_members)
    element = rf"\{{{members}(?:\{{{members}\}}{members})*\}}"
    return rf'\[(?:{element}|[^"{{}}\[\]]|{_STRING})*\]'


def _members(most: int) -> str:
    text = rf'(?:[^"{{}}\[\]:]|{_STRING})*'
    return f"{text}(?::{text}){{0,{most}}}"
