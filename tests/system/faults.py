"""The table of faults: each breaks something for a while, mends it, and says what it was seen to do.

A fault that was seen to do nothing has proved nothing, so most of them wait for a moment in which they bite: a worker
in the middle of a slice is met by locking the row that it writes.
"""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import httpx
import psycopg
from redis.exceptions import RedisError

from tests.system.look import send, until
from tests.system.scene import BACK_SECONDS, MEET_SECONDS, Scene, grew, in_the_middle, moves_again

#: Seconds in which a rolling restart lets each process go on before it is the next one's turn.
_BETWEEN_SECONDS = 0.2
#: Answers that were on their way may arrive for so long.
_UNDER_WAY_SECONDS = 0.3
#: A victim is killed at random moments until somebody feels it, at most so often.
_MOST_KILLS = 100
#: What is said of a lane whose worker was not killed: it is given longer.
HUNG = "worker stopped"
#: What an engine that is away raises, and an API process that is.
UNAVAILABLE = (RedisError, psycopg.Error, httpx.TransportError)


#: Breaks for so many seconds, mends, and returns the question what was seen of it ('' as long as nothing was).
Inject = Callable[[Scene, random.Random, float], Callable[[], str]]


@dataclass(frozen=True)
class Fault:
    """One row of the table."""

    name: str
    inject: Inject
    #: How often it is drawn, beside the others.
    weight: int
    #: How long it lasts, at least and at most: seconds.
    lasts: tuple[float, float]
    #: The same in a short run.
    lasts_shortly: tuple[float, float]
    #: Two faults at once touch different things.
    touches: frozenset[str]


# Processes are killed


def worker_killed(scene: Scene, _dice: random.Random, _seconds: float) -> Callable[[], str]:
    """In the middle of its transaction, on a lane to which nothing else comes."""
    with in_the_middle(scene) as (worker, version):
        scene.strike()
        scene.fleet.send(worker, signal.SIGKILL)
        began = time.monotonic()
    seen = moves_again(scene, "worker killed", version, began)
    return lambda: seen


def worker_killed_anywhere(scene: Scene, dice: random.Random, _seconds: float) -> Callable[[], str]:
    """At a moment that chance chooses, again and again until it left something pending."""
    fleet = scene.fleet
    for kills in range(1, _MOST_KILLS + 1):
        time.sleep(dice.uniform(0.0, 0.3))
        # Somebody at work, to be met somewhere between its read and its settling.
        with contextlib.suppress(AssertionError):
            until("a worker has read something", fleet.lanes.pending, 2.0)
        busy = [worker for lane in fleet.lanes.pending() if (worker := fleet.worker_of(lane))]
        victim = dice.choice(busy or fleet.workers)
        scene.strike()
        fleet.send(victim, signal.SIGKILL)
        left = fleet.lanes.pending()
        until("it runs again", partial(fleet.pid, victim), BACK_SECONDS)
        if busy and left:
            told = f"{sum(left.values())} entries came again, after {kills} kills"
            return lambda: told
    return lambda: ""


def worker_hangs(scene: Scene, _dice: random.Random, seconds: float) -> Callable[[], str]:
    """Stopped in the middle of its transaction for longer than its lease, then going on as if nothing had been."""
    with in_the_middle(scene) as (worker, version):
        scene.strike()
        scene.fleet.send(worker, signal.SIGSTOP)
        began = time.monotonic()
    try:
        seen = moves_again(scene, HUNG, version, began)
        time.sleep(max(0.0, seconds - (time.monotonic() - began)))
    finally:
        scene.fleet.send(worker, signal.SIGCONT)
    return lambda: seen


def api_killed(scene: Scene, dice: random.Random, _seconds: float) -> Callable[[], str]:
    """At any moment, under load, until somebody felt it."""
    fleet = scene.fleet
    seen = grew(scene, scene.counts(), "no answer", "not connected")
    for _ in range(_MOST_KILLS):
        victim = dice.choice(fleet.apis)
        time.sleep(dice.uniform(0.0, 0.5))
        scene.strike()
        fleet.send(victim, signal.SIGKILL)
        until("it is down", partial(fleet.is_not_ready, victim), MEET_SECONDS)
        until("it is back", partial(fleet.is_ready, victim), BACK_SECONDS)
        if seen():
            break
    return seen


def sweeper_killed(scene: Scene, _dice: random.Random, _seconds: float) -> Callable[[], str]:
    """A worker is killed with it: the lane must wait for the next sweeper."""
    fleet, before = scene.fleet, scene.counts()
    first = fleet.sweeper()
    with in_the_middle(scene) as (worker, _):
        scene.strike()
        send(first, signal.SIGKILL)
        fleet.send(worker, signal.SIGKILL)
    until("another sweeper runs", lambda: fleet.sweeper() not in (0, first), BACK_SECONDS)
    until("the lane moves", lambda: not fleet.lanes.entries(scene.quiet.lane), BACK_SECONDS)
    return grew(scene, before, "lane_woken")


def redis_killed(scene: Scene, _dice: random.Random, _seconds: float) -> Callable[[], str]:
    """In the middle of a slice."""
    fleet, before = scene.fleet, scene.counts()
    with in_the_middle(scene) as (_, version):
        victim = fleet.engine("redis")
        scene.strike()
        send(victim, signal.SIGKILL)
        began = time.monotonic()
    until("Redis is back", lambda: fleet.engine("redis") != victim, BACK_SECONDS)
    moves_again(scene, "Redis killed", version, began)
    return grew(scene, before, "503 store_unavailable", "503 not_ready", "append_failed", "redis_lost", "sweep_failed")


def postgres_killed(scene: Scene, _dice: random.Random, _seconds: float) -> Callable[[], str]:
    """The postmaster, in the middle of a transaction."""
    fleet, before = scene.fleet, scene.counts()
    version = scene.submit_quietly()
    victim = fleet.engine("postgres")
    scene.strike()
    send(victim, signal.SIGKILL)
    until(
        "Postgres is back",
        lambda: fleet.engine("postgres") != victim and fleet.database.rows("SELECT 1"),
        BACK_SECONDS,
    )
    until("what was accepted is applied", lambda: scene.is_applied(scene.quiet, version), BACK_SECONDS)
    return grew(scene, before, "lane_paused")


# Processes are asked to end


def process_told_to_stop(scene: Scene, dice: random.Random, _seconds: float) -> Callable[[], str]:
    """One of them, under load."""
    return _restarted(scene, [dice.choice([*scene.fleet.apis, *scene.fleet.workers])])


def rolling_restart(scene: Scene, _dice: random.Random, _seconds: float) -> Callable[[], str]:
    """All of them, one after the other."""
    seen = _restarted(scene, [*scene.fleet.apis, *scene.fleet.workers])
    first = scene.fleet.sweeper()
    send(first, signal.SIGTERM)
    until("another sweeper runs", lambda: scene.fleet.sweeper() not in (0, first), BACK_SECONDS)
    return seen


def _restarted(scene: Scene, names: list[str]) -> Callable[[], str]:
    """No request is answered other than 202 or 503 meanwhile."""
    fleet, before = scene.fleet, scene.counts()
    answered = scene.tally.counts()
    starts = {name: fleet.starts(name) for name in names}
    scene.strike()
    for name in names:
        fleet.send(name, signal.SIGTERM)
        until(f"{name} is started again", partial(fleet.was_started, name, starts[name]), BACK_SECONDS)
        until("all run", fleet.is_up, BACK_SECONDS)
        time.sleep(_BETWEEN_SECONDS)
    for what, count in (scene.tally.counts() - answered).items():
        if what[:1].isdigit() and not what.startswith("503 "):
            scene.surprises[f"{what} during a restart"] += count
    told = grew(scene, before, "503 shutting_down", "503 not_ready", "not connected", "no answer")
    return lambda: ", ".join(filter(None, (f"{len(names)} restarted", told())))


def no_workers(scene: Scene, _dice: random.Random, seconds: float) -> Callable[[], str]:
    """None for a while, then twice as many as usual, then as many as before."""
    fleet = scene.fleet
    usual = len(fleet.workers)
    began = time.monotonic()
    scene.strike()
    fleet.set_workers(0)
    try:
        time.sleep(max(0.0, seconds - (time.monotonic() - began)))
        until("something waits", fleet.lanes.waiting, MEET_SECONDS)
        waiting = fleet.lanes.waiting()
    finally:
        fleet.set_workers(2 * usual)
    until("there are workers", lambda: all(map(fleet.pid, fleet.workers)), BACK_SECONDS)

    def look() -> str:
        fleet.set_workers(usual)
        return f"{waiting} submissions waited"

    return look


# Engines hang, or are out of reach


def redis_hangs(scene: Scene, _dice: random.Random, seconds: float) -> Callable[[], str]:
    """It holds its connections and says nothing."""
    before = scene.counts()
    victim = scene.fleet.engine("redis")
    scene.strike()
    send(victim, signal.SIGSTOP)
    try:
        time.sleep(_UNDER_WAY_SECONDS)
        answered = scene.tally.counts()["accepted"]
        time.sleep(max(0.0, seconds - _UNDER_WAY_SECONDS))
        nobody = scene.tally.counts()["accepted"] == answered
    finally:
        send(victim, signal.SIGCONT)
    look = grew(scene, before, "503 store_unavailable", "no answer", "append_failed", "redis_lost", "sweep_failed")
    return lambda: ", ".join(filter(None, (f"nobody was answered for {seconds:.1f} s" * nobody, look())))


def redis_out_of_memory(scene: Scene, _dice: random.Random, seconds: float) -> Callable[[], str]:
    """It takes no more writes."""
    fleet, before = scene.fleet, scene.counts()
    usual = str(fleet.redis.config_get("maxmemory")["maxmemory"])
    scene.strike()
    fleet.redis.config_set("maxmemory", "1mb")
    try:
        time.sleep(seconds)
    finally:
        until("Redis has room", lambda: fleet.redis.config_set("maxmemory", usual), BACK_SECONDS)
    return grew(scene, before, "503 store_unavailable", "append_failed", "redis_lost", "sweep_failed")


def redis_reply_lost(scene: Scene, _dice: random.Random, seconds: float) -> Callable[[], str]:
    """What an API process is answered after an append."""
    return _swallowed(scene, scene.fleet.api_wire.swallows, seconds, "503 store_unavailable", "append_failed")


def redis_reply_to_a_worker_lost(scene: Scene, _dice: random.Random, seconds: float) -> Callable[[], str]:
    """What a worker is answered after it has settled, or read."""
    return _swallowed(scene, scene.fleet.worker_wire.swallows, seconds, "redis_lost", "lane_paused", "lane_woken")


def _swallowed(scene: Scene, swallows: threading.Event, seconds: float, *signs: str) -> Callable[[], str]:
    before = scene.counts()
    scene.strike()
    swallows.set()
    try:
        time.sleep(seconds)
        with contextlib.suppress(AssertionError):
            until("it is noticed", grew(scene, before, *signs), MEET_SECONDS)
    finally:
        swallows.clear()
    return grew(scene, before, *signs, "replayed")


def postgres_unreachable(scene: Scene, _dice: random.Random, seconds: float) -> Callable[[], str]:
    """Every connection is cut, and none can be made."""
    before = scene.counts()
    scene.strike()
    scene.fleet.gate.shut()
    try:
        time.sleep(seconds)
    finally:
        scene.fleet.gate.open()
    return grew(scene, before, "lane_paused")


def postgres_hangs(scene: Scene, _dice: random.Random, seconds: float) -> Callable[[], str]:
    """Connections stay open, and nothing comes through."""
    before, fleet = scene.counts(), scene.fleet
    scene.strike()
    fleet.gate.swallows.set()
    try:
        time.sleep(seconds)
        waiting = fleet.lanes.pending()
    finally:
        fleet.gate.swallows.clear()
    look = grew(scene, before, "lane_paused", "lane_woken")
    return lambda: f"{sum(waiting.values())} entries were held up; {look()}" if waiting else look()


def postgres_read_only(scene: Scene, _dice: random.Random, seconds: float) -> Callable[[], str]:
    """As a replica is, or a primary whose disk is full and was set so."""
    before = scene.counts()
    scene.strike()
    _set_read_only(scene, "on")
    try:
        time.sleep(seconds)
    finally:
        until("Postgres is told", lambda: _set_read_only(scene, "off"), BACK_SECONDS)
    return grew(scene, before, "lane_paused")


def _set_read_only(scene: Scene, value: str) -> bool:
    with scene.fleet.database.connect() as connection:
        connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
        connection.execute("SELECT pg_reload_conf()")
    return True


# Order is disturbed


def two_drains(scene: Scene, _dice: random.Random, _seconds: float) -> Callable[[], str]:
    """The lease of a lane vanishes while its drain is in the middle of a transaction: another one comes."""
    fleet, before = scene.fleet, scene.counts()
    look = grew(scene, before, "lane_busy", "lane_paused")
    lease = f"{fleet.lanes.names[scene.quiet.lane]}:lease"
    with in_the_middle(scene) as (worker, version):
        scene.strike()
        first = fleet.redis.get(lease)
        # Stopped for a moment, or it would take the lease back before the other one has it.
        fleet.send(worker, signal.SIGSTOP)
        try:
            fleet.redis.delete(lease)
            scene.submit_quietly()
            until("another drain comes", lambda: _is_anothers(fleet.redis.get(lease), first) or look(), MEET_SECONDS)
        finally:
            fleet.send(worker, signal.SIGCONT)
    until("what was accepted is applied", lambda: scene.is_applied(scene.quiet, version), BACK_SECONDS)
    return lambda: f"another drain took the lease; {look()}"


def _is_anothers(holder: object, first: object) -> bool:
    return isinstance(holder, bytes) and holder.startswith(b"running:") and holder != first


def credential_rotated(scene: Scene, dice: random.Random, _seconds: float) -> Callable[[], str]:
    """From the moment that the command returns, nobody takes the old one."""
    account = dice.choice(scene.accounts)
    old = account.credential
    told = scene.fleet.ingestctl("credential", "rotate", str(account.id))
    statuses = []
    for url in scene.fleet.urls:
        with contextlib.suppress(httpx.TransportError), httpx.Client(trust_env=False, timeout=10.0) as client:
            bearer = {"Authorization": f"Bearer {old}"}
            statuses.append(client.post(f"{url}/api/ingest/heartbeat", headers=bearer).status_code)
    account.credential = told["credential"]
    for status in statuses:
        if status not in (401, 503):
            scene.surprises[f"{status} with a key that was rotated"] += 1
    return lambda: f"{statuses.count(401)} times 401 with the old key" if 401 in statuses else ""


def _touches(*what: str) -> frozenset[str]:
    return frozenset(what)


_ALL = _touches("redis", "postgres", "api", "worker", "sweeper")
#: The table.
FAULTS = (
    Fault("worker killed in its transaction", worker_killed, 4, (0, 0), (0, 0), _touches("worker", "postgres")),
    Fault("worker killed anywhere", worker_killed_anywhere, 6, (0, 0), (0, 0), _touches("worker")),
    Fault("worker hangs in its transaction", worker_hangs, 2, (4, 12), (3, 4), _touches("worker", "postgres")),
    Fault("API killed", api_killed, 5, (0, 0), (0, 0), _touches("api")),
    Fault("sweeper killed, and a worker", sweeper_killed, 2, (0, 0), (0, 0), _touches("sweeper", "worker", "postgres")),
    Fault("Redis killed", redis_killed, 4, (0, 0), (0, 0), _ALL),
    Fault("Redis hangs", redis_hangs, 3, (2, 10), (1, 2), _touches("redis", "worker", "postgres")),
    Fault("Redis out of memory", redis_out_of_memory, 2, (2, 8), (1, 2), _ALL),
    Fault("Redis' reply to the API lost", redis_reply_lost, 4, (1, 6), (1, 2), _touches("api", "redis")),
    Fault(
        "Redis' reply to a worker lost", redis_reply_to_a_worker_lost, 3, (1, 6), (1, 2), _touches("worker", "redis")
    ),
    Fault("Postgres killed", postgres_killed, 4, (0, 0), (0, 0), _touches("postgres", "worker")),
    Fault("Postgres out of reach", postgres_unreachable, 3, (2, 60), (1, 3), _touches("postgres", "worker")),
    Fault("Postgres hangs", postgres_hangs, 2, (3, 20), (1, 3), _touches("postgres", "worker")),
    Fault("Postgres read-only", postgres_read_only, 3, (2, 15), (1, 3), _touches("postgres", "worker")),
    Fault("process told to stop", process_told_to_stop, 4, (0, 0), (0, 0), _ALL),
    Fault("rolling restart", rolling_restart, 2, (0, 0), (0, 0), _ALL),
    Fault("no workers, then twice as many", no_workers, 2, (5, 60), (1, 2), _touches("worker", "postgres")),
    Fault("two drains on one lane", two_drains, 3, (0, 0), (0, 0), _touches("worker", "postgres")),
    Fault("credential rotated", credential_rotated, 3, (0, 0), (0, 0), _ALL),
)
