"""Faults of exclusive ownership: two drains on one lane, two credentials of one connector."""

from __future__ import annotations

import contextlib
import random
import signal
from collections.abc import Iterator

import httpx

from tests.soak.engine_inspection import until
from tests.soak.fault_context import CATCH_SECONDS, FaultContext, Injection, caught_in_transaction, grown
from tests.support.client import NO_TLS


@contextlib.contextmanager
def lease_lost(context: FaultContext, _dice: random.Random) -> Iterator[Injection]:
    """Delete the lease of a lane whose worker is in its transaction, so that another drain comes."""
    fleet, injection = context.fleet, Injection(context.counts())
    noticed = grown("lane_busy", "lane_paused")
    lease = f"{fleet.lanes.names[context.quiet.lane]}:lease"
    with caught_in_transaction(context) as (worker, injection.version):
        context.mark_broken()
        first = fleet.redis.get(lease)
        # The worker is stopped meanwhile: it would renew the lease before another drain takes it.
        fleet.send(worker, signal.SIGSTOP)
        try:
            fleet.redis.delete(lease)
            context.submit_quietly()
            until(
                "another drain comes",
                lambda: _is_taken(fleet.redis.get(lease), first) or noticed(context, injection),
                CATCH_SECONDS,
            )
        finally:
            fleet.send(worker, signal.SIGCONT)
    injection.evidence.append("another drain took the lease")
    yield injection


def _is_taken(holder: object, first: object) -> bool:
    return isinstance(holder, bytes) and holder.startswith(b"running:") and holder != first


@contextlib.contextmanager
def credential_rotated(context: FaultContext, dice: random.Random) -> Iterator[Injection]:
    """Rotate a credential: once the command returns, every API process refuses the old one."""
    injection = Injection(context.counts())
    account = dice.choice(context.accounts)
    old = account.credential
    rotated = context.fleet.ingestctl("credential", "rotate", str(account.id))
    statuses = []
    for url in context.fleet.urls:
        with (
            contextlib.suppress(httpx.TransportError),
            httpx.Client(trust_env=False, verify=NO_TLS, timeout=10.0) as client,
        ):
            bearer = {"Authorization": f"Bearer {old}"}
            statuses.append(client.post(f"{url}/api/ingest/heartbeat", headers=bearer).status_code)
    account.credential = rotated["credential"]
    for status in statuses:
        if status not in (401, 503):
            context.unexpected[f"{status} with a credential that was rotated"] += 1
    if 401 in statuses:
        injection.evidence.append(f"{statuses.count(401)} times 401 with the old credential")
    yield injection
