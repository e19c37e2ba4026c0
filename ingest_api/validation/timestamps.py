"""Which timestamps are taken: RFC 3339 with an offset, of an instant that Postgres stores and everyone can read back.

The text itself goes to Postgres as `timestamptz`, so this is stricter than the RFC where Postgres or its readers are:
offsets end at ±15:59 (Postgres knows no greater), and the instant lies in the years 1 to 9999 of UTC, rounded up to
the next second where its fraction might be (year 10,000 is stored, but no Python or .NET client can load it). A second
of 60 passes where a leap second can be, at the end of a day of UTC; Postgres makes it the next midnight, and refuses
one with a fraction, so that is refused here too.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

#: Digits of a fraction of a second: more than any clock has, few enough for Postgres' buffer of 128 characters.
FORM: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,32}))?"
    r"(?:[Zz]|([+-])(0[0-9]|1[0-5]):([0-5][0-9]))"
)
#: Most of what passes: of years, days and seconds that need no second look.
_USUAL: Final = re.compile(
    r"(?!000[01]|9999)[0-9]{4}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)"
    r"|(?:0[13578]|1[02])-31)[Tt](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,32})?"
    r"(?:[Zz]|[+-](?:0[0-9]|1[0-5]):[0-5][0-9])"
).fullmatch
#: The longest text that can pass.
MAX_TIMESTAMP_CHARACTERS: Final = 19 + 33 + 6
_SECOND: Final = timedelta(seconds=1)
_LEAP_SECOND: Final = 60


def is_timestamp(text: str) -> bool:
    """Return whether a text is a timestamp that we take."""
    if _USUAL(text):
        return True
    match = FORM.fullmatch(text)
    if match is None:
        return False
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    leaps = second == _LEAP_SECOND
    try:
        instant = datetime(year, month, day, hour, minute, 59 if leaps else second, tzinfo=UTC) - _offset(match)
        if leaps and ((instant.hour, instant.minute) != (23, 59) or (match[7] or "0").strip("0")):
            return False
        # Overflows in the last second of year 9999, which is the point.
        _ = instant + _SECOND * (leaps + _may_round_up(match[7]))
    except (ValueError, OverflowError):
        return False
    return True


def _offset(match: re.Match[str]) -> timedelta:
    if match[8] is None:
        return timedelta()
    offset = timedelta(hours=int(match[9]), minutes=int(match[10]))
    return -offset if match[8] == "-" else offset


def _may_round_up(fraction: str | None) -> bool:
    # Postgres keeps microseconds and rounds.
    return fraction is not None and fraction.startswith("999999")
