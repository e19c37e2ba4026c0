"""Whether the names and the numbers of all members are within their bounds, found without a step of Python for each."""

from __future__ import annotations

from typing import Final

from ingest_api.validation.linear import BEFORE, TO_NUMBER, compiled
from ingest_api.validation.names import ODD_NAME, has_only_short_names
from ingest_api.validation.numbers import LONG_NUMBER, holds_long_number
from shared.json_chunks import without_escapes

#: Up to the first member that may be out of bounds. Nearly every text has none, and no other look is needed.
_FIRST_SUSPECT: Final = compiled(f"{BEFORE}(?:{ODD_NAME}|{TO_NUMBER}(?:{LONG_NUMBER}))")


def are_within_bounds(text: bytes) -> bool:
    """Return whether all names of members have 1 to 256 bytes and all their numbers at most 1,000 digits in plain form.

    `text`: JSON, or else what is returned means nothing. Raises msgspec.DecodeError or UnicodeDecodeError for some
    strings that are not.
    """
    plain = without_escapes(text)
    suspect = _FIRST_SUSPECT.match(plain)
    if suspect is None:
        return True
    closing = plain.rfind(b'"', 0, suspect.end())
    start = max(plain.rfind(b'"', 0, max(closing, 0)), 0)  # of its name
    return has_only_short_names(text, plain, start) and not holds_long_number(plain, start)
