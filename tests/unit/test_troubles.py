"""Each trouble of an installation is told and names the connectors concerned; the urgent ones come first."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from redis.exceptions import TimeoutError  # noqa: A004 - redis' own

from operations.state import DatabaseState, State
from operations.troubles import troubles
from shared.redis.lane_status import Lane, Node, RedisState, WorkerState

LANE = Lane(0, ready=True, entries=0, bytes=0, lease="none", lease_ms_left=None, job_id=None, oldest_age_seconds=None)
WORKERS = [WorkerState(f"worker-{number}", "idle", None, None, None) for number in range(2)]
REDIS = RedisState(
    lanes=[LANE],
    nodes=[],
    workers=WORKERS,
    queued_jobs=0,
    failed_jobs=0,
    sweeper=True,
    stalled=[],
    living_workers=2,
    memory=10,
    memory_limit=100,
    corrections=0,
)
CRM: dict[str, Any] = {"connector_id": 7, "name": "crm", "silence": None}
DATABASE = DatabaseState(1, [CRM])
WELL = State(DATABASE, None, REDIS, None)
MAX_BACKLOG_BYTES = 1000
LETTERS = {"letters": 3, "connector_ids": [7], "reason": "22003", "fingerprint": "5f2a90c1"}
REFUSALS = {
    "connector_id": 7,
    "code": "invalid_stream",
    "reason": None,
    "count": 12,
    "path_pattern": "$.stream",
    "message": "Name the stream.",
}


def redis(**changed: Any) -> State:
    return replace(WELL, redis=replace(REDIS, **changed))


def database(**changed: Any) -> State:
    return replace(WELL, database=replace(DATABASE, **changed))


def refused(**changed: Any) -> State:
    return database(refusals=[REFUSALS | changed])


@pytest.mark.parametrize(
    ("state", "kind", "urgent", "named"),
    [
        (database(connectors=[CRM | {"silence": "quiet"}]), "quiet", False, "Connector 7 stopped sending: crm"),
        (database(connectors=[CRM | {"silence": "never"}]), "never_seen", False, "Connector 7 never sent"),
        (refused(), "refused", False, "(crm) is refused, invalid_stream at $.stream: 12 requests"),
        (refused(code="unauthorized", reason="rotated"), "stale_key", False, "(crm) still uses a key that was rotated"),
        (refused(code="rate_limited"), "over_limit", False, "(crm) sends more than its rate allows"),
        (database(dead=[LETTERS]), "dead_letters", False, "3 dead letters of connector 7 (crm): a number is too large"),
        (redis(stalled=[3, 5]), "lane_stalled", True, "Lanes 3, 5 are stalled"),
        (redis(workers=[], living_workers=0), "no_worker", True, "No worker runs"),
        (redis(living_workers=1), "frozen_worker", False, "1 of 2 workers"),
        (redis(living_workers=0), "frozen_worker", True, "2 of 2 workers"),
        (replace(WELL, database=None, database_fault="Postgres is away."), "postgres_away", True, "Postgres is away."),
        (replace(WELL, redis=None, redis_fault="Redis is away."), "redis_away", True, "Redis is away."),
        (redis(memory=90), "redis_full", True, "90 % of its `maxmemory`"),
        (redis(lanes=[replace(LANE, bytes=800)]), "backlog_full", True, "80 % of MAX_BACKLOG_BYTES"),
        (redis(lanes=[replace(LANE, ready=False)]), "lane_not_ready", True, "Lane 0 is not ready"),
        (
            redis(nodes=[Node("n1:6379", [3, 5], TimeoutError())]),
            "node_away",
            True,
            "Redis at n1:6379, with the lanes 3, 5, is away. Redis can't be used now: it does not answer.",
        ),
        (redis(sweeper=False), "no_sweeper", True, "No sweeper acts"),
    ],
)
def test_a_trouble_is_told_alone_with_whom_it_concerns(state: State, kind: str, urgent: bool, named: str) -> None:  # noqa: FBT001 - a column
    [told] = troubles(state, MAX_BACKLOG_BYTES)

    assert (told.kind, told.urgent) == (kind, urgent)
    assert named in told.sentence
    assert told.remedy
    assert told.connector_ids == ((7,) if not urgent and kind != "frozen_worker" else ())


def test_nothing_is_wrong_with_a_well_installation() -> None:
    assert troubles(WELL, MAX_BACKLOG_BYTES) == []


def test_the_urgent_comes_first_and_many_connectors_are_one_trouble() -> None:
    silent = [CRM | {"connector_id": number, "name": f"c{number}", "silence": "quiet"} for number in range(200)]
    both = replace(WELL, database=replace(DATABASE, connectors=silent), redis=replace(REDIS, sweeper=False))

    first, second = troubles(both, MAX_BACKLOG_BYTES)

    assert first.kind == "no_sweeper"
    assert second.sentence == "200 connectors stopped sending: c0, c1, c2, c3, c4 and 195 more."
    assert len(second.connector_ids) == 200
