"""Draws faults from the table, injects them, and measures how the installation recovers."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from tests.soak.dead_letters import DeadLetters
from tests.soak.engine_inspection import until
from tests.soak.fault_context import FaultContext
from tests.soak.fault_table import UNAVAILABLE, Fault, faults_of
from tests.soak.plan import Plan
from tests.soak.prober import Prober
from tests.soak.report import Report, Row

#: Deadline in seconds for all processes to run again after a fault.
START_SECONDS = 60.0
#: Bound in seconds on the recovery from a fault that was shorter; a longer one may take as long again as it lasted.
_RECOVERY_SECONDS = 15.0
#: Deadline in seconds of a recovery, after which the run fails.
_RECOVERY_PATIENCE_SECONDS = 180.0
#: Time in seconds in which the effect of a fault has to be seen after its end.
_SEEN_SECONDS = 5.0
#: Probability that two faults are injected at once.
_TWO_AT_ONCE = 0.3


class Breaker:
    """Injects faults until the time of the plan is over."""

    def __init__(
        self, plan: Plan, context: FaultContext, dead_letters: DeadLetters, prober: Prober, *, report: Report,
        dice: random.Random, say: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._plan = plan
        self._context = context
        self._dead_letters = dead_letters
        self._prober = prober
        self._report = report
        self._dice = dice
        self._say = say

    def run(self) -> None:
        """Alternate faults and rests until the time is over."""
        deadline = time.monotonic() + self._plan.seconds
        self._rest()
        for faults in islice(self._schedule(), self._plan.times):
            if time.monotonic() > deadline and not self._plan.times:
                break
            self._inject_all(faults)
            self._rest()

    def _schedule(self) -> Iterator[list[Fault]]:
        """Yield first each fault, those of the shape of the engines before others; then faults by their weight.

        Sometimes two at once.
        """
        table = faults_of(self._plan)
        deck = self._dice.sample(table, len(table))
        deck.sort(key=lambda fault: fault.is_of_shape)  # they are taken from its end
        weights = [fault.weight for fault in table]
        while True:
            first = deck.pop() if deck else self._dice.choices(table, weights)[0]
            others = [fault for fault in deck or table if not fault.parts & first.parts]
            if others and (self._plan.is_short or self._dice.random() < _TWO_AT_ONCE):
                second = self._dice.choice(others)
                if second in deck:
                    deck.remove(second)
                yield [first, second]
            else:
                yield [first]

    def _inject_all(self, faults: list[Fault]) -> None:
        for _ in range(self._dice.randrange(1, 4)):
            self._dead_letters.append_unreadable()
        plans = [
            (fault, random.Random(self._dice.random()), self._plan.duration_of(fault, self._dice)) for fault in faults
        ]
        self._say(" and ".join(f"{fault.name} ({seconds:.1f} s)" for fault, _, seconds in plans))
        self._context.broken_at = float("inf")
        with ThreadPoolExecutor(len(plans)) as executor:
            looks = list(executor.map(lambda plan: self._inject(*plan), plans))
        lasted, ended = max(0.0, time.monotonic() - self._context.broken_at), time.time()
        recovered = self._recovery(faults, ended, lasted)
        for fault, look in zip(faults, looks, strict=True):
            self._note(fault, look, lasted, recovered)
        self._context.fleet.set_workers(self._plan.workers)

    def _inject(self, fault: Fault, dice: random.Random, seconds: float) -> Callable[[], str]:
        try:
            return fault.inject(self._context, dice, seconds)
        except (AssertionError, subprocess.TimeoutExpired, *UNAVAILABLE) as error:
            self._report.failures.append(f"While {fault.name}: {error!r}")
            return lambda: ""

    def _recovery(self, faults: list[Fault], ended: float, lasted: float) -> float:
        """Return the seconds until everything accepted before `ended` is applied."""
        fleet, names = self._context.fleet, " and ".join(fault.name for fault in faults)
        try:
            seconds = until(f"recovered from {names}", lambda: (fleet.lanes.oldest() or time.time()) > ended,
                            _RECOVERY_PATIENCE_SECONDS)  # fmt: skip
            until("all processes run", fleet.is_up, START_SECONDS)
        except AssertionError as error:
            self._report.failures.append(str(error))
            return _RECOVERY_PATIENCE_SECONDS
        bound = max(lasted, _RECOVERY_SECONDS * self._plan.patience)
        if seconds > bound:
            self._report.failures.append(f"{names}: lasted {lasted:.1f} s, recovered after {seconds:.1f} s")
        return seconds

    def _note(self, fault: Fault, look: Callable[[], str], lasted: float, recovered: float) -> None:
        deadline = time.monotonic() + _SEEN_SECONDS
        while not (seen := look()) and time.monotonic() < deadline:
            time.sleep(0.1)
        row = self._report.rows.setdefault(fault.name, Row())
        row.times += 1
        row.effective += bool(seen)
        row.seen = seen or row.seen
        row.lasted.append(lasted)
        row.recovered.append(recovered)
        self._say(f"  {fault.name}: {seen or 'no effect was seen'}; recovered after {recovered:.1f} s")

    def _rest(self) -> None:
        """Leave the installation undisturbed, while latency is measured; then tend dead letters."""
        self._prober.go_on()
        self._context.is_calm = True
        time.sleep(self._dice.uniform(*self._plan.calm))
        self._context.is_calm = False
        self._prober.pause()
        self._dead_letters.tend()
