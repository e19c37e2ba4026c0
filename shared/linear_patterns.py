"""Regular expressions over JSON text that take time linear in its length: RE2."""

from __future__ import annotations

from typing import Any, Final

import re2  # type: ignore[import-untyped] # it has no types

#: RE2's bound of a pattern's memory. The most varied bodies that we tried took less than a quarter (decision 0031).
_STATES_BYTES: Final = 64 << 20
#: RE2 repeats nothing more often.
_MOST_REPEATED: Final = 1_000

WHITE: Final = r"[ \t\r\n]*"
STRING: Final = r'"(?:[^"\\]|\\.)*"'
#: Text without objects and arrays.
PRIMITIVES: Final = rf'(?:[^"{{}}\[\]]|{STRING})*'
#: An object of primitives.
FLAT_OBJECT: Final = rf"\{{{PRIMITIVES}\}}"
#: Any JSON text, in which strings are passed over, in front of what is looked for.
BEFORE: Final = rf'(?:[^"]|{STRING})*?'
_CHARACTER: Final = r'(?:[^"\\]|\\.)'


def compiled(pattern: str) -> Any:
    """Return a pattern of bytes, with the methods of those of `re`. It has no groups."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # a byte is a character
    options.dot_nl = options.never_capture = True
    options.max_mem = _STATES_BYTES
    options.log_errors = False
    return re2.compile(pattern.encode(), options)


def longer_string(most: int) -> str:
    r"""Return the pattern of strings of more bytes of UTF-8.

    Exact for those without an escape. Of others, all that may have more: the digits of `\u00e9` are counted, too.
    """
    whole, rest = divmod(most + 1, _MOST_REPEATED)
    return f'"{f"{_CHARACTER}{{{_MOST_REPEATED}}}" * whole}{_CHARACTER}{{{rest},}}"'


def name_of(name: str) -> str:
    """Return the pattern of a member's name, however it is escaped."""
    letters = (rf"(?:{letter}|\\u00(?i:{ord(letter):02x}))" for letter in name)
    return f'"{"".join(letters)}"{WHITE}:'
