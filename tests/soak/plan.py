"""The size and duration of a soak."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.soak.fault_table import Fault

#: Length of a run in seconds from which on its longest faults have their full duration.
_FULL_LENGTH_SECONDS = 1200.0


@dataclass(frozen=True)
class Plan:
    """The parameters of a run."""

    seed: int
    seconds: float
    apis: int = 3
    workers: int = 2
    connectors: int = 4
    producers: int = 8
    #: Mean pause of a producer between two submissions, in seconds.
    pause: float = 0.05
    #: Shortest and longest undisturbed time between two faults, in seconds.
    calm: tuple[float, float] = (2.0, 6.0)
    #: Factor of the bounds on time: the suite runs beside other work, on two cores.
    patience: float = 1.0
    #: Whether faults are cut short and two of them are injected at once, by processes that start faster.
    is_short: bool = False
    #: The shapes of the engines: "one", "sentinel" or "cluster"; "one" or "pair".
    redis: str = "one"
    postgres: str = "one"
    #: Only faults whose names contain this are injected; so many, however long that takes, unless it is None.
    only: str = ""
    times: int | None = None

    @property
    def is_plain(self) -> bool:
        """Whether there is one server of each engine, behind proxies that can fail."""
        return (self.redis, self.postgres) == ("one", "one")

    @property
    def title(self) -> str:
        """What the run is called."""
        length = f"{self.seconds:.0f} s" if self.times is None else f"{self.times} times {self.only!r}"
        shape = "" if self.is_plain else f"Redis {self.redis}, Postgres {self.postgres}, "
        return f"soak, {shape}seed {self.seed}, {length}"

    def duration_of(self, fault: Fault, dice: random.Random) -> float:
        """Draw the duration of one occurrence of a fault, in seconds."""
        if self.is_short:
            return dice.uniform(*fault.lasts_shortly)
        shortest, longest = fault.lasts
        return dice.uniform(shortest, shortest + (longest - shortest) * min(1.0, self.seconds / _FULL_LENGTH_SECONDS))
