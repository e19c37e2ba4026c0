"""Whether a member's number needs too many digits, found without a step of Python for each number.

Pure. If the text seems to hold far exponents, RE2 passes over it in linear time, whatever the numbers: its patterns are
exact for numbers of up to 900 digits and points, and right about longer ones that they find. Of those, the ones that
they may miss are looked at one by one: there is room for few.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from ingest_api.validation.linear import compiled
from shared.limits import MAX_NUMBER_DIGITS

_LITERAL: Final = re.compile(rb"-?([0-9]++)(?:\.([0-9]++))?(?:[eE]([-+]?)0*+([0-9]*+))?")
#: Exponents of more digits are refused, of zero too: Postgres refuses some of them.
_MAX_EXPONENT_DIGITS: Final = 5
#: Spells what numbers are made of: what is looked for are then plain bytes, found twenty times faster than a pattern.
_SPELLED: Final = bytes(
    ord("0" if octet in b"0123456789." else "e" if octet in b"eE" else "s" if octet in b"+-" else " ")
    for octet in range(256)
)
#: Exponents with which a number of up to 900 digits may be too long.
_FAR: Final = b"0e000"
_SIGNED_FAR: Final = b"0es000"
#: Digits and points that the patterns tell apart: with as many, a number is short enough without such an exponent.
_TOLD_APART: Final = 900
_MANY_DIGITS: Final = b"0" * (_TOLD_APART + 1)
#: In front of a member's number: any text, in which strings are passed over.
_BEFORE: Final = r'(?:[^"]|"[^"]*")*?:[ \t\r\n]*-?'
_UP: Final = "[eE][+]?0*"
_DOWN: Final = "[eE]-0*"
_OVERLONG: Final = f"[1-9][0-9]{{{_MAX_EXPONENT_DIGITS}}}"


def digits_in_plain_form(literal: bytes) -> int:
    """Return the digits of a number written out without an exponent, as Postgres would: `1.50e2` is 150, three digits.

    Counted are the digits before the point, without leading zeros but at least one, and all that stand after it,
    zeros too: `1.0` has two, `1e400` 401, `1e-3` four, `0e9` one. The number is never built. An exponent of more than
    five digits counts as 100,000 digits, behind a zero too.
    """
    match = _LITERAL.fullmatch(literal)
    if match is None:
        raise AssertionError("the parser saw a number here")
    return _count_digits(*match.groups(b""))


def _count_digits(whole: bytes, fraction: bytes, sign: bytes, exponent: bytes) -> int:
    if len(exponent) > _MAX_EXPONENT_DIGITS:
        return int(10**_MAX_EXPONENT_DIGITS)
    shift = int(sign + (exponent or b"0"))
    digits = whole + fraction
    significant = len(digits.lstrip(b"0"))
    # Where the point comes to stand, counted from the first digit that is not zero.
    before = len(whole) + shift - (len(digits) - significant) if significant else 1
    return max(before, 1) + max(len(fraction) - shift, 0)


def holds_many_digits(text: bytes) -> bool:
    """Return whether so many digits and points stand in a row, in a string or not, that they may be a long number."""
    return _MANY_DIGITS in text.translate(_SPELLED)


def holds_long_number(plain: bytes) -> bool:
    """Return whether an object in JSON text has a number that needs more digits in plain form than are taken.

    `plain`: the text without escapes.
    """
    spelled = plain.translate(_SPELLED)
    if (_FAR in spelled or _SIGNED_FAR in spelled) and (_TOO_LARGE.match(plain) or _TOO_SMALL.match(plain)):
        return True
    return _MANY_DIGITS in spelled and _holds_long_literal(plain, spelled)


def _holds_long_literal(plain: bytes, spelled: bytes) -> bool:
    """Whether one of the numbers with many digits and points is too long."""
    counted, within, start = 0, 0, spelled.find(_MANY_DIGITS)
    while start >= 0:
        within ^= plain.count(b'"', counted, start) & 1
        counted = start
        number = None if within else _LITERAL.match(plain, start)
        if number and _count_digits(*number.groups(b"")) > MAX_NUMBER_DIGITS:
            return True
        # Behind the number, or behind the string: what looks like a long one there may be many short ones.
        end = number.end() if number else plain.find(b'"', start)
        start = spelled.find(_MANY_DIGITS, end) if end >= 0 else -1
    return False


def _repeated(digit: str, least: int, tail: Callable[[int], str]) -> str:
    """Return the pattern of digits behind the first `least`, already matched, each number of them with its tail."""
    pattern = tail(_TOLD_APART)
    for count in reversed(range(least, _TOLD_APART)):
        pattern = f"(?:{tail(count)}|{digit}{pattern})"
    return pattern


def _at_least(least: int) -> str:
    """Return the pattern of whole numbers from `least` on that have as many digits."""
    digits = str(least)
    lowest = [int(digit) + 1 for digit in digits[:-1]] + [int(digits[-1])]
    higher = [
        f"{digits[:place]}[{low}-9]{'[0-9]' * (len(digits) - place - 1)}"
        for place, low in enumerate(lowest)
        if low in range(10)
    ]
    return f"(?:{'|'.join(higher)})"


def _too_large() -> str:
    """Return the pattern of numbers that are too long by a positive exponent.

    With w digits before the point and the exponent n, a number has w + n digits; 0.00…1 with z zeros behind the point
    has n - z.
    """
    most = MAX_NUMBER_DIGITS
    whole = _repeated("[0-9]", 1, lambda digits: rf"(?:\.[0-9]*)?{_UP}{_at_least(most + 1 - digits)}")
    small = _repeated("0", 0, lambda zeros: f"[1-9][0-9]*{_UP}{_at_least(most + 1 + zeros)}")
    by_far = rf"[1-9][0-9.]*{_UP}[1-9][0-9]{{3}}|0\.0*[1-9][0-9]*{_UP}[1-9][0-9]{{4}}|[0-9.]+{_UP}{_OVERLONG}"
    return rf"[1-9]{whole}|0\.{small}|{by_far}"


def _too_small() -> str:
    """Return the pattern of numbers that are too long by a negative exponent.

    With f digits behind the point and the exponent -n, a number has at least 1 + f + n digits.
    """
    behind = _repeated("[0-9]", 0, lambda digits: f"{_DOWN}{_at_least(MAX_NUMBER_DIGITS - digits)}")
    return rf"[0-9]+(?:\.{behind}|[0-9.]*{_DOWN}[1-9][0-9]{{3}})"


#: Apart, as both together would have as many states as the product of theirs.
_TOO_LARGE: Final = compiled(f"{_BEFORE}(?:{_too_large()})")
_TOO_SMALL: Final = compiled(f"{_BEFORE}(?:{_too_small()})")
