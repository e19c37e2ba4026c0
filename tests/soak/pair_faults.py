"""Faults of a pair of Postgres servers: the primary is killed, its synchronous standby is promoted."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator

from tests.soak.engine_faults import submission_is_applied
from tests.soak.fault_context import FaultContext, Injection


@contextlib.contextmanager
def standby_promoted(context: FaultContext, _dice: random.Random) -> Iterator[Injection]:
    """Kill the primary right after a submission, and promote the standby; then make the other one its standby."""
    pair, injection = context.fleet.pair, Injection(context.counts())
    assert pair
    injection.version = context.submit_quietly()
    context.mark_broken()
    began = time.monotonic()
    pair.fail_over()
    injection.evidence.append(f"promoted {time.monotonic() - began:.1f} s after the primary was killed")
    submission_is_applied(context, injection)
    pair.follow()
    yield injection
