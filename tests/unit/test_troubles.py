"""Each trouble of an installation is told and names the connectors concerned; the urgent ones come first."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import TimeoutError  # noqa: A004 - redis' own

from operations.state import DatabaseState, State
from operations.troubles import troubles
from shared.redis.lane_status import Lane, Node, RedisState, WorkerState

ROOT = Path(__file__).resolve().parents[2]
LANE = Lane(0, ready=True, entries=0, bytes=0, lease="none", lease_ms_left=None, job_id=None, oldest_age_seconds=None)
WORKERS = [WorkerState(f"host-{number}.1", "idle", None, None, None) for number in range(2)]
BOTH = frozenset(("host-0", "host-1"))
REDIS = RedisState(
    lanes=[LANE],
    nodes=[],
    workers=WORKERS,
    queued_jobs=0,
    failed_jobs=0,
    sweeper=True,
    stalled=[],
    living=BOTH,
    memory=10,
    memory_limit=100,
    corrections=0,
)
CRM: dict[str, Any] = {"connector_id": 7, "name": "crm", "silence": None}
DATABASE = DatabaseState(1, [CRM])
WELL = State(DATABASE, None, REDIS, None)
MAX_BACKLOG_BYTES = 1000
LETTERS = {"letters": 3, "connector_ids": [7], "reason": "22003", "fingerprint": "5f2a90c1"}
REFUSALS: dict[str, Any] = {
    "connector_id": 7,
    "code": "invalid_stream",
    "reason": None,
    "count": 12,
    "path_pattern": "$.stream",
    "message": "Name the stream.",
    "last_at": datetime(2026, 3, 1, 9, 30, 5, tzinfo=UTC),
}
#: In lane 0, of each connector the bytes that wait.
WAITING = {0: {7: 700, 8: 60}}


def redis(**changed: Any) -> State:
    return replace(WELL, redis=replace(REDIS, **changed))


def database(**changed: Any) -> State:
    return replace(WELL, database=replace(DATABASE, **changed))


def refused(**changed: Any) -> State:
    return database(refusals=[REFUSALS | changed])


def waiting(**changed: Any) -> State:
    return replace(redis(**changed), waiting=WAITING)


CASES: list[tuple[State, str, bool, str]] = [
    (database(connectors=[CRM | {"silence": "quiet"}]), "quiet", False, "Connector 7 (crm) stopped sending."),
    (database(connectors=[CRM | {"silence": "never"}]), "never_seen", False, "Connector 7 (crm) never sent"),
    (refused(), "refused", False, "(crm) is refused, invalid_stream at $.stream: 12 requests in 15 minutes"),
    (refused(), "refused", False, ", the last at 09:30:05 UTC."),
    (refused(code="unauthorized", reason="secret_wrong"), "refused", False, "refused, unauthorized (secret wrong)"),
    (refused(code="backlog_full"), "unavailable", False, "(crm) was answered 503 backlog_full"),
    (refused(code="connector_backlog_full"), "connector_backlog_full", False, "sends faster than it is applied"),
    (refused(code="unauthorized", reason="rotated"), "stale_key", False, "(crm) still uses a key that was rotated"),
    (refused(code="rate_limited"), "over_limit", False, "(crm) sends more than its rate allows"),
    (database(dead=[LETTERS]), "dead_letters", False, "3 dead letters of connector 7 (crm): a number is too large"),
    (redis(stalled=[3, 5]), "lane_stalled", True, "Lanes 3, 5 are stalled: submissions wait"),
    (redis(workers=[], living=frozenset()), "no_worker", True, "No worker runs: nothing is applied."),
    (redis(living=frozenset(["host-1"])), "frozen_worker", False, "1 of 2 workers has not reported"),
    (redis(living=frozenset(["host-1"])), "frozen_worker", False, "as if frozen or killed: host-0."),
    (redis(living=frozenset()), "frozen_worker", True, "2 of 2 workers have not reported"),
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
]


@pytest.mark.parametrize(("state", "kind", "urgent", "named"), CASES)
def test_a_trouble_is_told_alone_with_whom_it_concerns(state: State, kind: str, urgent: bool, named: str) -> None:  # noqa: FBT001 - a column
    [told] = troubles(state, MAX_BACKLOG_BYTES)

    assert (told.kind, told.urgent) == (kind, urgent)
    assert named in told.sentence
    assert told.remedy
    assert told.document().keys() == {"kind", "urgent", "sentence", "remedy", "connectorIds"}
    assert told.connector_ids == ((7,) if not urgent and kind != "frozen_worker" else ())


def test_nothing_is_wrong_with_a_well_installation() -> None:
    assert troubles(WELL, MAX_BACKLOG_BYTES) == []


def test_the_urgent_comes_first_and_many_connectors_are_one_trouble() -> None:
    silent = [CRM | {"connector_id": number, "name": f"c{number}", "silence": "quiet"} for number in range(200)]
    both = replace(WELL, database=replace(DATABASE, connectors=silent), redis=replace(REDIS, sweeper=False))

    first, second = troubles(both, MAX_BACKLOG_BYTES)

    assert first.kind == "no_sweeper"
    assert second.sentence == "200 connectors (c0, c1, c2, c3, c4 and 195 more) stopped sending."
    assert len(second.connector_ids) == 200


@pytest.mark.parametrize(
    ("state", "named", "ids"),
    [
        (waiting(stalled=[0]), "Lane 0 is stalled: submissions of 2 connectors (crm, 8) wait", (7, 8)),
        (waiting(workers=[], living=frozenset()), "No worker runs: submissions of 2 connectors (crm, 8) wait.", (7, 8)),
        (waiting(living=frozenset()), "host-0, host-1: submissions of 2 connectors (crm, 8) wait.", (7, 8)),
        (waiting(lanes=[replace(LANE, bytes=800)]), "Most of it is of connector 7 (crm).", (7,)),
    ],
)
def test_connectors_whose_submissions_wait_are_named_with_most_first(
    state: State, named: str, ids: tuple[int, ...]
) -> None:
    [told] = troubles(state, MAX_BACKLOG_BYTES)

    assert named in told.sentence
    assert told.connector_ids == ids


def test_connectors_that_are_refused_alike_are_one_trouble_and_the_most_frequent_says_what_to_change() -> None:
    rows = [CRM, {"connector_id": 8, "name": "hr", "silence": None}]
    later = REFUSALS["last_at"] + timedelta(minutes=1)
    often = REFUSALS | {"connector_id": 8, "count": 30, "path_pattern": "$.x", "message": "Change x.", "last_at": later}
    stranger = REFUSALS | {"connector_id": 99, "code": "invalid_json"}

    [told] = troubles(database(connectors=rows, refusals=[often, REFUSALS, stranger]), MAX_BACKLOG_BYTES)

    assert told.sentence == (
        "2 connectors (hr, crm) are refused, invalid_stream at $.x: 42 requests in 15 minutes, "
        "the last at 09:31:05 UTC."
    )
    assert (told.remedy, told.connector_ids) == ("Change x.", (8, 7))


def test_a_worker_that_lost_redis_and_came_back_is_not_frozen() -> None:
    again = WorkerState("host-0.2", "idle", None, None, None)

    assert troubles(redis(workers=[*WORKERS, again]), MAX_BACKLOG_BYTES) == []


def test_each_kind_is_explained_with_its_alert() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
    explained = dict(re.findall(r"^\| `(\w+)` \| .* \| `(Ingest\w+)` \|$", page, re.MULTILINE))
    alerts = re.findall(r"alert: (\w+)", (ROOT / "deploy" / "prometheus" / "alerts.yaml").read_text("utf-8"))

    assert explained.keys() == {kind for _, kind, _, _ in CASES}
    assert set(explained.values()) <= set(alerts)
