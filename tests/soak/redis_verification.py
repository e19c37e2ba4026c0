"""Verifies that Redis is empty in the end."""

from __future__ import annotations

from redis.exceptions import RedisError

from tests.soak.findings import EXAMPLES, Findings
from tests.soak.fleet import Fleet

#: Bytes that Redis may use more than before, in addition to idempotency keys: buffers, RQ's and the allocator's.
_MEMORY_SLACK_BYTES = 8 << 20
#: Bytes of a key in addition to its own memory: its places in the table of all keys and in that of expiries.
_KEY_OVERHEAD_BYTES = 100


def verify_redis(fleet: Fleet, memory_before: int) -> Findings:
    """Find what Redis still holds after everything was applied."""
    findings = Findings("entries left", "entries pending", "bytes in the backlog", "failed jobs", "MB of memory kept")
    for lane, count in fleet.lanes.pending().items():
        findings.add("entries pending", f"lane {lane}: {count}", count)
    if waiting := fleet.lanes.waiting():
        findings.add("entries left", waiting, waiting)
    for lane, counters in enumerate(fleet.lanes.backlogs()):
        parts = {name.decode(): int(value) for name, value in counters.items() if name[:2] == b"c:"}
        if parts or int(counters.get(b"bytes", 0)):
            findings.add("bytes in the backlog", f"lane {lane}: {counters}", abs(int(counters.get(b"bytes", 0))) or 1)
    if failed := int(fleet.shape.queue.zcard("rq:failed:drain")):
        findings.add("failed jobs", fleet.shape.queue.zrange("rq:failed:drain", 0, EXAMPLES), failed)
    grown = memory_of(fleet) - memory_before
    if grown > _MEMORY_SLACK_BYTES:
        findings.add("MB of memory kept", f"{grown / 1e6:.1f} MB more than before", grown >> 20)
    return findings


def memory_of(fleet: Fleet) -> int:
    """Return the bytes that Redis uses, without buffers and idempotency keys, which stay for a day; 0 for more servers.

    Which servers hold what changes with each failover of a pair or a cluster.
    """
    if not fleet.is_plain:
        return 0
    info = fleet.redis.info("memory")
    keys, sample = 0, b""
    for key in fleet.redis.scan_iter("{lane-*}:idempotency:*", count=1000):
        keys, sample = keys + 1, key
    try:
        each = int(fleet.redis.memory_usage(sample) or 0) if sample else 0
    except RedisError:
        each = 0
    buffers = sum(int(info.get(name, 0)) for name in ("mem_clients_normal", "mem_total_replication_buffers"))
    return int(info["used_memory"]) - buffers - keys * (each + _KEY_OVERHEAD_BYTES)
