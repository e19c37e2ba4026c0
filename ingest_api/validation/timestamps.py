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
_FRACTION: Final = r"(?:\.[0-9]{1,32})?"
_OFFSET: Final = r"(?:[Zz]|[+-](?:0[0-9]|1[0-5]):[0-5][0-9])"
#: The form alone, as clients are told it.
FORM: Final = (
    rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[Tt](?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60){_FRACTION}{_OFFSET}"
)
#: With days that there are. The groups are what needs a second look: the first and the last of them, a second of 60.
_form: Final = re.compile(
    r"(?!0000)(?:(0001-01-01|9999-12-31)|[0-9]{4}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-"
    r"(?:29|30)|(?:0[13578]|1[02])-31)|(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29)"
    r"[Tt](?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|(60))"
    rf"{_FRACTION}{_OFFSET}"
).fullmatch
#: The longest text that can pass.
MAX_TIMESTAMP_CHARACTERS: Final = 19 + 33 + 6
_TIME: Final = slice(len("2026-12-31T"), len("2026-12-31T23:59"))
_BEFORE_SECONDS: Final = len("2026-12-31T23:59:")
_BEHIND_SECONDS: Final = _BEFORE_SECONDS + 2
_SECOND: Final = timedelta(seconds=1)
_DAY_MINUTES: Final = 24 * 60
#: Hour, minute and offset of the last minute of a day of UTC.
_LAST_MINUTES: Final = frozenset(
    f"{minute // 60:02}:{minute % 60:02}{sign}{offset // 60:02}:{offset % 60:02}"
    for offset in range(16 * 60)
    for sign, minute in (("+", (offset - 1) % _DAY_MINUTES), ("-", _DAY_MINUTES - 1 - offset))
) | {"23:59Z"}


def is_timestamp(text: str) -> bool:
    """Return whether a text is a timestamp that we take."""
    match = _form(text)
    if match is None or match.lastindex is None:
        return match is not None
    day, leaps = match.groups()
    if leaps and f"{text[_TIME]}{text[_BEHIND_SECONDS:].upper().lstrip('.0')}" not in _LAST_MINUTES:
        return False
    return day is None or _is_in_range(text, leaps)


def _is_in_range(text: str, leaps: str | None) -> bool:
    """Return whether an instant is in the years that are kept."""
    rounded_up = bool(leaps) or text.startswith(".999999", _BEHIND_SECONDS)
    if leaps:
        text = f"{text[:_BEFORE_SECONDS]}59{text[_BEHIND_SECONDS:]}"
    try:
        # Overflows in the last second of year 9999, which is the point: Postgres keeps microseconds and rounds.
        _ = datetime.fromisoformat(text.upper()).astimezone(UTC) + _SECOND * rounded_up
    except (ValueError, OverflowError):
        return False
    return True
