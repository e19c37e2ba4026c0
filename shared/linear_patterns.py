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
#: What stands for the first byte of a character of a string, such that what follows, as many bytes as its UTF-8 has
#: more, looks like characters of one byte: of `\u00e9` that is `\u00e`, of `\u20ac` `\u20`. Half a surrogate pair: two.
_BYTE: Final = (
    r'(?:[^"\\]|\\(?:[^u]|u(?:00(?:[0-7].|[89a-fA-F])|0(?:[1-7].|[89a-fA-F])'
    r"|[1-9a-cA-CeEfF].|[dD](?:[0-7]|[89a-fA-F].))))"
)


def compiled(pattern: str) -> Any:
    """Return a pattern of bytes, with the methods of those of `re`. It has no groups."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # a byte is a character
    options.dot_nl = options.never_capture = True
    options.max_mem = _STATES_BYTES
    options.log_errors = False
    return re2.compile(pattern.encode(), options)


def longer_string(most: int) -> str:
    """Return the pattern of strings of which the value has more bytes in UTF-8."""
    whole, rest = divmod(most + 1, _MOST_REPEATED)
    return f'"{f"{_BYTE}{{{_MOST_REPEATED}}}" * whole}{_BYTE}{{{rest},}}"'


def name_of(name: str) -> str:
    """Return the pattern of a member's name, however it is escaped."""
    letters = (rf"(?:{letter}|\\u00(?i:{ord(letter):02x}))" for letter in name)
    return f'"{"".join(letters)}"{WHITE}:'
