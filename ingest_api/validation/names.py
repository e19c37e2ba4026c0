"""Whether all names of members are within their size, found without looking at each name. Pure."""

from __future__ import annotations

import re
from typing import Final

from ingest_api.validation.json_text import decoded_size
from shared.limits import MAX_KEY_BYTES

_EMPTY_NAME: Final = re.compile(rb'""[ \t\r\n]*+:')
_COLON: Final = re.compile(rb"[ \t\r\n]*+:")
#: What each name of a wrong size looks like in text without escapes, and some right ones that had some.
ODD_NAME: Final = rf'"(?:[^"]{{{MAX_KEY_BYTES + 1},}})?"[ \t\r\n]*:'


def has_only_short_names(text: bytes, plain: bytes, start: int = 0) -> bool:
    """Return whether all names of members have 1 to 256 bytes. A long one leaves no quote in so many bytes.

    `plain`: the text without escapes. `start`: where to begin, outside of strings.
    """
    if plain.find(b'""', start) >= 0 and _EMPTY_NAME.search(plain, start):
        return False
    rfind, longest = plain.rfind, MAX_KEY_BYTES + 2  # local, as this runs for each 100 bytes of each batch
    start, counted, within = plain.find(b'"', start), start, 0
    while start >= 0:
        if (end := rfind(b'"', start + 1, start + longest)) < 0:
            end = plain.find(b'"', start + longest)
            if end >= 0 and _COLON.match(plain, end + 1):  # behind a name, or within a string
                within ^= plain.count(b'"', counted, start) & 1
                counted = start
                if not within and decoded_size(text, start, end + 1) > MAX_KEY_BYTES:
                    return False
        start = end
    return True
