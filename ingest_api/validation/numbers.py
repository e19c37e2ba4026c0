"""Whether a text holds a number of too many digits, found without looking at each number.

Pure. A number of fewer than 900 characters in front of an exponent of two digits is short enough. Longer ones are
looked for in the whole text, then outside of strings, and only those that may need too many digits are counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from ingest_api.validation.json_text import digits_in_plain_form
from ingest_api.validation.structure import marks
from shared.limits import MAX_NUMBER_DIGITS

#: Spells what numbers are made of: what is looked for are then plain bytes, found twenty times faster than a pattern.
_SPELLED: Final = bytes(
    ord("0" if octet in b"0123456789." else "e" if octet in b"eE" else "s" if octet in b"+-" else " ")
    for octet in range(256)
)
_MANY_DIGITS: Final = b"0" * (MAX_NUMBER_DIGITS - 100)
_EXPONENT: Final = b"0e000"
_SIGNED_EXPONENT: Final = b"0es000"
_IN_NUMBERS: Final = b'".,:0123456789eE+-'
_NOT_IN_NUMBERS: Final = bytes(set(range(256)) - set(_IN_NUMBERS))
#: Exponents that may come to too many digits with what stands in front: 900 to 999 are told apart by tens.
_SUSPECT: Final = re.compile(
    rb"[eE](?:[-+]?0*+[1-9][0-9]{3}|(?<=[0-9.]{100}[eE])[-+]?0*+[1-9][0-9]{2}|(?=[-+]?0*+9)(?:%b))"
    % b"|".join(b"(?<=[0-9.]{%d}[eE])[-+]?0*+9%d[0-9]" % (92 - 10 * tens, tens) for tens in range(10))
)


def holds_many_digits(text: bytes) -> bool:
    """Return whether so many digits and points stand in a row, in a string or not, that they may be a long number."""
    return _MANY_DIGITS in text.translate(_SPELLED)


def holds_long_number(text: bytes) -> bool:
    """Return whether a number in JSON text needs more digits in plain form than are taken."""
    spelled = text.translate(_SPELLED)
    if not (_MANY_DIGITS in spelled or _EXPONENT in spelled or _SIGNED_EXPONENT in spelled):
        return False
    numbers = b"".join(marks(text, 0, len(text), _NOT_IN_NUMBERS)).replace(b":", b",")
    return any(digits_in_plain_form(_literal(numbers, place)) > MAX_NUMBER_DIGITS for place in _suspects(numbers))


def _suspects(numbers: bytes) -> Iterator[int]:
    """Yield places in numbers that may be too long."""
    for exponent in _SUSPECT.finditer(numbers):
        yield exponent.start()
    spelled, place = numbers.translate(_SPELLED), 0
    while (place := spelled.find(_MANY_DIGITS, place)) >= 0:
        yield place
        place = _end(spelled, b" ", place)


def _literal(numbers: bytes, place: int) -> str:
    return numbers[numbers.rfind(b",", 0, place) + 1 : _end(numbers, b",", place)].decode()


def _end(text: bytes, separator: bytes, place: int) -> int:
    end = text.find(separator, place)
    return len(text) if end < 0 else end
