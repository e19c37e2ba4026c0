"""Every name in Redis, built here and nowhere else.

All keys of one submission carry their lane's hash tag, `{lane-07}`, so that one script call touches one slot and the
scripts run unchanged on a Redis Cluster. A credential's lane is a hash of its key id; a rotation draws the new key id
so that it falls on the same lane, which keeps a connector's submissions in one order for ever.

| name                           | type   | lives                | written by            | read by                  |
|--------------------------------|--------|----------------------|-----------------------|--------------------------|
| {lane-07}:stream               | stream | for ever             | append, settle        | read_slice, find_entry   |
| {lane-07}:lease                | string | seconds              | append, *_lease       | append, sweep_lane       |
| {lane-07}:backlog              | hash   | for ever             | append, settle        | append, sweep            |
| {lane-07}:ready                | string | for ever             | load_lane             | append, sweep_lane       |
| {lane-07}:loading              | string | 30 s                 | loading               | load_lane                |
| {lane-07}:generations          | hash   | for ever             | load_lane, put/strike | load_lane, put/strike    |
| {lane-07}:key_ids              | set    | for ever             | load_lane, put/strike | loading                  |
| {lane-07}:credential:<key id>  | hash   | until struck         | load_lane, put/strike | append                   |
| {lane-07}:bucket:<key id>      | string | until full again     | append                | append                   |
| {lane-07}:questions:<key id>   | string | until full again     | append                | append                   |
| {lane-07}:idempotency:<c>:<h>  | string | 24 h                 | append                | append                   |
| {lane-07}:failures             | string | 10 min               | drain                 | drain                    |
| {lane-07}:retry                | string | seconds              | sweep_lane, drain     | *_lease                  |
| ingest:lanes                   | string | for ever             | loading               | every process            |
| ingest:sweeper                 | string | seconds              | sweeper               | sweeper                  |
| rq:*                           | RQ's   | RQ's                 | RQ                    | RQ                       |
"""

from __future__ import annotations

import zlib
from functools import lru_cache
from typing import Final

#: Consumer group of every lane's stream, and its one consumer: a drain finds what a killed one left pending.
GROUP: Final = "drain"
CONSUMER: Final = "lane"
#: RQ's queue of wake-ups.
WAKE_QUEUE: Final = "drain"
#: Number of lanes, copied from Postgres so that an API process can start while Postgres is away.
LANES: Final = "ingest:lanes"
#: Lease of the one sweeper that acts.
SWEEPER: Final = "ingest:sweeper"


class LaneKeys:
    """The names of one lane."""

    __slots__ = (
        "backlog",
        "failures",
        "generations",
        "key_ids",
        "lease",
        "loading",
        "number",
        "prefix",
        "ready",
        "retry",
        "stream",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        self.prefix = f"{{lane-{number:02d}}}"
        self.stream = f"{self.prefix}:stream"
        self.lease = f"{self.prefix}:lease"
        self.backlog = f"{self.prefix}:backlog"
        self.ready = f"{self.prefix}:ready"
        self.loading = f"{self.prefix}:loading"
        self.generations = f"{self.prefix}:generations"
        self.key_ids = f"{self.prefix}:key_ids"
        self.failures = f"{self.prefix}:failures"
        #: Says that dead letters of this lane are to be retried.
        self.retry = f"{self.prefix}:retry"

    def credential(self, key_id: str) -> str:
        """Hash of one credential: digest, connector, rate, burst."""
        return f"{self.prefix}:credential:{key_id}"

    def bucket(self, key_id: str) -> str:
        """Token bucket of one credential, for submissions."""
        return f"{self.prefix}:bucket:{key_id}"

    def question_bucket(self, key_id: str) -> str:
        """Token bucket of one credential, for what only asks: status and configuration."""
        return f"{self.prefix}:questions:{key_id}"

    def idempotency(self, connector_id: int, key_digest: str) -> str:
        """What a connector's idempotency key (its SHA-256, hex) stands for: survives a rotation of the credential."""
        return f"{self.prefix}:idempotency:{connector_id}:{key_digest}"


@lru_cache(maxsize=1024)
def lane_keys(number: int) -> LaneKeys:
    """The names of lane `number`."""
    return LaneKeys(number)


def lane_of(key_id: str, lanes: int) -> int:
    """The lane of a credential: the same in every process, for as long as the number of lanes stays."""
    return zlib.crc32(key_id.encode()) % lanes
