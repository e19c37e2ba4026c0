"""Faults of processes: API processes, workers and the sweeper are killed, stopped, restarted or missing.

A fault without an effect proves nothing, so most faults wait for a moment in which they have one: a worker within a
slice is caught by a lock on the row that it writes.
"""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections.abc import Iterator
from functools import partial

from tests.soak.engine_inspection import BACK_SECONDS, send, until
from tests.soak.fault_context import (
    CATCH_SECONDS,
    FaultContext,
    Injection,
    caught_in_transaction,
    grown,
    wait_for_lane,
)

#: Name under which the recovery of a lane whose worker hangs is recorded: it is allowed more time than after a kill.
HUNG = "worker stopped"
#: Pause in seconds between two processes of a rolling restart.
_BETWEEN_SECONDS = 0.2
#: Maximum number of kills at random moments until one has an effect.
_MAX_KILLS = 100


@contextlib.contextmanager
def worker_killed_in_transaction(context: FaultContext, _dice: random.Random) -> Iterator[Injection]:
    """Kill a worker in its transaction, on a lane to which nothing else is submitted."""
    injection = Injection(context.counts())
    with caught_in_transaction(context) as (worker, injection.version):
        context.mark_broken()
        context.fleet.send(worker, signal.SIGKILL)
        injection.began = time.monotonic()
    yield injection


def lane_is_taken_over(context: FaultContext, injection: Injection) -> None:
    """An ending: another worker has drained the lane of the one that was killed."""
    wait_for_lane(context, injection, "worker killed")


@contextlib.contextmanager
def workers_killed_at_random(context: FaultContext, dice: random.Random) -> Iterator[Injection]:
    """Kill workers at random moments, until one leaves entries that it read and did not acknowledge."""
    fleet, injection = context.fleet, Injection(context.counts())
    for kills in range(1, _MAX_KILLS + 1):
        time.sleep(dice.uniform(0.0, 0.3))
        # A worker between its read and its acknowledgement, if there is one.
        with contextlib.suppress(AssertionError):
            until("a worker has read something", fleet.lanes.pending, 2.0)
        busy = [worker for lane in fleet.lanes.pending() if (worker := fleet.worker_of(lane))]
        victim = dice.choice(busy or fleet.workers)
        context.mark_broken()
        fleet.send(victim, signal.SIGKILL)
        left = fleet.lanes.pending()
        until("the worker runs again", partial(fleet.pid, victim), BACK_SECONDS)
        if busy and left:
            injection.evidence.append(f"{sum(left.values())} entries were delivered again, after {kills} kills")
            break
    yield injection


@contextlib.contextmanager
def worker_stopped_in_transaction(context: FaultContext, _dice: random.Random) -> Iterator[Injection]:
    """Stop a worker in its transaction until another has taken its lane, and longer; then let it go on."""
    injection = Injection(context.counts())
    with caught_in_transaction(context) as (worker, injection.version):
        context.mark_broken()
        context.fleet.send(worker, signal.SIGSTOP)
        injection.began = time.monotonic()
    try:
        wait_for_lane(context, injection, HUNG)
        yield injection
    finally:
        context.fleet.send(worker, signal.SIGCONT)


@contextlib.contextmanager
def apis_killed_under_load(context: FaultContext, dice: random.Random) -> Iterator[Injection]:
    """Kill API processes at random moments, until a client notices."""
    fleet, injection = context.fleet, Injection(context.counts())
    noticed = grown("no answer", "not connected")
    for _ in range(_MAX_KILLS):
        victim = dice.choice(fleet.apis)
        time.sleep(dice.uniform(0.0, 0.5))
        context.mark_broken()
        fleet.send(victim, signal.SIGKILL)
        until("the API process is down", partial(fleet.is_not_ready, victim), CATCH_SECONDS)
        until("the API process is back", partial(fleet.is_ready, victim), BACK_SECONDS)
        if noticed(context, injection):
            break
    yield injection


@contextlib.contextmanager
def sweeper_and_worker_killed(context: FaultContext, _dice: random.Random) -> Iterator[Injection]:
    """Kill the sweeper, and a worker in its transaction: the lane has to wait for the next sweeper."""
    fleet, injection = context.fleet, Injection(context.counts())
    injection.victim = fleet.sweeper()
    with caught_in_transaction(context) as (worker, injection.version):
        context.mark_broken()
        send(injection.victim, signal.SIGKILL)
        fleet.send(worker, signal.SIGKILL)
    yield injection


def sweeper_is_back(context: FaultContext, injection: Injection) -> None:
    """An ending: another sweeper runs, and the lane is drained."""
    _wait_for_sweeper(context, injection.victim)
    lanes, lane = context.fleet.lanes, context.quiet.lane
    until("the lane moves", lambda: not lanes.entries(lane), BACK_SECONDS)


@contextlib.contextmanager
def process_restarted(context: FaultContext, dice: random.Random) -> Iterator[Injection]:
    """Ask one process to stop, under load."""
    yield _restart(context, [dice.choice([*context.fleet.apis, *context.fleet.workers])])


@contextlib.contextmanager
def everything_restarted(context: FaultContext, _dice: random.Random) -> Iterator[Injection]:
    """Ask all processes to stop, one after the other."""
    injection = _restart(context, [*context.fleet.apis, *context.fleet.workers])
    injection.victim = context.fleet.sweeper()
    send(injection.victim, signal.SIGTERM)
    _wait_for_sweeper(context, injection.victim)
    yield injection


@contextlib.contextmanager
def output_unread(context: FaultContext, dice: random.Random) -> Iterator[Injection]:
    """Run an API process and a worker whose output is not read; restart them with it, and end them with it."""
    fleet, names = context.fleet, [dice.choice(context.fleet.apis), dice.choice(context.fleet.workers)]
    fleet.unread.update(names)
    try:
        injection = _restart(context, names)
        until("an output is full", lambda: fleet.is_stuck(names[0]), CATCH_SECONDS)
        injection.evidence = [f"{sum(map(fleet.is_stuck, names))} of 2 outputs were full"]
        yield injection
    finally:
        fleet.unread.clear()
        _restart(context, names)


def _restart(context: FaultContext, names: list[str]) -> Injection:
    """Restart processes one after the other; every request meanwhile must be answered 202 or 503."""
    fleet, injection = context.fleet, Injection(context.counts())
    answered = context.tally.counts()
    starts = {name: fleet.starts(name) for name in names}
    context.mark_broken()
    for name in names:
        fleet.send(name, signal.SIGTERM)
        until(f"{name} is started again", partial(fleet.was_started, name, starts[name]), BACK_SECONDS)
        until("all processes run", fleet.is_up, BACK_SECONDS)
        time.sleep(_BETWEEN_SECONDS)
    for what, count in (context.tally.counts() - answered).items():
        if what[:1].isdigit() and not what.startswith("503 "):
            context.unexpected[f"{what} during a restart"] += count
    injection.evidence.append(f"{len(names)} restarted")
    return injection


def _wait_for_sweeper(context: FaultContext, former: int) -> None:
    until("another sweeper runs", lambda: context.fleet.sweeper() not in (0, former), BACK_SECONDS)


@contextlib.contextmanager
def no_workers(context: FaultContext, _dice: random.Random) -> Iterator[Injection]:
    """Run no worker for a while, then twice as many as usual."""
    fleet, injection = context.fleet, Injection(context.counts())
    usual = len(fleet.workers)
    context.mark_broken()
    fleet.set_workers(0)
    try:
        yield injection
        until("something waits", fleet.lanes.waiting, CATCH_SECONDS)
        injection.evidence.append(f"{fleet.lanes.waiting()} submissions waited")
    finally:
        fleet.set_workers(2 * usual)


def workers_run(context: FaultContext, _injection: Injection) -> None:
    """An ending: all workers run. The run goes back to their usual number once they have caught up."""
    until("there are workers", lambda: all(map(context.fleet.pid, context.fleet.workers)), BACK_SECONDS)
