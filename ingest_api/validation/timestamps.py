"""Which timestamps are taken: RFC 3339 with an offset, of an instant that Postgres stores and everyone can read back.

The text itself goes to Postgres as `timestamptz`, so this is stricter than the RFC where Postgres or its readers are:
offsets end at ±15:59 (Postgres knows no greater), and the instant lies in the years 1 to 9999 of UTC, rounded up to
the next second where its fraction might be (year 10,000 is stored, but no Python or .NET client can load it). A second
of 60 passes where a leap second can be, at the end of a day of UTC; Postgres makes it the next midnight, and refuses
one with a fraction, so that is refused here too.
"""

from __future__ import annotations

import re
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
    r"(?!0000)(?:(0001-01-01)|(9999-12-31)|[0-9]{4}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-"
    r"(?:29|30)|(?:0[13578]|1[02])-31)|(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29)"
    rf"[Tt](?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]{_FRACTION}|(60)(?:\.0{{1,32}})?){_OFFSET}"
).fullmatch
#: The longest text that can pass.
MAX_TIMESTAMP_CHARACTERS: Final = 19 + 33 + 6
_TIME: Final = slice(len("2026-12-31T"), len("2026-12-31T23:59"))
_SECONDS: Final = len("2026-12-31T23:59:")
_OFFSET_CHARACTERS: Final = len("+01:00")
#: Minutes since midnight of each time of a day, and of each offset but `Z`.
_MINUTES: Final = {f"{minute // 60:02}:{minute % 60:02}": minute for minute in range(24 * 60)}
_OFFSETS: Final = {f"{sign}{text}": int(f"{sign}{minute}") for text, minute in _MINUTES.items() for sign in "+-"}
_LAST_MINUTE: Final = 24 * 60 - 1


def is_timestamp(text: str) -> bool:
    """Return whether a text is a timestamp that we take."""
    match = _form(text)
    if match is None or match.lastindex is None:
        return match is not None
    first, last, leap = match.groups()
    minute = _MINUTES[text[_TIME]] - _OFFSETS.get(text[-_OFFSET_CHARACTERS:], 0)  # of UTC, from midnight of that day
    if leap and minute % len(_MINUTES) != _LAST_MINUTE:
        return False
    if first:
        return minute >= 0
    may_round_up = bool(leap) or text.startswith("59.999999", _SECONDS)  # to the next minute, in microseconds
    return not last or minute < _LAST_MINUTE or (minute == _LAST_MINUTE and not may_round_up)
