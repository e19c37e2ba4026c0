"""Whether a text holds a number of too many digits, found without looking at each number.

Pure. A number of fewer than 900 characters in front of an exponent of two digits is short enough. If the text seems to
hold others, those are looked at one by one: once one needs too many, in what is left without the strings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from ingest_api.validation.json_text import digits_in_plain_form
from shared.limits import MAX_NUMBER_DIGITS

#: Spells what numbers are made of: what is looked for are then plain bytes, found twenty times faster than a pattern.
_SPELLED: Final = bytes(
    ord("0" if octet in b"0123456789." else "e" if octet in b"eE" else "s" if octet in b"+-" else " ")
    for octet in range(256)
)
_MANY_DIGITS: Final = b"0" * (MAX_NUMBER_DIGITS - 100)
_EXPONENT: Final = b"0e000"
_SIGNED_EXPONENT: Final = b"0es000"
_NUMBER: Final = re.compile(rb"[0-9]++(?:\.[0-9]++)?(?:[eE][-+]?[0-9]++)?")
_RUN: Final = re.compile(rb"0++")
#: Exponents that may come to too many digits with what stands in front: 900 to 999 are told apart by tens.
_SUSPECT: Final = re.compile(
    rb"[eE](?:[-+]?0*+[1-9][0-9]{3,}|(?<=[0-9.]{100}[eE])[-+]?0*+[1-9][0-9]{2,}|(?=[-+]?0*+9)(?:%b))"
    % b"|".join(b"(?<=[0-9.]{%d}[eE])[-+]?0*+9%d[0-9]" % (92 - 10 * tens, tens) for tens in reversed(range(10)))
)


def holds_many_digits(text: bytes) -> bool:
    """Return whether so many digits and points stand in a row, in a string or not, that they may be a long number."""
    return _MANY_DIGITS in text.translate(_SPELLED)


def holds_long_number(text: bytes) -> bool:
    """Return whether a number in JSON text needs more digits in plain form than are taken."""
    spelled = text.translate(_SPELLED)
    if not (_MANY_DIGITS in spelled or _EXPONENT in spelled or _SIGNED_EXPONENT in spelled):
        return False
    if not _any_is_long(text, spelled):
        return False
    bare = _outside_strings(text)
    return _any_is_long(bare, bare.translate(_SPELLED))


def _any_is_long(text: bytes, spelled: bytes) -> bool:
    return any(_digits(literal) > MAX_NUMBER_DIGITS for literal in _suspects(text, spelled))


def _outside_strings(text: bytes) -> bytes:
    """Return JSON text without its strings, which may hold very many that look like long numbers."""
    quotes = text.replace(rb"\\", b"..").replace(rb"\"", b"..") if b"\\" in text else text
    return b" ".join(quotes.split(b'"')[::2])


def _suspects(text: bytes, spelled: bytes) -> Iterator[bytes]:
    """Yield what may be a number of too many digits."""
    for exponent in _SUSPECT.finditer(text):
        place = exponent.start()
        before = text[max(place - MAX_NUMBER_DIGITS, 0) : place]
        digits = len(before) - len(before.rstrip(b"0123456789."))
        yield text[place - digits : exponent.end()]
    end = 0
    while (place := spelled.find(_MANY_DIGITS, end)) >= 0:
        end = _end_of_run(spelled, place)
        number = _NUMBER.match(text, place)
        yield number[0] if number else b""


def _end_of_run(spelled: bytes, place: int) -> int:
    run = _RUN.match(spelled, place)
    return run.end() if run else place + 1


@lru_cache(4_096)
def _digits(literal: bytes) -> int:
    return digits_in_plain_form(literal.decode()) if _NUMBER.fullmatch(literal) else 0  # a string may hold anything
