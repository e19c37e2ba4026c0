"""Which timestamps are taken: RFC 3339 with an offset, of an instant that Postgres stores and everyone can read back.

The text itself goes to Postgres as `timestamptz`, so this is stricter than the RFC where Postgres or its readers are:
offsets end at ±15:59 (Postgres knows no greater), and the instant lies in the years 1 to 9999 of UTC, rounded up to
the next second where its fraction might be (year 10,000 is stored, but no Python or .NET client can load it). A second
of 60 passes where a leap second can be, at the end of a day of UTC; Postgres makes it the next midnight, and refuses
one with a fraction, so that is refused here too.

The timestamps of many elements are looked at together, in the linear time of RE2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ingest_api.validation.instants import are_stored, as_lines
from shared.linear_patterns import compiled

#: Digits of a fraction of a second: more than any clock has, few enough for Postgres' buffer of 128 characters.
_FRACTION: Final = r"(?:\.[0-9]{1,32})?"
_OFFSET: Final = r"(?:[Zz]|[+-](?:0[0-9]|1[0-5]):[0-5][0-9])"
#: The form alone, as clients are told it.
FORM: Final = (
    rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[Tt](?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60){_FRACTION}{_OFFSET}"
)
#: Lines of that form, with days that there are.
_LINES: Final = compiled(
    r"(?:(?:(?:000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})-"
    r"(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
    r"|(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)-02-29)"
    rf"[Tt](?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]{_FRACTION}|60(?:\.0{{1,32}})?){_OFFSET}\n)*"
)
#: The longest text that can pass.
MAX_TIMESTAMP_CHARACTERS: Final = 19 + 33 + 6


def is_timestamp(text: str) -> bool:
    """Return whether a text is a timestamp that we take."""
    return are_timestamps([text])


def are_timestamps(texts: Sequence[str]) -> bool:
    """Return whether all texts are timestamps that we take."""
    if not texts:
        return True
    lines = as_lines(texts)
    return lines.count(b"\n") == len(texts) and bool(_LINES.fullmatch(lines)) and are_stored(texts, lines)
