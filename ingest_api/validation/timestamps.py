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

from ingest_api.validation.linear import compiled

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
_FIRST, _LAST = "0001-01-01", "9999-12-31"
#: Lines without these need no second look.
_EDGES: Final = (_FIRST.encode(), _LAST.encode(), b":60")
#: The longest text that can pass.
MAX_TIMESTAMP_CHARACTERS: Final = 19 + 33 + 6
_DAY: Final = slice(0, 10)
_TIME: Final = slice(11, 16)
_SECOND: Final = slice(17, 19)
_OFFSET_TEXT: Final = slice(-6, None)
#: Minutes since midnight of each time of a day, and of each offset but `Z`.
_MINUTES: Final = {f"{minute // 60:02}:{minute % 60:02}": minute for minute in range(24 * 60)}
_OFFSETS: Final = {f"{sign}{text}": int(f"{sign}{minute}") for text, minute in _MINUTES.items() for sign in "+-"}
_LAST_MINUTE: Final = 24 * 60 - 1


def is_timestamp(text: str) -> bool:
    """Return whether a text is a timestamp that we take."""
    return are_timestamps([text])


def are_timestamps(texts: Sequence[str]) -> bool:
    """Return whether all texts are timestamps that we take."""
    if not texts:
        return True
    lines = "\n".join((*texts, "")).encode()
    if lines.count(b"\n") != len(texts) or not _LINES.fullmatch(lines):
        return False
    return not any(edge in lines for edge in _EDGES) or all(map(_is_stored, texts))


def _is_stored(text: str) -> bool:
    """Whether Postgres stores the instant of a text of the right form, and everyone can read it back."""
    day, second = text[_DAY], text[_SECOND]
    minute = _MINUTES[text[_TIME]] - _OFFSETS.get(text[_OFFSET_TEXT], 0)  # of UTC, from midnight of that day
    if second == "60" and minute % len(_MINUTES) != _LAST_MINUTE:
        return False
    if day == _FIRST:
        return minute >= 0
    if day == _LAST and minute >= _LAST_MINUTE:
        # Not to be rounded up to the next minute, in microseconds.
        return minute == _LAST_MINUTE and second != "60" and not text.startswith("59.999999", _SECOND.start)
    return True
