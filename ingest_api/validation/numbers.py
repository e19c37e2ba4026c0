"""Whether a member's number needs too many digits, found without a step of Python for each number.

Pure. A number of fewer than 900 characters in front of an exponent of two digits is short enough. If the text seems to
hold others, one pattern passes over strings and over numbers that are short enough, and stops in front of any other. It
is exact for up to a hundred digits and points in front of an exponent; longer ones are looked at one by one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from ingest_api.validation.json_text import digits_in_plain_form
from shared.limits import MAX_NUMBER_DIGITS

#: Spells what numbers are made of: what is looked for are then plain bytes, found twenty times faster than a pattern.
_SPELLED: Final = bytes(
    ord("0" if octet in b"0123456789." else "e" if octet in b"eE" else "s" if octet in b"+-" else " ")
    for octet in range(256)
)
#: Digits and points in front of an exponent that the pattern tells apart; `_FAR_EXPONENT` is written for it.
TOLD_APART: Final = 100
_FEWER_DIGITS: Final = MAX_NUMBER_DIGITS - TOLD_APART
_MANY_DIGITS: Final = b"0" * _FEWER_DIGITS
_EXPONENT: Final = b"0e000"
_SIGNED_EXPONENT: Final = b"0es000"
#: Spells exponents one way; what is dropped matters in strings only.
_ONE_SPELLING: Final = bytes.maketrans(b"E", b"e")
_DROPPED: Final = b" \t\r\n+"
_NUMBER: Final = re.compile(rb":(-?[0-9]++(?:\.[0-9]++)?(?:e-?[0-9]++)?)")


def _up_to(most: int) -> str:
    """Return the pattern of the exponents from the last hundred up to one."""
    tens, units = divmod(most % 100, 10)
    lower = f"|[0-{tens - 1}][0-9]" if tens else ""
    return f"{most // 100}(?:{tens}[0-{units}]{lower})(?![0-9])"


def _by_length(digit: str, least: int, most: int, tail: Callable[[int], str]) -> str:
    """Return the pattern of digits behind the first `least`, already matched: up to `most` in all, each with its tail.

    Short ones are told apart first.
    """
    if least == most:
        return tail(least)
    cut = min(2 * least + (not least), (least + most + 1) // 2)
    more, fewer = _by_length(digit, cut, most, tail), _by_length(digit, least, cut - 1, tail)
    return f"(?:{digit}{{{cut - least}}}{more}|{fewer})"


def _grown() -> str:
    """Return the pattern of numbers of at most 1,000 digits, of those with an exponent of 900 or more."""
    most, told = MAX_NUMBER_DIGITS, TOLD_APART
    whole = _by_length("[0-9]", 1, told, lambda digits: rf"(?:\.[0-9]++)?+e0*+{_up_to(most - digits)}")
    zeros = _by_length(
        "0", 0, told - 1, lambda zeros: f"[1-9][0-9]*+e0*+(?:9[0-9]{{2}}(?![0-9])|{_up_to(most + zeros)})"
    )
    return rf"[1-9]{whole}|0(?:\.0++)?+e0*+[1-9][0-9]{{2,4}}(?![0-9])|0\.{zeros}"


def _shrunk() -> str:
    """Return the pattern of numbers of at most 1,000 digits, of those with an exponent of -900 or less."""
    most, told = MAX_NUMBER_DIGITS, TOLD_APART
    behind = _by_length("[0-9]", 1, told - 1, lambda digits: f"e-0*+{_up_to(most - 1 - digits)}")
    return rf"[0-9]++(?:e-0*+{_up_to(most - 1)}|\.[0-9]{behind})"


#: Of 900 or more: with a smaller one, a number of up to a hundred digits is short enough.
_FAR_EXPONENT: Final = "0*+(?:9[0-9]{2}|[1-9][0-9]{3})"
#: A number that needs too many digits, or has too many to be told apart.
SUSPECT: Final = (
    rf":-?+(?:(?=[0-9.]++e{_FAR_EXPONENT})(?!{_grown()})|(?=[0-9.]++e-{_FAR_EXPONENT})(?!{_shrunk()})"
    rf"|[0-9.]{{{TOLD_APART + 1}}}(?:[0-9.]{{{_FEWER_DIGITS - TOLD_APART - 1}}}|[0-9.]*+e-?+0*+[1-9][0-9]{{2}}))"
)
#: As much text as has no such number; so few strings that no step holds the interpreter for long.
_PASSED: Final = re.compile(rf'(?:(?!{SUSPECT})[^"]*+"[^"]*+"){{0,8192}}+'.encode())


def holds_many_digits(text: bytes) -> bool:
    """Return whether so many digits and points stand in a row, in a string or not, that they may be a long number."""
    return _MANY_DIGITS in text.translate(_SPELLED)


def holds_long_number(text: bytes) -> bool:
    """Return whether an object in JSON text has a number that needs more digits in plain form than are taken."""
    spelled = text.translate(_SPELLED)
    if not (_MANY_DIGITS in spelled or _EXPONENT in spelled or _SIGNED_EXPONENT in spelled):
        return False
    plain = text.replace(rb"\\", b"..").replace(rb"\"", b"..") if b"\\" in text else text
    plain = plain.translate(_ONE_SPELLING, _DROPPED)
    place, passed = 0, _PASSED.match(plain)
    while passed:
        number = _NUMBER.match(plain, passed.end())
        if not number and passed.end() == place:
            break
        if number and digits_in_plain_form(number[1].decode()) > MAX_NUMBER_DIGITS:
            return True
        place = (number or passed).end()
        passed = _PASSED.match(plain, place)
    return False
