"""drain: items a second of one worker on a loaded lane, beside the same rows merged by plain SQL in the same server.

The lane is loaded before the worker starts. The floor writes the same rows by COPY into a temporary table and one
`INSERT … ON CONFLICT` a slice's worth of rows.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from benchmarks.accept import item
from benchmarks.measure import BenchmarkError, Table, side_by_side
from benchmarks.stack import LANES, Stack, running_engines
from shared import lua
from shared.credentials import parse_credential
from shared.keys import lane_keys, lane_of
from shared.request_id import MAX_SEQUENCE
from shared.submission import Meta, backlog_cost, encode_meta
from shared.wakeup import LEASE_MS, enqueue_drain, new_job_id, wake_queue

BATCHES = 1_000
BATCH = 100
DISTINCT = 20_000
_NO_LIMIT = 1 << 40
_SECONDS = 120
_MERGED_BY_COPY = """
INSERT INTO items (connector_id, stream, id, name, fields, tags, version, updated_at)
SELECT 2, 'agents', id, name, fields, tags, version, now() FROM incoming ORDER BY id
ON CONFLICT (connector_id, stream, id) DO UPDATE
SET name = excluded.name, fields = excluded.fields, tags = excluded.tags, version = excluded.version,
    updated_at = excluded.updated_at
WHERE items.version < excluded.version
"""


def measure() -> Table:
    """Two rows: plain SQL, and one worker."""
    table = Table(f"drain: {BATCHES * BATCH:,} items of {DISTINCT:,} ids, batches of {BATCH}, one worker", "items/s")
    with running_engines() as stack:
        floor = "COPY into a temporary table, INSERT … ON CONFLICT"
        runs = {floor: lambda: plain_sql(stack), "one worker": lambda: one_worker(stack)}
        side_by_side(table, runs, floor=floor)
    return table


def bodies() -> list[bytes]:
    """Batches over `DISTINCT` ids, so that some rows of a slice merge."""
    return [
        json.dumps(
            {"stream": "agents", "items": [item((start * BATCH + number) % DISTINCT) for number in range(BATCH)]}
        ).encode()
        for start in range(BATCHES)
    ]


def one_worker(stack: Stack) -> float:
    """Loads the lane, starts a worker, waits until the lane is empty; items a second from the first to the last row."""
    presented = parse_credential(stack.credential)
    if presented is None:
        raise BenchmarkError("The credential has another form than a credential's.")
    lane = lane_of(presented.key_id, LANES)
    keys = lane_keys(lane)
    append = stack.redis.register_script(lua.source("append"))
    job_id = new_job_id(lane)
    meta = encode_meta(Meta("items"))
    for body in bodies():
        key_id = presented.key_id
        call: list[Any] = [backlog_cost(b""), 1, presented.digest, 1, "append", meta, BATCH, body]
        append(
            keys=[keys.stream, keys.lease, keys.backlog, keys.ready, keys.credential(key_id), keys.bucket(key_id)],
            args=["", job_id, LEASE_MS, _NO_LIMIT, _NO_LIMIT, MAX_SEQUENCE, 1, *call],
        )
    receipts = _count_receipts(stack)
    enqueue_drain(wake_queue(stack.redis), lane, job_id)
    with stack.process("workers", core=0):
        started = _until(lambda: _count_receipts(stack) > receipts)
        first = _count_receipts(stack) - receipts
        ended = _until(lambda: stack.redis.xlen(keys.stream) == 0)
    return (BATCHES - first) * BATCH / (ended - started)


def plain_sql(stack: Stack) -> float:
    """The same rows by hand: decode, keep the newest of each slice's worth, COPY, merge."""
    slices = bodies()
    entries = 400  # about what fits into a slice's bytes
    started = time.monotonic()
    for start in range(0, len(slices), entries):
        newest = {}
        for number, body in enumerate(slices[start : start + entries]):
            for one in json.loads(body)["items"]:
                newest[one["id"]] = (one["name"], json.dumps(one["fields"]), json.dumps(one["tags"]), start + number)
        with stack.connection.transaction():
            stack.connection.execute(
                "CREATE TEMPORARY TABLE incoming (id text, name text, fields jsonb, tags jsonb, version bigint) "
                "ON COMMIT DROP"
            )
            with stack.connection.cursor().copy("COPY incoming FROM STDIN") as copy:
                for item_id, row in newest.items():
                    copy.write_row((item_id, *row[:3], time.time_ns() + row[3]))
            stack.connection.execute(_MERGED_BY_COPY)
    return BATCHES * BATCH / (time.monotonic() - started)


def _count_receipts(stack: Stack) -> int:
    return int(stack.connection.execute("SELECT count(*) AS n FROM receipts").fetchall()[0]["n"])


def _until(condition: Callable[[], bool]) -> float:
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        if condition():
            return time.monotonic()
        time.sleep(0.002)  # what is measured tells nobody when it is done
    raise BenchmarkError(f"The lane was not drained in {_SECONDS} s.")
