"""Whether a number needs too many digits: of one, and patterns that find such numbers in a text.

Pure. The patterns are exact for numbers of up to 1,000 digits and points, and right about longer ones that they find.
Of those, the ones that they may miss are looked at one by one: 30 MB have room for 30,000.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from shared.limits import MAX_NUMBER_DIGITS
from shared.linear_patterns import WHITE

#: Bytes of the shortest number of more digits than are taken.
SHORTEST_LONG_NUMBER: Final = len("1e1000")
#: Of the fraction, the zeros in front and the digits behind them; the exponent without leading zeros.
_LITERAL: Final = re.compile(rb"[ \t\r\n]*+-?([0-9]++)(?:\.(0*+)([0-9]*+))?(?:[eE]([-+]?)0*+([0-9]*+))?")
#: Exponents of more digits are refused, of zero too: Postgres refuses some of them.
_MAX_EXPONENT_DIGITS: Final = 5
#: Marks what numbers are made of: what is looked for are then plain bytes, found twenty times faster than a pattern.
_MARKED: Final = bytes(ord("0" if octet in b"0123456789." else " ") for octet in range(256))
#: Digits and points that the patterns tell apart: with as many, a number is short enough without an exponent.
_TOLD_APART: Final = MAX_NUMBER_DIGITS
#: An integer of more digits has so many samples in a row.
_SAMPLED_EVERY: Final = 100
_SAMPLES: Final = b"0" * (_TOLD_APART // _SAMPLED_EVERY)
#: Digits of an exponent that the patterns tell apart, of numbers of more than one digit; more are always too many.
_TOLD_EXPONENT: Final = 3
_UP: Final = "[eE][+]?0*"
_DOWN: Final = "[eE]-0*"
_OVERLONG: Final = f"[1-9][0-9]{{{_MAX_EXPONENT_DIGITS}}}"
#: What stands between a member's name and its number.
TO_NUMBER: Final = f":{WHITE}-?"
#: What each number begins with that needs too many digits: of up to 900, only those with a far exponent.
LONG_NUMBER: Final = r"[0-9.]+[eE][+-]?[0-9]{3}|[0-9.]{901}(?:[0-9.]*[eE]|[0-9.]{100})"


def digits_in_plain_form(literal: bytes) -> int:
    """Return the digits of a number written out without an exponent, as Postgres would: `1.50e2` is 150, three digits.

    Counted are the digits before the point, without leading zeros but at least one, and all that stand after it,
    zeros too: `1.0` has two, `1e400` 401, `1e-3` four, `0e9` one. The number is never built. An exponent of more than
    five digits counts as 100,000 digits, behind a zero too.
    """
    match = _LITERAL.fullmatch(literal)
    if match is None:
        raise AssertionError("the parser saw a number here")
    return _count_digits(match)


def _count_digits(number: re.Match[bytes]) -> int:
    whole, zeros, others, sign, exponent = number.groups(b"")
    if len(exponent) > _MAX_EXPONENT_DIGITS:
        return int(10**_MAX_EXPONENT_DIGITS)
    shift = int(sign + (exponent or b"0"))
    # Where the point comes to stand, counted from the first digit that is not zero.
    before = len(whole) + shift if whole != b"0" else shift - len(zeros) if others else 1
    return max(before, 1) + max(len(zeros) + len(others) - shift, 0)


def may_hold_long_number(text: bytes) -> bool:
    """Return whether samples of a text look like a number of more than 900 characters."""
    return len(text) > MAX_NUMBER_DIGITS and _SAMPLES in text[::_SAMPLED_EVERY].translate(_MARKED)


def holds_long_literal(text: bytes, start: int) -> bool:
    """Return whether one of the numbers with more digits and points than the patterns tell apart is too long.

    `text`: JSON without escapes. `start`: where to begin, outside of strings.
    """
    marked = text.translate(_MARKED)
    samples = marked[start::_TOLD_APART]  # a longer number holds at least one
    found = samples.find(b"0")
    counted, within, end = start, 0, start
    while found >= 0:
        place = start + found * _TOLD_APART
        colon, end = text.rfind(b":", end, place), marked.find(b" ", place)
        if end - colon > _TOLD_APART + 2:  # the colon, and a point
            number = _LITERAL.match(text, colon + 1)
            if number is None or number.end() < end:  # digits of a string, or of an exponent
                end = text.find(b'"', end)
            elif _count_digits(number) > MAX_NUMBER_DIGITS:
                within ^= text.count(b'"', counted, end) & 1
                if not within:
                    return True
                counted = end
        found = samples.find(b"0", (end - start - 1) // _TOLD_APART + 1) if end >= 0 else -1
    return False


def _repeated(digit: str, least: int, tail: Callable[[int], str]) -> str:
    """Return the pattern of digits behind the first `least`, already matched, each number of them with its tail."""
    pattern = tail(_TOLD_APART)
    for count in reversed(range(least, _TOLD_APART)):
        pattern = f"(?:{tail(count)}|{digit}{pattern})"
    return pattern


def _at_least(least: int) -> str:
    """Return the pattern of whole numbers from `least` on, of as many digits or of up to three."""
    digits = str(least)
    lowest = [int(digit) + 1 for digit in digits[:-1]] + [int(digits[-1])]
    higher = [
        f"{digits[:place]}[{low}-9]{'[0-9]' * (len(digits) - place - 1)}"
        for place, low in enumerate(lowest)
        if low in range(10)
    ]
    longer = [f"[1-9][0-9]{{{len(digits)},{_TOLD_EXPONENT - 1}}}"] if len(digits) < _TOLD_EXPONENT else []
    return f"(?:{'|'.join(higher + longer)})"


def _too_large() -> str:
    """Return the pattern of numbers that are too long by a positive exponent, or without one.

    With w digits before the point and the exponent n, a number has w + n digits; 0.00…1 with z zeros behind the point
    has n - z.
    """
    most = MAX_NUMBER_DIGITS
    whole = _repeated("[0-9]", 1, lambda digits: rf"(?:\.[0-9]*)?{_UP}{_at_least(most + 1 - digits)}")
    small = _repeated("0", 0, lambda zeros: f"[1-9][0-9]*{_UP}{_at_least(most + 1 + zeros)}")
    plain = f"[1-9][0-9]{{{most}}}"
    # Of more zeros than that, such an exponent may be right.
    small_by_far = rf"0\.0{{0,{most}}}[1-9][0-9]*{_UP}[1-9][0-9]{{4}}"
    by_far = rf"[1-9][0-9.]*{_UP}[1-9][0-9]{{3}}|{small_by_far}|[0-9.]+{_UP}{_OVERLONG}"
    return rf"[1-9]{whole}|0\.{small}|{plain}|{by_far}"


def _too_small() -> str:
    """Return the pattern of numbers that are too long by a negative exponent.

    With f digits behind the point and the exponent -n, a number has at least 1 + f + n digits.
    """
    behind = _repeated("[0-9]", 0, lambda digits: f"{_DOWN}{_at_least(MAX_NUMBER_DIGITS - digits)}")
    return rf"[0-9]+(?:\.{behind}|[0-9.]*{_DOWN}[1-9][0-9]{{3}})"


#: Apart, as one pattern of both would have as many states as the product of theirs.
TOO_LARGE: Final = _too_large()
TOO_SMALL: Final = _too_small()
