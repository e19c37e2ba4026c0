"""Report what goes wrong again and again: its cause in words, then ever more rarely that it lasts, then its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import structlog

from shared.causes import cause_of, detail_of, is_expected

log = structlog.get_logger()

Clock = Callable[[], float]

#: Time in seconds until a repeat is reported: as long as the trouble has lasted, but at least and at most so many.
_AGAIN_SECONDS: Final = 10.0
_LONGEST_AGAIN_SECONDS: Final = 3_600.0
#: What was not seen for so many seconds is new; if its end was noticed, already after the second number of seconds.
_NEW_AFTER_SECONDS: Final = 60.0
_NEW_AFTER_END_SECONDS: Final = 2.0
#: Maximum number of messages that are remembered.
_MAX_REMEMBERED: Final = 100


@dataclass(slots=True)
class _Repeated:
    began: float
    last: float
    again: float
    times: int = 0


class Repeats:
    """Decides which repeats of a message are worth a line."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._messages: dict[str, _Repeated] = {}

    def due(self, message: str, *, new_after: float = _NEW_AFTER_SECONDS) -> dict[str, int] | None:
        """Return None if a message is not to be logged now, else for how many seconds and times it has repeated."""
        now = self._clock()
        seen = self._messages.pop(message, None)
        if seen is None or now - seen.last > new_after:
            seen = _Repeated(now, now, now)
        self._messages[message] = seen
        if len(self._messages) > _MAX_REMEMBERED:
            del self._messages[next(iter(self._messages))]
        seen.last = now
        seen.times += 1
        if now < seen.again:
            return None
        lasted = now - seen.began
        seen.again = now + min(max(_AGAIN_SECONDS, lasted), _LONGEST_AGAIN_SECONDS)
        return {"seconds": round(lasted), "times": seen.times} if seen.times > 1 else {}


class Outage:
    """A place in the code that goes on after errors; `event` names its lines in the log."""

    def __init__(self, event: str, *, clock: Clock = time.monotonic) -> None:
        self._event = event
        self._clock = clock
        self._repeats = Repeats(clock)
        self._began: float | None = None
        #: Whether a line told of it since it began.
        self._is_told = False

    def report(self, error: Exception, **fields: Any) -> None:
        """Log an error, unless its cause was logged lately; with its traceback if no engine explains it."""
        new_after = _NEW_AFTER_SECONDS if self._began is not None else _NEW_AFTER_END_SECONDS
        self._began = self._clock() if self._began is None else self._began
        cause = cause_of(error)
        lasting = self._repeats.due(cause, new_after=new_after)
        if lasting is None:
            return
        self._is_told = True
        if is_expected(error):
            log.warning(self._event, cause=cause, detail=detail_of(error), **lasting, **fields)
        else:
            log.error(self._event, cause=cause, exc_info=error, **lasting, **fields)

    def over(self) -> None:
        """Log the end of the trouble, if there was one that was logged."""
        if self._began is not None and self._is_told:
            log.info("outage_over", of=self._event, seconds=round(self._clock() - self._began))
        self._began, self._is_told = None, False
