"""How many lanes there are, as every process must know it: which lane a credential is in depends on it."""

from __future__ import annotations

import time
from typing import Final

import msgspec

#: Time for which idempotency keys may be in a former lane, in seconds: their life of 24 hours, and an hour by which
#: clocks may differ. Lanes are doubled at most once in it.
FORMER_SECONDS: Final = 25 * 3600
#: As when lanes were doubled, while some of the new ones don't take submissions yet.
NOT_YET: Final = 1 << 40


class Lanes(msgspec.Struct, frozen=True):
    """The number of lanes."""

    number: int
    #: When they were last doubled, in seconds since 1970; 0: never.
    doubled_at: int = 0

    def marker(self, server: str) -> str:
        """Return the ready marker of a lane that is loaded into a server, for this number of lanes."""
        return f"{server}{self.suffix}" if self.doubled_at else server

    @property
    def suffix(self) -> str:
        """The end of the marker after the lanes were doubled; an installation that never was has none."""
        return f"/{self.number}"

    def split_from(self, lane: int) -> int | None:
        """Return the lane that had a lane's connectors before the lanes were doubled; None if it had them itself."""
        former = lane - self.number // 2
        return former if self.doubled_at and former >= 0 else None

    def former(self, lane: int) -> int | None:
        """Return the lane in which idempotency keys of a lane's connectors may be; None if in this one alone."""
        return self.split_from(lane) if time.time() < self.doubled_at + FORMER_SECONDS else None
