"""Whether instants at the edges are taken: the first day of all, the last day, and leap seconds.

Pure. The lines are timestamps of the right form. An offset moves an instant across midnight, so time and offset are
compared: once by their hours alone, and once by hours or minutes. Both together decide, and each is a small pattern for
RE2, whereas one pattern of all times and offsets would be a hundred times as long.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from shared.linear_patterns import compiled

_FIRST, _LAST = "0001-01-01", "9999-12-31"
_LEAP_SECOND: Final = b":60"
_HOURS, _MINUTES = range(24), range(60)
#: Offsets end at 15:59.
_OFFSET_HOURS: Final = range(16)
_NO_OFFSET: Final = "(?:[Zz]|[+-]00:00)"
_TWO: Final = "[0-9]{2}"
#: Seconds that are rounded up to the next minute, in microseconds, as leap seconds are; and what they are marked with.
#: To tell them by a pattern, each hour and minute would have a state for each of their characters.
_ROUNDED_UP: Final = b":59.999999"
_MARK: Final = b"#"
_ROUNDED_DOWN: Final = "[:0-9.]*"
_SECONDS: Final = f"[{_MARK.decode()}:0-9.]*"
_ANY: Final = r"[^\n]*"


def are_stored(lines: bytes) -> bool:
    """Return whether Postgres stores all instants, and everyone can read them back. A line feed ends each."""
    marked = lines.replace(_ROUNDED_UP, _MARK).replace(_LEAP_SECOND, _MARK)
    looks = [_DAYS_BY_HOURS] if any(day.encode() in lines for day in (_FIRST, _LAST)) else []
    looks += _FIRST_BY_MINUTES if _FIRST.encode() in lines else []
    looks += _LAST_BY_MINUTES if _LAST.encode() in lines else []
    if not all(look.fullmatch(marked) for look in looks):
        return False
    return _LEAP_SECOND not in lines or all(look.fullmatch(lines) for look in (_LEAPS_BY_HOURS, _LEAPS_BY_MINUTES))


def _lines(alternatives: Iterable[str]) -> Any:
    return compiled(rf"(?:(?:{'|'.join(alternatives)})\n)*")


def _others(text: str, skipped: int) -> list[str]:
    """Return patterns of what begins otherwise than a text, but alike in so many characters."""
    return [rf"{re.escape(text[:place])}[^{text[place]}\n]{_ANY}" for place in range(skipped, len(text))]


def _up_to(most: int) -> str:
    """Return the pattern of numbers of two digits up to one."""
    tens, units = divmod(most, 10)
    lower = f"[0-{tens - 1}][0-9]|" if tens else ""
    return f"(?:{lower}{tens}[0-{units}])"


def _first_day(alternatives: Iterable[str]) -> str:
    """Return the pattern of lines of the first day: the offset is not above the time."""
    return rf"{_FIRST}[Tt](?:[^+\n]*|{'|'.join(alternatives)})"


def _last_day(alternatives: Iterable[str]) -> str:
    """Return the pattern of lines of the last day: time and negative offset together do not reach its end."""
    later = "|".join(_others("+00:00", 1))
    return rf"{_LAST}[Tt](?:{_TWO}:{_TWO}{_SECONDS}(?:{later})|{'|'.join(alternatives)})"


def _earlier(hour: str, minute: str) -> str:
    """Return the pattern of a negative offset."""
    return f"(?:{_NO_OFFSET}|-{hour}:{minute})"


_DAYS_BY_HOURS: Final = _lines(
    [
        rf"[^09\n]{_ANY}",
        *_others(_FIRST, 1),
        *_others(_LAST, 1),
        _first_day(rf"{hour:02}:{_TWO}{_SECONDS}\+{_up_to(hour)}:{_TWO}" for hour in _HOURS),
        _last_day(f"{hour:02}:{_TWO}{_SECONDS}{_earlier(_up_to(23 - hour), _TWO)}" for hour in _HOURS),
    ]
)


def _any_of(hours: Iterable[int]) -> str:
    return f"(?:{'|'.join(f'{hour:02}' for hour in hours)})"


def _by_minutes(day: str, of_day: Callable[[Iterable[str]], str], hours: range, compared: Iterable[str]) -> Any:
    """Return the pattern of lines that are right by minutes if they are of certain hours of a day."""
    others = _any_of(hour for hour in _HOURS if hour not in hours)
    return _lines([*_others(day, 0), of_day([others + _ANY, *compared])])


def _first_by_minutes(hours: range) -> Any:
    compared = [
        *(rf"{hour:02}:{_TWO}{_SECONDS}\+{_up_to(hour - 1)}:{_TWO}" for hour in hours if hour),
        *(rf"{_any_of(hours)}:{minute:02}{_SECONDS}\+{_TWO}:{_up_to(minute)}" for minute in _MINUTES),
    ]
    return _by_minutes(_FIRST, _first_day, hours, compared)


def _last_by_minutes(hours: range) -> Any:
    of_hours = _any_of(hours)
    compared = [
        *(f"{hour:02}:{_TWO}{_SECONDS}{_earlier(_up_to(22 - hour), _TWO)}" for hour in hours if hour < _HOURS[-1]),
        *(f"{of_hours}:{minute:02}{_SECONDS}{_earlier(_TWO, _up_to(58 - minute))}" for minute in _MINUTES[:-1]),
        *(f"{of_hours}:{minute:02}{_ROUNDED_DOWN}{_earlier(_TWO, f'{59 - minute:02}')}" for minute in _MINUTES),
    ]
    return _by_minutes(_LAST, _last_day, hours, compared)


#: Of the hours that an offset may move across midnight; each half has few enough states to stay near the processor.
_FIRST_BY_MINUTES: Final = [_first_by_minutes(hours) for hours in (range(8), range(8, 16))]
_LAST_BY_MINUTES: Final = [_last_by_minutes(hours) for hours in (range(8, 16), range(16, 24))]

_OTHER_SECONDS: Final = [rf"[^\n]{{16}}{other}" for other in _others(":60", 1)]
_LEAP: Final = ":60[.0]*"


def _leaps(alternatives: Iterable[str]) -> Any:
    """Return the pattern of lines in which a leap second stands at the end of a day of UTC."""
    return _lines([*_OTHER_SECONDS, rf"[^\n]{{11}}(?:{'|'.join(alternatives)})"])


_LEAPS_BY_HOURS: Final = _leaps(
    [
        f"{_TWO}:{_TWO}{_LEAP}[Zz]",
        *(rf"{hour:02}:{_TWO}{_LEAP}\+{hour:02}:(?:0[1-9]|[1-5][0-9])" for hour in _OFFSET_HOURS),
        *(rf"{(hour - 1) % 24:02}:{_TWO}{_LEAP}\+{hour:02}:00" for hour in _OFFSET_HOURS),
        *(f"{23 - hour:02}:{_TWO}{_LEAP}-{hour:02}:{_TWO}" for hour in _OFFSET_HOURS),
    ]
)
_LEAPS_BY_MINUTES: Final = _leaps(
    [
        f"23:59{_LEAP}[Zz]",
        *(rf"{_TWO}:{(minute - 1) % 60:02}{_LEAP}\+{_TWO}:{minute:02}" for minute in _MINUTES),
        *(f"{_TWO}:{59 - minute:02}{_LEAP}-{_TWO}:{minute:02}" for minute in _MINUTES),
    ]
)
