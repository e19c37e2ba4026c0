"""Regular expressions over whole bodies, in time linear in their length, whatever they hold: RE2."""

from __future__ import annotations

from typing import Any, Final

import re2  # type: ignore[import-untyped] # it has no types

#: RE2's bound of a pattern's memory. The most varied bodies that we tried took less than a quarter (decision 0031).
_STATES_BYTES: Final = 64 << 20
#: Any JSON text without escapes, in which strings are passed over, in front of what is looked for.
BEFORE: Final = r'(?:[^"]|"[^"]*")*?'
#: What stands between a member's name and its number.
TO_NUMBER: Final = r":[ \t\r\n]*-?"


def compiled(pattern: str) -> Any:
    """Return a pattern of bytes, with the methods of those of `re`. It has no groups."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # a byte is a character
    options.dot_nl = options.never_capture = True
    options.max_mem = _STATES_BYTES
    options.log_errors = False
    return re2.compile(pattern.encode(), options)
