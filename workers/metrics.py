"""The metrics of workers and the sweeper, which `shared/process/metrics.py` serves."""

from __future__ import annotations

from typing import Final

import psycopg
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from redis.exceptions import RedisError

from shared.error_codes import ErrorCode
from shared.outage import Outage
from shared.process.metrics import show_zeros

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
#: Lag: a lane may wait for hours while Postgres is away.
_LAG_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 1_800.0, 14_400.0)

WORKER: Final = CollectorRegistry()
ITEMS_APPLIED: Final = Counter("ingest_items_applied", "Items, log entries and ids that were applied.", registry=WORKER)
ITEMS_SUPERSEDED: Final = Counter(
    "ingest_items_superseded", "Items that were not written, since a newer state is there.", registry=WORKER
)
ITEMS_REMOVED: Final = Counter("ingest_items_removed", "Rows of items that were removed.", registry=WORKER)
DEAD_LETTERS: Final = Counter("ingest_dead_letters", "Submissions that became dead letters.", registry=WORKER)
LAG: Final = Histogram(
    "ingest_lag_seconds", "Time from a submission's acceptance to its commit.", registry=WORKER, buckets=_LAG_SECONDS
)
TRANSACTION: Final = Histogram(
    "ingest_transaction_seconds", "Time of a slice's transaction.", registry=WORKER, buckets=_SECONDS
)
SLICE: Final = Histogram(
    "ingest_slice_seconds", "Time from a slice that was read to the next one.", registry=WORKER, buckets=_SECONDS
)
LANE_TURNS: Final = Counter("ingest_lane_turns", "Times that a worker took a lane.", registry=WORKER)
LANE_PAUSES: Final = Counter(
    "ingest_lane_pauses",
    "Lanes that were paused after a failure, by its `cause`: postgres, redis or other.",
    ["cause"],
    registry=WORKER,
)
SPANS_LOST: Final = Counter("ingest_spans_lost", "Spans of traces that the collector did not get.", registry=WORKER)
RETENTION_RUNS: Final = Counter(
    "ingest_retention_runs",
    "Runs of the retention job, by `outcome`: done, postponed in part, or failed.",
    ["outcome"],
    registry=WORKER,
)
RETENTION_DROPPED: Final = Counter(
    "ingest_retention_dropped_partitions", "Partitions that retention dropped.", registry=WORKER
)
RETENTION_DELETED: Final = Counter("ingest_retention_deleted_rows", "Rows that retention deleted.", registry=WORKER)
RETENTION_SUCCESS: Final = Gauge(
    "ingest_retention_last_success_seconds",
    "When this worker last completed the retention job, in seconds since 1970; 0: never.",
    registry=WORKER,
)

SWEEPER: Final = CollectorRegistry()
SWEEPER_ACTS: Final = Gauge("ingest_sweeper_acts", "Whether this sweeper is the one that acts.", registry=SWEEPER)
SWEEP: Final = Histogram("ingest_sweep_seconds", "Time of a look at all lanes.", registry=SWEEPER, buckets=_SECONDS)
LANES_WOKEN: Final = Counter("ingest_lanes_woken", "Lanes with work that no drain had.", registry=SWEEPER)
LANES_STALLED: Final = Gauge(
    "ingest_lanes_stalled", "Lanes with submissions that have applied none for too long.", registry=SWEEPER
)
REFUSALS: Final = Counter(
    "ingest_refusals",
    "Refusals that were kept, a sample of a flood, by `code` and by the `reason` of a 401.",
    ["code", "reason"],
    registry=SWEEPER,
)

show_zeros(LANE_PAUSES, ("postgres",), ("redis",), ("other",))
show_zeros(RETENTION_RUNS, ("done",), ("postponed",), ("failed",))
show_zeros(REFUSALS, *((ErrorCode.UNAUTHORIZED.text, reason) for reason in ("rotated", "disabled", "deleted")))


class PauseOutage(Outage):
    """Counts the pauses of a lane beside reporting them."""

    def report(self, error: Exception, **fields: object) -> None:
        """Count and log an error."""
        LANE_PAUSES.labels(_cause(error)).inc()
        super().report(error, **fields)


def _cause(error: Exception) -> str:
    if isinstance(error, psycopg.Error):
        return "postgres"
    return "redis" if isinstance(error, RedisError) else "other"
