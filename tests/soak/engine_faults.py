"""Faults of the engines: Redis and Postgres are killed, hang, are full, read-only, or out of reach."""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections.abc import Iterator

from tests.soak.engine_inspection import BACK_SECONDS, send, until
from tests.soak.fault_context import (
    CATCH_SECONDS,
    FaultContext,
    Injection,
    Sign,
    caught_in_transaction,
    grown,
    wait_for_lane,
)
from tests.support.tcp_proxy import RedisProxy

#: Time in seconds in which answers that were on their way may still arrive.
_IN_FLIGHT_SECONDS = 0.3


@contextlib.contextmanager
def redis_killed(context: FaultContext, _dice: random.Random) -> Iterator[Injection]:
    """Kill Redis while a worker is within a slice."""
    injection = Injection(context.counts())
    with caught_in_transaction(context) as (_, injection.version):
        injection.victim = context.fleet.engine("redis")
        context.mark_broken()
        send(injection.victim, signal.SIGKILL)
        injection.began = time.monotonic()
    yield injection


def redis_is_back(context: FaultContext, injection: Injection) -> None:
    """An ending: Redis is started again, and the lane is drained."""
    until("Redis is back", lambda: context.fleet.engine("redis") != injection.victim, BACK_SECONDS)
    wait_for_lane(context, injection, "Redis killed")


@contextlib.contextmanager
def redis_stopped(context: FaultContext, _dice: random.Random) -> Iterator[Injection]:
    """Stop Redis: it holds its connections and answers nothing."""
    injection = Injection(context.counts(), victim=context.fleet.engine("redis"))
    context.mark_broken()
    send(injection.victim, signal.SIGSTOP)
    try:
        time.sleep(_IN_FLIGHT_SECONDS)
        accepted = context.tally.counts()["accepted"]
        yield injection
        if context.tally.counts()["accepted"] == accepted:
            injection.evidence.append(f"no client was answered for {time.monotonic() - injection.began:.1f} s")
    finally:
        send(injection.victim, signal.SIGCONT)


@contextlib.contextmanager
def redis_full(context: FaultContext, _dice: random.Random) -> Iterator[Injection]:
    """Take all memory from Redis: it takes no more writes."""
    redis = context.fleet.redis
    injection = Injection(context.counts())
    usual = str(redis.config_get("maxmemory")["maxmemory"])
    context.mark_broken()
    redis.config_set("maxmemory", "1mb")
    try:
        yield injection
    finally:
        until("Redis has room", lambda: redis.config_set("maxmemory", usual), BACK_SECONDS)


#: Signs of an API process that got no reply to an append.
NO_REPLY_TO_API = ("503 store_unavailable", "append_failed")
#: Signs of a worker that got no reply.
NO_REPLY_TO_WORKER = ("redis_lost", "lane_paused", "lane_woken")


@contextlib.contextmanager
def replies_to_api_lost(context: FaultContext, _dice: random.Random) -> Iterator[Injection]:
    """Drop what Redis answers an API process after an append."""
    with _replies_lost(context, context.fleet.api_redis, grown(*NO_REPLY_TO_API)) as injection:
        yield injection


@contextlib.contextmanager
def replies_to_worker_lost(context: FaultContext, _dice: random.Random) -> Iterator[Injection]:
    """Drop what Redis answers a worker after a read or an acknowledgement."""
    with _replies_lost(context, context.fleet.worker_redis, grown(*NO_REPLY_TO_WORKER)) as injection:
        yield injection


@contextlib.contextmanager
def _replies_lost(context: FaultContext, proxy: RedisProxy, noticed: Sign) -> Iterator[Injection]:
    injection = Injection(context.counts())
    context.mark_broken()
    proxy.drops_replies = True
    try:
        yield injection
        with contextlib.suppress(AssertionError):
            until("the loss is noticed", lambda: noticed(context, injection), CATCH_SECONDS)
    finally:
        proxy.resume()


@contextlib.contextmanager
def postgres_killed(context: FaultContext, _dice: random.Random) -> Iterator[Injection]:
    """Kill the postmaster, right after a submission."""
    injection = Injection(context.counts())
    injection.version = context.submit_quietly()
    injection.victim = context.fleet.engine("postgres")
    context.mark_broken()
    send(injection.victim, signal.SIGKILL)
    yield injection


def postgres_is_back(context: FaultContext, injection: Injection) -> None:
    """An ending: Postgres is started again, and what was submitted before the kill is applied."""
    fleet = context.fleet
    until(
        "Postgres is back",
        lambda: fleet.engine("postgres") != injection.victim and fleet.database.rows("SELECT 1"),
        BACK_SECONDS,
    )
    submission_is_applied(context, injection)


def submission_is_applied(context: FaultContext, injection: Injection) -> None:
    """An ending: the submission that the fault met is applied."""
    applied = "what was accepted is applied"
    until(applied, lambda: context.is_applied(context.quiet, injection.version), BACK_SECONDS)


@contextlib.contextmanager
def postgres_unreachable(context: FaultContext, _dice: random.Random) -> Iterator[Injection]:
    """Cut every connection to Postgres, and refuse new ones."""
    injection = Injection(context.counts())
    context.mark_broken()
    context.fleet.postgres.close()
    try:
        yield injection
    finally:
        context.fleet.postgres.open()


@contextlib.contextmanager
def postgres_silent(context: FaultContext, _dice: random.Random) -> Iterator[Injection]:
    """Keep the connections to Postgres open, and drop what passes."""
    fleet, injection = context.fleet, Injection(context.counts())
    context.mark_broken()
    fleet.postgres.hang()
    try:
        yield injection
        if waiting := sum(fleet.lanes.pending().values()):
            injection.evidence.append(f"{waiting} entries were held up")
    finally:
        fleet.postgres.resume()


@contextlib.contextmanager
def sessions_swapped(context: FaultContext, _dice: random.Random) -> Iterator[Injection]:
    """Lead every client of Postgres through a pooler that gives the next transaction another session."""
    fleet, injection = context.fleet, Injection(context.counts())
    context.mark_broken()
    fleet.postgres.swap_sessions(on=True)
    try:
        before = fleet.postgres.swapped
        yield injection
        injection.version = context.submit_quietly()
        submission_is_applied(context, injection)
        if swapped := fleet.postgres.swapped - before:
            injection.evidence.append(f"{swapped} transactions had another session than the one before")
    finally:
        fleet.postgres.swap_sessions(on=False)


@contextlib.contextmanager
def postgres_read_only(context: FaultContext, _dice: random.Random) -> Iterator[Injection]:
    """Make Postgres read-only: a replica, or a primary whose disk is full."""
    injection = Injection(context.counts())
    context.mark_broken()
    _set_read_only(context, "on")
    try:
        yield injection
    finally:
        until("Postgres takes writes", lambda: _set_read_only(context, "off"), BACK_SECONDS)


def _set_read_only(context: FaultContext, value: str) -> bool:
    with context.fleet.database.connect() as connection:
        connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {value}")
        connection.execute("SELECT pg_reload_conf()")
    return True
