"""Whether the names and the numbers of all members are within their bounds, found without a step of Python for each."""

from __future__ import annotations

from typing import Final

from ingest_api.validation.numbers import LONG_NUMBER, TO_NUMBER, TOO_LARGE, TOO_SMALL, holds_long_literal
from shared.limits import MAX_KEY_BYTES
from shared.linear_patterns import BEFORE, WHITE, compiled, longer_string

_WRONG_NAME: Final = f'(?:""|{longer_string(MAX_KEY_BYTES)}){WHITE}:'
#: Up to the first member of which the name is out of bounds, or the number may be. Nearly every text has none, and no
#: other look is needed.
_FIRST_SUSPECT: Final = compiled(f"{BEFORE}(?:{_WRONG_NAME}|{TO_NUMBER}(?:{LONG_NUMBER}))")
_WRONG: Final = compiled(f"{BEFORE}(?:{_WRONG_NAME}|{TO_NUMBER}(?:{TOO_LARGE}))")
_TOO_SMALL: Final = compiled(f"{BEFORE}{TO_NUMBER}(?:{TOO_SMALL})")


def are_within_bounds(text: bytes) -> bool:
    """Return whether all names of members have 1 to 256 bytes and all their numbers at most 1,000 digits in plain form.

    `text`: JSON, or else what is returned means nothing.
    """
    suspect = _FIRST_SUSPECT.match(text)
    if suspect is None:
        return True
    if text[suspect.end() - 1] == ord(":"):
        return False
    start = text.rfind(b'"', 0, suspect.end()) + 1  # behind the number's name
    return not (_WRONG.match(text, start) or _TOO_SMALL.match(text, start) or holds_long_literal(text, start))
