"""Faults that end with another primary: Redis fails over behind its address, by sentinels, within a cluster."""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections.abc import Iterator
from typing import Any, cast

import httpx

from tests.soak.engine_inspection import BACK_SECONDS, until
from tests.soak.fault_context import FaultContext, Injection
from tests.soak.ledger import version_of_entry
from tests.soak.redis_shapes import OneServer, SentinelPair
from tests.support.client import NO_TLS
from tests.support.installation import Server

#: Time in seconds for which the old primary goes on: connections live two seconds.
_OLD_GOES_ON = (3.0, 6.0)
#: Deadline in seconds of a failover: sentinels that got no time of the processor for two seconds do nothing for thirty.
_PROMOTION_SECONDS = 180.0
#: A port at which no primary is: a replica of it keeps what it has.
_NO_PRIMARY = 1
_SLEEP_SECONDS = 0.05


@contextlib.contextmanager
def redis_moved(context: FaultContext, dice: random.Random) -> Iterator[Injection]:
    """Rotate a key and promote a replica, to which new connections are led; the old primary lives on.

    Half of the time, the replica does not know of the rotation. What only the old primary has in the end may be lost.
    """
    shape, injection = cast("OneServer", context.fleet.shape), Injection(context.counts())
    old, account = shape.server, dice.choice(context.accounts)
    credential = account.credential
    with context.in_doubt() as lost, shape.with_replica() as (replica, link):
        offset = int(old.info("master_repl_offset"))
        until("the replica has a copy", lambda: int(replica.info("slave_repl_offset")) >= offset, BACK_SECONDS)
        lags = dice.random() < 0.5
        if lags:
            link.hang()
        account.credential = context.fleet.ingestctl("credential", "rotate", str(account.id))["credential"]
        context.mark_broken()
        replica.promote()
        had = _last_entries(context, replica)
        shape.lead_to(replica)
        shape.let_rest(old)
        refused = _refuse(context, credential, dice.uniform(*_OLD_GOES_ON))
        old.client.replicaof("127.0.0.1", _NO_PRIMARY)
        for lane, versions in enumerate(_entries(context, old)):
            lost |= {version for version in versions if version > had[lane]}
        old.close()
        until("the new key is accepted", lambda: context.submit(account, "rotated"), BACK_SECONDS)
    injection.evidence.append(
        f"{len(lost)} entries only on the old primary, the old key refused {refused} times"
        f"{' though the replica did not know' if lags else ''}"
    )
    yield injection


def _last_entries(context: FaultContext, server: Server) -> list[int]:
    """Return the last version that each lane has on a server."""
    streams = [f"{name}:stream" for name in context.fleet.lanes.names]
    return [version_of_entry(server.client.xinfo_stream(stream)["last-generated-id"]) for stream in streams]


def _entries(context: FaultContext, server: Server) -> Iterator[list[int]]:
    """Yield the versions that each lane has on a server."""
    for name in context.fleet.lanes.names:
        found: Any = server.client.xrange(f"{name}:stream")
        yield [version_of_entry(entry_id) for entry_id, _ in found]


def _refuse(context: FaultContext, credential: str, seconds: float) -> int:
    """Post with a revoked credential for a while; return how often it was refused."""
    deadline, refused = time.monotonic() + seconds, 0
    headers = {"Authorization": f"Bearer {credential}"}
    with httpx.Client(trust_env=False, verify=NO_TLS, timeout=10.0, headers=headers) as client:
        while time.monotonic() < deadline:
            for url in context.fleet.urls:
                status = client.post(f"{url}/api/ingest/heartbeat").status_code
                refused += status == httpx.codes.UNAUTHORIZED
                if status not in (401, 503):
                    context.unexpected[f"{status} with a credential that was rotated before a failover"] += 1
            time.sleep(_SLEEP_SECONDS)
    return refused


@contextlib.contextmanager
def primary_killed(context: FaultContext, _dice: random.Random) -> Iterator[Injection]:
    """Kill the primary, and start it again as a replica once sentinels have promoted the other one."""
    shape, injection = cast("SentinelPair", context.fleet.shape), Injection(context.counts())
    [(primary, replica)] = shape.pairs()
    with context.in_doubt():
        shape.let_rest(primary)
        context.mark_broken()
        primary.process.kill()
        try:
            took = _promoted(replica)
        finally:
            primary.start()
            shape.keep(primary)
        primary.client.replicaof("127.0.0.1", replica.port)
        until("it follows", lambda: _follows(primary), BACK_SECONDS)
    injection.evidence.append(f"the replica was promoted after {took:.1f} s")
    yield injection


@contextlib.contextmanager
def primary_hangs(context: FaultContext, _dice: random.Random) -> Iterator[Injection]:
    """Let the primary hang until sentinels have promoted the replica, and then live on until they tell it."""
    shape, injection = cast("SentinelPair", context.fleet.shape), Injection(context.counts())
    [(primary, replica)] = shape.pairs()
    with context.in_doubt():
        context.mark_broken()
        primary.process.send(signal.SIGSTOP)
        try:
            took = _promoted(replica)
        finally:
            primary.process.send(signal.SIGCONT)
        told = until("it follows", lambda: _follows(primary), BACK_SECONDS)
    injection.evidence.append(f"the replica was promoted after {took:.1f} s, the old primary told {told:.1f} s later")
    yield injection


def _promoted(replica: Server) -> float:
    """Wait until the replica is promoted; return the seconds that it took."""
    return until("the replica is promoted", lambda: replica.info("role") == "master", _PROMOTION_SECONDS)


def _follows(server: Server) -> bool:
    return bool(server.info("role") == "slave" and server.info("master_link_status") == "up")
