"""One soak: connectors submit, faults are injected, and in the end everything stored is verified.

Every 202 becomes an obligation (`ledger.py`). Faults come from a table (`fault_table.py`) in an order that follows from
the seed (`breaker.py`). After the last one the installation has 30 s before everything in Postgres and Redis is
verified against the ledgers (`verification.py`). A run in which a fault had no visible effect fails: it proves nothing.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.soak.accounts import Accounts, make_accounts
from tests.soak.breaker import START_SECONDS, Breaker
from tests.soak.dead_letters import DeadLetters
from tests.soak.engine_inspection import until
from tests.soak.engines import engines_of
from tests.soak.fault_context import FaultContext
from tests.soak.fleet import Fleet
from tests.soak.item_watch import ItemWatch
from tests.soak.plan import Plan
from tests.soak.prober import Prober
from tests.soak.process_faults import HUNG
from tests.soak.producers import Account, Producer, Tally
from tests.soak.pulse import Pulse
from tests.soak.redis_verification import memory_of, verify_redis
from tests.soak.report import Report, not_exercised, unexcused_answers
from tests.soak.verification import verify_other_connectors, verify_rows
from tests.support.processes import wait_until
from tests.support.stack import running

#: Time in seconds that the installation has after the last fault.
_GRACE_SECONDS = 30.0
#: Promised time in seconds after a kill until the lane moves again.
_MOVES_AGAIN_SECONDS = 5.0
#: The same for a worker that hangs between two statements: Postgres ends its transaction after 60 s.
_HUNG_SECONDS = 75.0


@contextmanager
def _running(*threads: ItemWatch | Prober | Pulse) -> Iterator[None]:
    """Run threads until the block ends."""
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.request_stop()
        for thread in threads:
            thread.join()


class Soak:
    """One run."""

    def __init__(self, plan: Plan, folder: Path, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._folder = folder
        self._say = say
        self._dice = random.Random(plan.seed)
        self._tally = Tally()
        self._report = Report(plan.title)

    def run(self) -> Report:
        """Run from the first process to the report."""
        plan = self._plan
        with (
            engines_of(plan, self._folder) as engines,
            running(self._folder, WORKERS=0, **engines.settings) as stack,
        ):
            stack.preloads = plan.is_short
            self._fleet = fleet = Fleet(stack, engines, apis=plan.apis, workers=plan.workers)
            accounts = make_accounts(fleet, plan.connectors)
            fleet.start()
            try:
                self._run(stack.database_url, accounts)
            finally:
                fleet.stop()
        return self._report

    def _run(self, database_url: str, accounts: Accounts) -> None:
        fleet, sending = self._fleet, accounts.sending
        context = FaultContext(fleet, sending, accounts.quiet, self._tally)
        letters = DeadLetters(fleet, sending, self._tally, self._dice, one_at_a_time=self._plan.is_short)
        wait_until("all processes run", fleet.is_up, START_SECONDS)
        memory = memory_of(fleet)
        watch = ItemWatch(database_url, sending)
        prober = Prober(accounts.probe, fleet.urls[0], self._tally, self._is_applied)
        breaker = Breaker(self._plan, context, letters, prober, report=self._report, dice=self._dice, say=self._say)
        self._say("all processes run")
        pulses = [Pulse(account, fleet.urls[0], context) for account in accounts.pulses]
        with _running(watch, prober):
            with self._producing(sending), _running(*pulses):
                breaker.run()
            self._settle()
        self._say("the lanes are empty; everything is verified")
        self._verify(accounts.all, memory)
        self._report.take_pulses(pulses)
        self._summarise(context, watch, letters, prober)

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
                producer.request_stop()
            for producer in producers:
                producer.join(_GRACE_SECONDS)
                producer.give_up()
                producer.join()
        self._report.failures += [f"{one.name} failed: {one.error!r}" for one in producers if one.error]

    def _settle(self) -> None:
        lanes = self._fleet.lanes
        try:
            until("the lanes are empty", lambda: not lanes.waiting() and not lanes.pending(), _GRACE_SECONDS)
        except AssertionError as error:
            self._report.failures.append(f"After the last fault: {error}")

    def _verify(self, accounts: list[Account], memory: int) -> None:
        report = self._report
        with self._fleet.database.connect() as connection:
            rows, report.balances = verify_rows(connection, accounts)
            verify_other_connectors(connection, accounts, rows)
        report.take(rows)
        report.take(verify_redis(self._fleet, memory))
        ledgers = [account.ledger for account in accounts]
        report.owed = {
            "submissions accepted": sum(len(ledger.versions) for ledger in ledgers),
            "items and entries accepted": sum(ledger.received for ledger in ledgers),
            "items": sum(len(ledger.items) for ledger in ledgers),
            "signed webhooks": sum(ledger.signed for ledger in ledgers),
            "submissions of logs": sum(len(logs.accepted) for ledger in ledgers for logs in ledger.logs.values()),
            "attempts without an answer": sum(ledger.uncertain - ledger.excused for ledger in ledgers),
            "submissions that a failover was allowed to lose": sum(ledger.excused for ledger in ledgers),
        }

    def _summarise(self, context: FaultContext, watch: ItemWatch, letters: DeadLetters, prober: Prober) -> None:
        report, patience = self._report, self._plan.patience
        report.tally, report.moved_again = dict(self._tally.counts()), context.moved_again
        report.latencies = prober.seconds
        report.owed |= {"entries that can't be applied": letters.appended, "items read meanwhile": watch.reads}
        exits = self._fleet.unexpected_exits
        report.counts |= {
            "items seen going back": len(watch.went_back),
            "unexpected answers": sum(context.unexpected.values()),
            "unexpected ends of processes": len(exits),
        }
        report.failures += [*watch.went_back[:5], *map(str, context.unexpected.items()), *exits[:5]]
        report.failures += [*unexcused_answers(report.tally), *self._fleet.logs.crashes()[:3]]
        idle = [name for name, row in report.rows.items() if not row.effective]
        report.failures += [f"No effect of {name} was seen." for name in idle]
        report.failures += not_exercised(report, letters.appended)
        report.failures += [
            f"{what}: its lane moved again only after {seconds:.1f} s"
            for what, seconds in report.moved_again
            if seconds > patience * (_HUNG_SECONDS if what == HUNG else _MOVES_AGAIN_SECONDS)
        ]
