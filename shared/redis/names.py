"""Every name in Redis, built here and nowhere else.

All keys of a lane carry its hash tag, `{lane-07}`, so that one script call touches one slot and the scripts run
unchanged on a Redis Cluster. A credential's lane is a hash of its key id; a rotation draws the new key id until it
falls on the same lane, which keeps a connector's submissions in one order. If the lanes are doubled, a connector may
move to a new lane: `shared/credentials/splitting.py`.

On a cluster the hash tag has a suffix, `{lane-07-b2}`, that spreads the lanes evenly over the slots: the plain tags of
16 lanes fall on three nodes 4, 4 and 8. Slots are shared out by the lane's number with its bits reversed, so that the
lanes are spread evenly whatever their number is, and stay where they are if more are added.

Keys of a lane, after `{lane-07}:`. The users are scripts (a test compares them with the scripts' headers) or processes.

| key                 | type   | lives            | written by                           | only read by                |
|---------------------|--------|------------------|--------------------------------------|-----------------------------|
| stream              | stream | forever          | append, mark_ready, read_slice,      | sweep_lane, release_lease,  |
|                     |        |                  | settle                               | recount_backlog,            |
|                     |        |                  |                                      | look_at_lane, find_entry,   |
|                     |        |                  |                                      | count_ahead, close_lane     |
| large               | stream | while it has any | append, settle, sweep_lane           | look_at_lane, find_entry,   |
|                     |        |                  |                                      | count_ahead                 |
| lease               | string | seconds          | append, sweep_lane,                  | look_at_lane                |
|                     |        |                  | acquire_lease, hand_over_lease,      |                             |
|                     |        |                  | release_lease                        |                             |
| backlog             | hash   | forever          | append, settle, mark_ready,          | look_at_lane                |
|                     |        |                  | sweep_lane, recount_backlog          |                             |
| ready               | string | forever          | mark_ready, close_lane,              | append, sweep_lane,         |
|                     |        |                  | credential sync                      | look_at_lane, API           |
| revision            | string | until a change   | mark_ready, put_credential,          | credential sync             |
|                     |        |                  | revoke_credential, append            |                             |
| loading             | string | 30 s             | credential sync, mark_ready,         | load_lane                   |
|                     |        |                  | close_lane                           |                             |
| generations         | hash   | forever          | load_lane, put_credential,           |                             |
|                     |        |                  | revoke_credential                    |                             |
| key_ids             | set    | forever          | load_lane, put_credential,           |                             |
|                     |        |                  | revoke_credential, credential sync   |                             |
| credential:<key id> | hash   | until revoked    | load_lane, put_credential,           | append, API                 |
|                     |        |                  | revoke_credential, credential sync   |                             |
| bucket:<key id>     | string | until full again | append                               |                             |
| questions:<key id>  | string | until full again | append                               |                             |
| seen                | hash   | forever          | append                               | operators                   |
| idempotency:<c>:<h> | string | 24 h             | append                               |                             |
| failures            | string | 10 min           | drain                                | sweeper                     |
| retry               | string | seconds          | sweep_lane, drain                    | acquire_lease,              |
|                     |        |                  |                                      | release_lease               |
| write_probe         | string | forever          | API                                  |                             |

Keys without a lane: `ingest:lanes` (string, forever; written by credential sync, read by every process),
`ingest:sweeper` (string, seconds; the sweeper's lease), `ingest:sweep` (string, seconds; the sweeper's last report),
`ingest:workers` (sorted set, forever; report_worker),
`ingest:corrections` (string, forever; how many credentials differed from Postgres), `ingest:{traffic}:counts` (hash;
add_traffic) and `ingest:{traffic}:refusals` (list; add_traffic), which the sweeper moves to Postgres by
`ingest:{traffic}:moving_counts` and `ingest:{traffic}:moving_refusals` (take_traffic), and `rq:*`, which are RQ's own.
"""

from __future__ import annotations

import itertools
import zlib
from functools import lru_cache
from typing import Final

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from shared.request_id import MAX_LANES

#: Consumer group of every stream and its only consumer, so that a drain finds what a killed one left pending.
GROUP: Final = "drain"
CONSUMER: Final = "lane"
#: RQ queue of wake-ups.
WAKE_QUEUE: Final = "drain"
#: Number of lanes, copied from Postgres so that an API process can start while Postgres is unavailable.
LANES: Final = "ingest:lanes"
#: Number of credentials that differed from Postgres and were corrected, ever.
CORRECTIONS: Final = "ingest:corrections"
#: Lease of the active sweeper.
SWEEPER: Final = "ingest:sweeper"
#: What the sweeper reports at the end of each sweep.
SWEEP: Final = "ingest:sweep"
#: When each worker last reported, by its name.
WORKERS: Final = "ingest:workers"
#: Counts by minute and connector, and the last refusals, until they are moved to Postgres; then what is being moved.
TRAFFIC: Final = "ingest:{traffic}:counts"
REFUSALS: Final = "ingest:{traffic}:refusals"
MOVING_TRAFFIC: Final = "ingest:{traffic}:moving_counts"
MOVING_REFUSALS: Final = "ingest:{traffic}:moving_refusals"


class LaneKeys:
    """The keys of one lane."""

    def __init__(self, number: int, suffix: str = "") -> None:
        self._prefix = f"{{lane-{number:02d}{suffix}}}"
        self.stream = f"{self._prefix}:stream"
        #: Of each entry with a large body, under its id, all but the body.
        self.large = f"{self._prefix}:large"
        self.lease = f"{self._prefix}:lease"
        self.backlog = f"{self._prefix}:backlog"
        self.ready = f"{self._prefix}:ready"
        #: Revision of the lane's credentials in Postgres when they were last compared.
        self.revision = f"{self._prefix}:revision"
        self.loading = f"{self._prefix}:loading"
        self.generations = f"{self._prefix}:generations"
        self.key_ids = f"{self._prefix}:key_ids"
        self.failures = f"{self._prefix}:failures"
        #: When each connector's last submission was accepted, in milliseconds since 1970.
        self.seen = f"{self._prefix}:seen"
        #: Written to find out whether writes are possible.
        self.write_probe = f"{self._prefix}:write_probe"
        #: Says that dead letters of this lane are to be retried.
        self.retry = f"{self._prefix}:retry"

    def credential(self, key_id: str) -> str:
        """Return the hash of a credential or hook: digest, connector, rate, burst; of a hook, what it is."""
        return f"{self._prefix}:credential:{key_id}"

    def bucket(self, key_id: str) -> str:
        """Return the token bucket of a credential's submissions."""
        return f"{self._prefix}:bucket:{key_id}"

    def read_bucket(self, key_id: str) -> str:
        """Return the token bucket of a credential's other requests: status and configuration."""
        return f"{self._prefix}:questions:{key_id}"

    def idempotency(self, connector_id: int, key_digest: str) -> str:
        """Return the record of an idempotency key (its SHA-256, hex). It outlives a rotation of the credential."""
        return f"{self._prefix}:idempotency:{connector_id}:{key_digest}"


class _Names:
    """Whether lanes are spread over the slots of a cluster."""

    spread = False


def spread_lanes() -> None:
    """Use the names of lanes on a cluster. Called by a process that works on one, before it uses a name."""
    _Names.spread = True
    lane_keys.cache_clear()


@lru_cache(maxsize=1024)
def lane_keys(number: int) -> LaneKeys:
    """Return the keys of lane `number`."""
    return LaneKeys(number, spreading_suffix(number) if _Names.spread else "")


def spreading_suffix(number: int) -> str:
    """Return what puts a lane's hash tag into its part of the slots."""
    part = REDIS_CLUSTER_HASH_SLOTS // (MAX_LANES + 1)
    wanted = int(f"{number:0{MAX_LANES.bit_length()}b}"[::-1], 2)
    suffixes = (f"-{attempt:x}" for attempt in itertools.count())
    return next(one for one in suffixes if key_slot(f"lane-{number:02d}{one}".encode()) // part == wanted)


def lane_of(key_id: str, lanes: int) -> int:
    """Return the lane of a credential: the same in every process that knows the number of lanes.

    If that is doubled, it is the same lane, or the one that is split from it.
    """
    return zlib.crc32(key_id.encode()) % lanes


def may_have_been(former: int, lane: int, lanes: int) -> bool:
    """Return True if a connector in `lane` can have been in the lane `former` before the lanes were doubled."""
    while former != lane and lanes % 2 == 0:
        lanes //= 2
        lane %= lanes
    return former == lane
