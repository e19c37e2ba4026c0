"""`make soak`: connectors post, faults are injected, then a judge counts what was lost, altered, doubled or invented.

Every 202 becomes an obligation (`ledger.py`), faults come from a table (`faults.py`) in an order that follows from the
seed, and when they have stopped the system has half a minute before everything in Postgres and Redis is held against
what is owed (`judge.py`). A run in which a fault was not seen to do anything fails too: it has proved nothing.
"""

from __future__ import annotations

import argparse
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from rich.console import Console

from tests.system.faults import FAULTS, HUNG, UNAVAILABLE, Fault
from tests.system.fleet import Fleet
from tests.system.judge import Watch, judge_redis, judge_rows, judge_strangers, memory_of
from tests.system.ledger import version_of_entry
from tests.system.look import lane_of, until
from tests.system.processes import wait_until
from tests.system.producers import Account, Prober, Producer, Tally
from tests.system.report import Report, Row, bad_answers, not_exercised
from tests.system.request_ids import request_id_of
from tests.system.scene import Scene
from tests.system.stack import UNLIMITED, running

#: After the last fault the system has so long.
_GRACE_SECONDS = 30.0
#: "After any single kill, the lane moves again within 5 s."
_MOVES_AGAIN_SECONDS = 5.0
#: Of a worker that hangs between two statements Postgres has to end the transaction: 60 s, as workers have it set.
_HUNG_SECONDS = 75.0
#: "Recovery takes no longer than the outage", but for those that are shorter than this.
_RECOVERY_SECONDS = 15.0
_RECOVERY_PATIENCE_SECONDS = 180.0
_SEEN_SECONDS = 5.0
_START_SECONDS = 60.0
#: How long the longest faults are follows from the length of the run: whole from so many seconds on.
_FULL_LENGTH_SECONDS = 1200.0
_TWO_AT_ONCE = 0.3
#: What an entry costs in the backlog beside its body.
_ENTRY_BYTES = 256


@dataclass(frozen=True)
class Plan:
    """How large a run is, and how long."""

    seed: int
    seconds: float
    apis: int = 3
    workers: int = 2
    connectors: int = 4
    producers: int = 8
    #: Mean pause of a producer between two submissions: seconds.
    pause: float = 0.05
    #: Undisturbed stretches between faults: seconds, at least and at most.
    calm: tuple[float, float] = (2.0, 6.0)
    #: Bounds on time are this much wider: a suite runs beside others, on two cores.
    patience: float = 1.0
    is_short: bool = False

    def lasts(self, fault: Fault, dice: random.Random) -> float:
        """For how long this fault is to last, this time."""
        if self.is_short:
            return dice.uniform(*fault.lasts_shortly)
        least, most = fault.lasts
        return dice.uniform(least, least + (most - least) * min(1.0, self.seconds / _FULL_LENGTH_SECONDS))


class Soak:
    """One run."""

    def __init__(self, plan: Plan, folder: Path, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._folder = folder
        self._say = say
        self._dice = random.Random(plan.seed)
        self._tally = Tally()
        self._report = Report(f"soak, seed {plan.seed}, {plan.seconds:.0f} s")
        self._retried: set[int] = set()
        self._poisons = 0

    def run(self) -> Report:
        """From the first process to the verdict."""
        plan = self._plan
        with running(self._folder, WORKERS=0) as stack:
            self._fleet = fleet = Fleet(stack, apis=plan.apis, workers=plan.workers)
            accounts, quiet, probe = self._make_connectors()
            fleet.start()
            try:
                self._run(stack.database_url, accounts, quiet, probe)
            finally:
                fleet.stop()
        return self._report

    def _run(self, database_url: str, accounts: list[Account], quiet: Account, probe: Account) -> None:
        fleet = self._fleet
        self._accounts = accounts
        self._scene = Scene(fleet, accounts, quiet, self._tally)
        wait_until("all processes run", fleet.is_up, _START_SECONDS)
        memory = memory_of(fleet)
        watch = Watch(database_url, accounts)
        self._prober = Prober(probe, fleet.urls[0], self._tally, self._is_applied)
        self._say("all processes run")
        watch.start()
        self._prober.start()
        try:
            with self._producing(accounts):
                self._break_and_mend()
            self._settle()
        finally:
            for thread in (watch, self._prober):
                thread.ask_to_stop()
                thread.join()
        self._say("the lanes are empty, all is read")
        self._judge([*accounts, quiet, probe], watch, memory)

    def _make_connectors(self) -> tuple[list[Account], Account, Account]:
        """Those that post, the quiet one, which has its lane for itself, and the one that measures."""
        database = self._fleet.database

        def make(name: str) -> Account:
            limits = ("--rate", str(UNLIMITED), "--burst", str(UNLIMITED))
            made = self._fleet.ingestctl("connector", "create", name, *limits)
            connector_id = int(made["connectorId"])
            return Account(connector_id, name, lane_of(database, connector_id), made["credential"])

        with ThreadPoolExecutor(2) as hands:
            *accounts, probe = hands.map(make, (*(f"soak {n}" for n in range(self._plan.connectors)), "probe"))
        taken = {account.lane for account in (*accounts, probe)}
        for number in range(len(self._fleet.lanes.names) * 10):
            quiet = make(f"quiet {number}")
            if quiet.lane not in taken:
                return accounts, quiet, probe
        raise AssertionError("No connector was given a lane of its own.")

    def _is_applied(self, connector_id: int, version: int) -> bool:
        try:
            query = "SELECT FROM receipts WHERE connector_id = %s AND version = %s"
            return bool(self._fleet.database.rows(query, connector_id, version))
        except psycopg.OperationalError:
            return False

    @contextmanager
    def _producing(self, accounts: list[Account]) -> Iterator[None]:
        plan = self._plan
        producers = [
            Producer(number, plan.producers, accounts[number % len(accounts)], urls=self._fleet.urls,
                     tally=self._tally, pause=plan.pause, seed=plan.seed)
            for number in range(plan.producers)
        ]  # fmt: skip
        for producer in producers:
            producer.start()
        try:
            yield
        finally:
            for producer in producers:
                producer.ask_to_stop()
            for producer in producers:
                producer.join(_GRACE_SECONDS)
                producer.give_up()
                producer.join()
        self._report.failures += [f"{one.name} broke: {one.fault!r}" for one in producers if one.fault]

    # Breaking

    def _break_and_mend(self) -> None:
        deadline = time.monotonic() + self._plan.seconds
        self._rest()
        for faults in self._schedule():
            if time.monotonic() > deadline:
                break
            self._strike(faults)
            self._rest()

    def _schedule(self) -> Iterator[list[Fault]]:
        """First each of the table in some order, then by weight; sometimes two at once."""
        deck = self._dice.sample(FAULTS, len(FAULTS))
        weights = [fault.weight for fault in FAULTS]
        while True:
            first = deck.pop() if deck else self._dice.choices(FAULTS, weights)[0]
            beside = [fault for fault in deck or FAULTS if not fault.touches & first.touches]
            if beside and (self._plan.is_short or self._dice.random() < _TWO_AT_ONCE):
                second = self._dice.choice(beside)
                if second in deck:
                    deck.remove(second)
                yield [first, second]
            else:
                yield [first]

    def _strike(self, faults: list[Fault]) -> None:
        for _ in range(self._dice.randrange(1, 4)):
            self._put_poison()
        plans = [(fault, random.Random(self._dice.random()), self._plan.lasts(fault, self._dice)) for fault in faults]
        self._say(" and ".join(f"{fault.name} ({seconds:.1f} s)" for fault, _, seconds in plans))
        self._scene.broken_at = float("inf")
        with ThreadPoolExecutor(len(plans)) as hands:
            looks = list(hands.map(lambda plan: self._inject(*plan), plans))
        lasted, ended = max(0.0, time.monotonic() - self._scene.broken_at), time.time()
        recovered = self._recovery(faults, ended, lasted)
        for fault, look in zip(faults, looks, strict=True):
            self._note(fault, look, lasted, recovered)

    def _inject(self, fault: Fault, dice: random.Random, seconds: float) -> Callable[[], str]:
        try:
            return fault.inject(self._scene, dice, seconds)
        except (AssertionError, subprocess.TimeoutExpired, *UNAVAILABLE) as broken:
            self._report.failures.append(f"While {fault.name}: {broken!r}")
            return lambda: ""

    def _recovery(self, faults: list[Fault], ended: float, lasted: float) -> float:
        """Seconds until everything that was accepted before the end is applied."""
        lanes, names = self._fleet.lanes, " and ".join(fault.name for fault in faults)
        try:
            seconds = until(f"recovered from {names}", lambda: (lanes.oldest() or time.time()) > ended,
                            _RECOVERY_PATIENCE_SECONDS)  # fmt: skip
            until("all processes run", self._fleet.is_up, _START_SECONDS)
        except AssertionError as fault:
            self._report.failures.append(str(fault))
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
        row.bitten += bool(seen)
        row.seen = seen or row.seen
        row.lasted.append(lasted)
        row.recovered.append(recovered)
        self._say(f"  {fault.name}: {seen or 'not seen to do anything'}; recovered after {recovered:.1f} s")

    def _rest(self) -> None:
        """An undisturbed stretch, in which it is measured, and an operator tends the dead letters."""
        self._prober.go_on()
        time.sleep(self._dice.uniform(*self._plan.calm))
        self._prober.pause()
        self._tend_dead_letters()

    # Dead letters

    def _put_poison(self) -> None:
        """An entry that no validation would let in, straight into its lane: it can never be applied."""
        account = self._dice.choice(self._accounts)
        self._poisons += 1
        body = f"poison {self._poisons}, no JSON".encode()
        name, cost = self._fleet.lanes.names[account.lane], len(body) + _ENTRY_BYTES
        pipe = self._fleet.redis.pipeline(transaction=True)
        pipe.xadd(f"{name}:stream", {"c": account.id, "m": '{"kind":"items"}', "n": 1, "b": body})
        pipe.hincrby(f"{name}:backlog", "bytes", cost)
        pipe.hincrby(f"{name}:backlog", f"c:{account.id}", cost)
        account.ledger.poison.add(version_of_entry(pipe.execute()[0]))

    def _tend_dead_letters(self) -> None:
        """One is retried, to die again, and another one dropped; in a short run, one of both is done."""
        verbs = ("retry", "drop")
        for verb in self._dice.sample(verbs, 1) if self._plan.is_short else verbs:
            account = self._dice.choice(self._accounts)
            rows = self._fleet.database.rows(
                "SELECT version FROM dead_letters WHERE connector_id = %s AND version <> ALL (%s) LIMIT 1",
                *(account.id, list(self._retried)),
            )
            if not rows:
                continue
            version = rows[0]["version"]
            entry_id = b"%d-%d" % (version >> 20, version & 0xFFFFF)
            told = self._fleet.ingestctl("dead", verb, request_id_of(account.lane, entry_id), "--yes")
            if verb == "retry":
                self._retried.add(version)
            else:
                account.ledger.dropped.add(version)
            self._tally.add(f"dead letters: {verb} of {told['letters']}")

    # Judging

    def _settle(self) -> None:
        lanes = self._fleet.lanes
        try:
            until("the lanes are empty", lambda: not lanes.waiting() and not lanes.pending(), _GRACE_SECONDS)
        except AssertionError as fault:
            self._report.failures.append(f"After the last fault: {fault}")

    def _judge(self, accounts: list[Account], watch: Watch, memory: int) -> None:
        report, scene, plan = self._report, self._scene, self._plan
        with self._fleet.database.connect() as connection:
            rows, report.balances = judge_rows(connection, accounts)
            judge_strangers(connection, accounts, rows)
        report.take(rows)
        report.take(judge_redis(self._fleet, memory))
        report.tally, report.moved_again = dict(self._tally.counts()), scene.moved_again
        report.latencies = self._prober.seconds
        ledgers = [account.ledger for account in accounts]
        report.owed = {
            "submissions accepted": sum(len(ledger.versions) for ledger in ledgers),
            "items and entries accepted": sum(ledger.received for ledger in ledgers),
            "items": sum(len(ledger.items) for ledger in ledgers),
            "submissions of logs": sum(len(debt.accepted) for ledger in ledgers for debt in ledger.logs.values()),
            "attempts of which nothing was heard": sum(ledger.unsure for ledger in ledgers),
            "entries that can't be applied": self._poisons,
            "items read meanwhile": watch.reads,
        }
        report.counts |= {
            "items seen going back": len(watch.went_back),
            "answers that nobody was to get": sum(scene.surprises.values()),
            "processes that ended by themselves": len(self._fleet.deserters),
        }
        report.failures += [*watch.went_back[:5], *map(str, scene.surprises.items()), *self._fleet.deserters[:5]]
        report.failures += bad_answers(report.tally)
        idle = [name for name, row in report.rows.items() if not row.bitten]
        report.failures += [f"{name} was not seen to do anything." for name in idle]
        report.failures += not_exercised(report, self._poisons)
        report.failures += [
            f"{what}: its lane moved again only after {seconds:.1f} s"
            for what, seconds in report.moved_again
            if seconds > plan.patience * (_HUNG_SECONDS if what == HUNG else _MOVES_AGAIN_SECONDS)
        ]


def main() -> int:
    """Runs for so many minutes, and prints the table; the exit status says whether all was well."""
    parser = argparse.ArgumentParser(description="Post, break, mend, judge.")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=None, help="an earlier run's, to repeat its order of faults")
    given = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    console = Console(width=160, soft_wrap=True)
    plan = Plan(seed, given.minutes * 60)
    console.print(f"{plan.seconds:.0f} s from seed {seed}: make soak MINUTES={given.minutes:g} SEED={seed}")
    began = time.monotonic()

    def say(line: str) -> None:
        console.print(f"{time.monotonic() - began:6.0f} s  {line}", markup=False)

    # Told to stop, it leaves no process behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        report = Soak(plan, Path(folder), say).run()
    console.print(report.table())
    for failure in report.failures:
        console.print(f"FAILED: {failure}", markup=False)
    console.print("All was well." if not report.failures else f"Seed {seed}: {len(report.failures)} failures.")
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
