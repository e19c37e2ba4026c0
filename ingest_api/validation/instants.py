"""Whether instants at the edges are taken: the first day of all, the last day, and leap seconds.

Pure. An offset moves an instant across midnight, so time and offset are compared: once by their hours alone, and once
by hours or minutes. Both together decide, and each is a small pattern for RE2, whereas one pattern of all times and
offsets would be a hundred times as long. Each looks only at timestamps of its day, or with a leap second.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from shared.linear_patterns import compiled

_FIRST, _LAST = "0001-01-01", "9999-12-31"
_LEAP_SECOND: Final = ":60"
_HOURS, _MINUTES = range(24), range(60)
#: Offsets end at 15:59.
_OFFSET_HOURS: Final = range(16)
_NO_OFFSET: Final = "(?:[Zz]|[+-]00:00)"
_LATER: Final = r"\+[0:]*[1-9][0-9:]*"
_TWO: Final = "[0-9]{2}"
#: Seconds that are rounded up to the next minute, in microseconds, as leap seconds are; and what they are marked with.
#: To tell them by a pattern, each hour and minute would have a state for each of their characters.
_ROUNDED_UP: Final = b":59.999999"
_MARK: Final = b"#"
_ROUNDED_DOWN: Final = "[:0-9.]*"
_SECONDS: Final = f"[{_MARK.decode()}:0-9.]*"
_ANY: Final = r"[^\n]*"


def are_stored(texts: Sequence[str], lines: bytes) -> bool:
    """Return whether Postgres stores all instants, and everyone can read them back.

    `texts`: timestamps of the right form. `lines`: the same, for a quick look at what they hold.
    """
    for mark, looks in ((_FIRST, _FIRST_LOOKS), (_LAST, _LAST_LOOKS), (_LEAP_SECOND, _LEAP_LOOKS)):
        if mark.encode() in lines:
            concerned = as_lines(text for text in texts if mark in text)
            if mark != _LEAP_SECOND:
                concerned = concerned.replace(_ROUNDED_UP, _MARK).replace(_LEAP_SECOND.encode(), _MARK)
            if not all(look.fullmatch(concerned) for look in looks):
                return False
    return True


def as_lines(texts: Iterable[str]) -> bytes:
    """Return texts as lines, each with its line feed. What can't be encoded becomes a question mark."""
    return "\n".join((*texts, "")).encode(errors="replace")


def _lines(alternatives: Iterable[str]) -> Any:
    return compiled(rf"(?:(?:{'|'.join(alternatives)})\n)*")


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
    return rf"{_LAST}[Tt](?:{_TWO}:{_TWO}{_SECONDS}{_LATER}|{'|'.join(alternatives)})"


def _earlier(hour: str, minute: str) -> str:
    """Return the pattern of a negative offset."""
    return f"(?:{_NO_OFFSET}|-{hour}:{minute})"


_FIRST_BY_HOURS: Final = _lines([_first_day(rf"{hour:02}:{_TWO}{_SECONDS}\+{_up_to(hour)}:{_TWO}" for hour in _HOURS)])
_LAST_BY_HOURS: Final = _lines(
    [_last_day(f"{hour:02}:{_TWO}{_SECONDS}{_earlier(_up_to(23 - hour), _TWO)}" for hour in _HOURS)]
)


def _any_of(hours: Iterable[int]) -> str:
    return f"(?:{'|'.join(f'{hour:02}' for hour in hours)})"


def _not_of(hours: range) -> str:
    return _any_of(hour for hour in _HOURS if hour not in hours) + _ANY


def _first_by_minutes(hours: range) -> Any:
    """Return the pattern of lines of the first day that are right by minutes if they are of certain hours."""
    compared = [
        *(rf"{hour:02}:{_TWO}{_SECONDS}\+{_up_to(hour - 1)}:{_TWO}" for hour in hours if hour),
        *(rf"{_any_of(hours)}:{minute:02}{_SECONDS}\+{_TWO}:{_up_to(minute)}" for minute in _MINUTES),
    ]
    return _lines([_first_day([_not_of(hours), *compared])])


def _last_by_minutes(hours: range) -> Any:
    """Return the pattern of lines of the last day that are right by minutes if they are of certain hours."""
    of_hours = _any_of(hours)
    compared = [
        *(f"{hour:02}:{_TWO}{_SECONDS}{_earlier(_up_to(22 - hour), _TWO)}" for hour in hours if hour < _HOURS[-1]),
        *(f"{of_hours}:{minute:02}{_SECONDS}{_earlier(_TWO, _up_to(58 - minute))}" for minute in _MINUTES[:-1]),
        *(f"{of_hours}:{minute:02}{_ROUNDED_DOWN}{_earlier(_TWO, f'{59 - minute:02}')}" for minute in _MINUTES),
    ]
    return _lines([_last_day([_not_of(hours), *compared])])


#: Of the hours that an offset may move across midnight; each half has few enough states to stay near the processor.
_FIRST_LOOKS: Final = [_FIRST_BY_HOURS, *map(_first_by_minutes, (range(8), range(8, 16)))]
_LAST_LOOKS: Final = [_LAST_BY_HOURS, *map(_last_by_minutes, (range(8, 16), range(16, 24)))]

_LEAP: Final = ":60[.0]*"


def _leaps(alternatives: Iterable[str]) -> Any:
    """Return the pattern of lines whose leap second stands at the end of a day of UTC."""
    return _lines([rf"[^\n]{{11}}(?:{'|'.join(alternatives)})"])


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
_LEAP_LOOKS: Final = (_LEAPS_BY_HOURS, _LEAPS_BY_MINUTES)
