"""The size and duration of a soak."""

from __future__ import annotations

import random
from dataclasses import dataclass

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

    def duration_of(self, fault: Fault, dice: random.Random) -> float:
        """Draw the duration of one occurrence of a fault, in seconds."""
        if self.is_short:
            return dice.uniform(*fault.lasts_shortly)
        shortest, longest = fault.lasts
        return dice.uniform(shortest, shortest + (longest - shortest) * min(1.0, self.seconds / _FULL_LENGTH_SECONDS))
