"""Values as people read them, on terminals and on pages: safe text, sizes, durations, numbers of things."""

from __future__ import annotations

import unicodedata
from typing import Final

#: Maximum characters of a shown value; the rest, which may be megabytes, is cut off before it is processed.
_LONGEST_VALUE: Final = 500
_BIDI_CONTROLS: Final = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_KILO: Final = 1024


def visible(value: str | None) -> str:
    """Return a value that is safe on one line of a terminal; `-` for None."""
    if value is None:
        return "-"
    cut = value if len(value) <= _LONGEST_VALUE else f"{value[:_LONGEST_VALUE]}…"
    return "".join(character if _is_harmless(character) else _numbered(character) for character in cut)


def readable_bytes(count: int) -> str:
    """Return a size like `5.2 MB`; a MB is 1,048,576 bytes."""
    if count < _KILO:
        return f"{count} B"
    size = float(count)
    for unit in ("KB", "MB", "GB"):
        size /= _KILO
        if size < _KILO:
            return f"{size:.1f} {unit}"
    return f"{size / _KILO:,.1f} TB"


def readable_seconds(seconds: float | None) -> str:
    """Return a duration like `0.4 s`, `12 min`, `3 h` or `5 d`; `-` for None."""
    if seconds is None:
        return "-"
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.1f} s"


def readable_number(number: float) -> str:
    """Return a number like `1,000,000` or `0.5`."""
    return f"{number:,.15g}"


def yes_or_no(flag: bool) -> str:  # noqa: FBT001 - it is all that is shown
    """Return a flag as a word."""
    return "yes" if flag else "no"


def counted(count: int, one: str, many: str | None = None) -> str:
    """Return `1 row` or `2 rows`."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def _is_harmless(character: str) -> bool:
    return character not in _BIDI_CONTROLS and unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp")


def _numbered(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"  # noqa: PLR2004 - two hex digits hold so much
