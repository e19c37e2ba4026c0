"""What was counted reaches Postgres once, refusals name connectors, and signs of life need no worker."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from redis import Redis

from operations.connectors import Connectors, select_connectors
from operations.refusals import group_refusals, read_refusals
from operations.traffic import read_traffic
from shared.postgres.connections import Connection
from shared.process.settings import Settings
from shared.redis.names import MOVING_TRAFFIC, REFUSALS, TRAFFIC
from shared.redis.scripts import Scripts
from shared.redis.signs_of_life import read_signs, with_signs
from shared.redis.traffic import hand_over
from shared.traffic import Batch, Refusal, Tally
from tests.integration.hook_tools import HookApi, hook_api
from tests.integration.ingestctl_tools import Ingestctl
from tests.integration.lane_tools import Lane
from tests.support.client import JSON, batch, item
from tests.support.signing import event
from workers.drain import Drain
from workers.traffic_mover import TrafficMover

LONG_AGO = datetime.now(UTC) - timedelta(days=1)


@pytest.fixture
def mover(connection: Connection, redis: Redis) -> TrafficMover:
    return TrafficMover(redis, lambda: connection, lambda: True, keep_days=30)


def refusal(connector_id: int, **changed: Any) -> Refusal:
    known = {"at": time.time(), "request_id": "req_00000000000000", "route": "/api/ingest", "code": "invalid_id"}
    return Refusal(**{**known, "connector_id": connector_id, "message": "An item's id is empty.", **changed})


def hand_over_refusals(redis: Redis, *refusals: Refusal) -> None:
    tally = Tally()
    for one in refusals:
        tally.refused(one)
    taken = tally.take()
    assert taken
    hand_over(Scripts(redis), taken)


def test_counts_of_processes_are_added_up_and_moved_once(
    connection: Connection, redis: Redis, mover: TrafficMover
) -> None:
    for _ in ("one process", "another one"):
        tally = Tally()
        tally.accepted(1, 10, 1_000)
        tally.applied(1, 8, 2, 1, 50)
        tally.refused(refusal(1))
        taken = tally.take()
        assert taken
        hand_over(Scripts(redis), taken)

    mover.move()
    mover.move()

    [total] = read_traffic(connection, since=LONG_AGO)
    assert total == {
        "connector_id": 1,
        "at": None,
        "submissions": 2,
        "items": 20,
        "bytes": 2_000,
        "refused": 2,
        "refused_by_code": {"invalid_id": 2},
        "applied": 16,
        "superseded": 4,
        "removed": 2,
        "dead": 0,
        "lag_seconds": 0.05,
        "position": (1, 0),
    }
    minutes = read_traffic(connection, since=LONG_AGO, step="minute", connector_id=1)
    assert sum(row["items"] for row in minutes) == 20
    assert [row["at"].second for row in minutes] == [0] * len(minutes)
    [hour] = read_traffic(connection, since=LONG_AGO, step="hour", per_connector=False)[-1:]
    assert (hour["connector_id"], hour["at"].minute) == (None, 0)
    assert not redis.exists(TRAFFIC, REFUSALS, MOVING_TRAFFIC)


def test_a_move_that_was_committed_before_the_sweeper_was_killed_adds_nothing_again(
    connection: Connection, redis: Redis, mover: TrafficMover
) -> None:
    hand_over_refusals(redis, refusal(1))
    redis.delete, kept = (lambda *_: 0), redis.delete  # type: ignore[method-assign] # it is killed before
    mover.move()
    redis.delete = kept  # type: ignore[method-assign]
    hand_over_refusals(redis, refusal(1))

    mover.move()
    mover.move()

    assert [row["refused"] for row in read_traffic(connection, since=LONG_AGO)] == [2]
    assert len(read_refusals(connection)) == 2


def test_what_postgres_can_never_take_is_discarded_and_the_next_move_is_made(
    connection: Connection, redis: Redis, mover: TrafficMover
) -> None:
    hand_over(Scripts(redis), Batch({"1": [1, 1, 1]}, [refusal(1, at=1e300, message="a\0b")]))
    redis.hset(TRAFFIC, "no minute", "no counters")
    mover.move()

    redis.set(TRAFFIC, "of another type")
    redis.set(REFUSALS, "of another type")
    hand_over_refusals(redis, refusal(1, path="$.a\0b"))
    mover.move()

    assert [row["path"] for row in read_refusals(connection)] == ["$.a\ufffdb"]


def test_a_flood_leaves_other_connectors_their_share(
    connection: Connection, redis: Redis, mover: TrafficMover, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.traffic_mover.KEPT_REFUSALS", 30)
    hand_over_refusals(redis, *(refusal(2, code="nested_value", path=f"$.items[{n}].id") for n in range(3)))
    for _ in range(5):
        hand_over_refusals(redis, *(refusal(1) for _ in range(50)))
        mover.move()

    rows = read_refusals(connection, limit=None)
    assert len(rows) == 30
    assert [row["connector_id"] for row in rows].count(2) == 3
    groups = group_refusals(connection)
    assert [(row["connector_id"], row["path_pattern"]) for row in groups] == [(1, None), (2, "$.items[*].id")]
    assert groups[1]["count"] == 3
    assert groups[0]["count"] > 27, "those that were only counted are counted"


@pytest.fixture
def api(settings: Settings, connection: Connection, redis: Redis) -> Iterator[HookApi]:
    with hook_api(settings, connection, redis) as api:
        yield api


def moved_refusals(connection: Connection, mover: TrafficMover, count: int) -> list[dict[str, Any]]:
    deadline = time.monotonic() + 20
    while len(found := read_refusals(connection)) < count:
        assert time.monotonic() < deadline, found
        mover.move()
        time.sleep(0.05)
    return sorted(found, key=lambda row: row["at"])


@pytest.fixture
def refused(capfd: pytest.CaptureFixture[str], api: HookApi) -> list[httpx.Response]:
    """Requests of connector 1, each refused for another reason."""
    capfd.readouterr()  # what is captured from here on is the log of these
    made = api.connectors.create("crm")
    bearer = {**JSON, "Authorization": f"Bearer {made.credential.text}"}
    bad = batch(item("x" * 600, secret="value-of-a-client"), stream="agents")
    answers = [
        api.ask("/api/ingest", bad, bearer),
        api.ask("/api/webhook/orders?idField=no", b"{}", bearer),
        api.ask("/api/ingest", bad, {**JSON, "Authorization": "Bearer " + "x" * 10}),
    ]
    _, hook = api.new_hook()
    signed = hook.headers(event("a"))
    answers += [api.post(hook, event("b"), signed), api.post(hook, event("a"), JSON)]
    rotated = api.connectors.rotate(1)
    answers.append(api.ask("/api/ingest", batch(item("a")), bearer))
    api.connectors.disable(1)
    now = {**JSON, "Authorization": f"Bearer {rotated.text}"}
    return [*answers, api.ask("/api/ingest", batch(item("a")), now)]


def test_a_refusal_says_who_where_and_why(
    refused: list[httpx.Response], connection: Connection, mover: TrafficMover
) -> None:
    rows = moved_refusals(connection, mover, len(refused))

    assert [row["request_id"] for row in rows] == [answer.json()["requestId"] for answer in refused]
    told = [(row["connector_id"], row["code"], row["reason"], row["stream"], row["path"]) for row in rows]
    assert told == [
        (1, "invalid_id", None, "agents", "$.items[0].id"),
        (1, "missing_property", None, "orders", "$.no"),
        (None, "unauthorized", "malformed", None, None),
        (1, "unauthorized", "signature_wrong", None, None),
        (1, "unauthorized", "signature_missing", None, None),
        (1, "unauthorized", "rotated", None, None),
        (1, "unauthorized", "disabled", None, None),
    ]
    assert (rows[0]["limit"], rows[0]["observed"], rows[0]["route"]) == (512, 600, "/api/ingest")
    assert [len(row["key_id"] or "") for row in rows] == [0, 0, 0, 35, 35, 12, 12]


def test_a_repeat_is_answered_202_and_counted_once(api: HookApi, connection: Connection, mover: TrafficMover) -> None:
    bearer = {**JSON, "Authorization": f"Bearer {api.connectors.create('crm').credential.text}"}
    answers = [api.ask("/api/ingest", batch(item("a")), {**bearer, "Idempotency-Key": "one"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[1].headers["Idempotent-Replayed"] == "true"
    api.ask("/api/ingest", b"{", bearer)
    moved_refusals(connection, mover, 1)  # what was counted before it was moved with it

    [total] = read_traffic(connection, since=LONG_AGO)
    assert [total[name] for name in ("submissions", "items", "refused")] == [1, 1, 1]


def test_refusals_are_shown_and_neither_they_nor_the_log_hold_a_value(
    refused: list[httpx.Response],
    connection: Connection,
    mover: TrafficMover,
    ingestctl: Ingestctl,
    capfd: pytest.CaptureFixture[str],
) -> None:
    moved_refusals(connection, mover, len(refused))

    document = ingestctl.json("refusals", "1", "--since", "1h")
    found = [(one["path"], one["limit"]) for one in document["refusals"]]
    assert found == [*[(None, None)] * 4, ("$.no", None), ("$.items[0].id", 512)]
    assert (document["sampled"], document["skipped"]) == (False, 0)
    assert [one["code"] for one in ingestctl.json("refusals", "--code", "invalid_id")["refusals"]] == ["invalid_id"]
    assert "rotated" in ingestctl.says("refusals", "--since", "1h")
    assert "disabled" in ingestctl.says("refusals", "--group")
    assert [one["refused"] for one in ingestctl.json("traffic", "--by", "hour")["traffic"]][-2:] == [5, 2]
    log = capfd.readouterr().out
    assert "$.items[0].id" in log
    assert "value-of-a-client" not in ingestctl.says("refusals", "--limit", "0", "--json") + log


def test_traffic_balances_and_tells_what_workers_did(lane: Lane, mover: TrafficMover, ingestctl: Ingestctl) -> None:
    context = lane.context()
    lane.append({"id": "a", "fields": {"n": 1}}, {"id": "a", "fields": {"n": 2}}, {"id": "b"})
    lane.append({"id": "b", "deleted": True})
    lane.append(raw=b'{"stream":')
    Drain(context, lane.number, "job").run()
    taken = context.tally.take()
    assert taken
    hand_over(Scripts(lane.redis), taken)
    mover.move()

    [told] = ingestctl.json("traffic", str(lane.connector_id))["traffic"]

    assert {name: told[name] for name in ("applied", "superseded", "removed", "dead")} == {
        "applied": 3,
        "superseded": 1,
        "removed": 1,
        "dead": 1,
    }
    assert told["lagSeconds"] > 0


def test_a_sign_of_life_is_known_without_a_worker_or_postgres_and_silence_is_told_apart(
    lane: Lane, connectors: Connectors, ingestctl: Ingestctl
) -> None:
    connectors.create("never heard of")
    assert lane.ask("append", b"[]", count=0)[1][0] == "ok"
    lane.ask("check")

    found = ingestctl.json("status")["connectors"]
    assert [(one["quiet"], one["silence"]) for one in found] == [(False, None), (False, None)]
    assert ingestctl.json("connector", "show", "1")["lastSeenAt"] == found[0]["lastSeenAt"]
    code, out, _ = ingestctl.run("status", "--json", DATABASE_URL="postgresql://ingest@127.0.0.1:1/ingest")
    assert code == 1
    assert [one["lastSeenAt"] for one in json.loads(out)["connectors"]] == [found[0]["lastSeenAt"]]

    signs, rows = read_signs(lane.redis, lane.lanes), select_connectors(lane.connection)
    later = datetime.now(UTC) + timedelta(hours=1)
    with_signs(rows, signs, quiet_after_seconds=300, now=later)
    assert [(row["silence"], round(row["silent_seconds"], -2)) for row in rows] == [("quiet", 3_600), ("never", 3_600)]
    connectors.disable(1)
    with_signs(rows := select_connectors(lane.connection), signs, 300, later)
    assert [row["silence"] for row in rows] == [None, "never"]


def test_streams_are_listed_with_their_number_of_items(lane: Lane, ingestctl: Ingestctl) -> None:
    assert "no items" in ingestctl.says("streams", "1")
    lane.append({"id": "a"}, {"id": "b"})
    lane.drain_once()

    [stream] = ingestctl.json("streams", "1")["streams"]

    assert (stream["stream"], stream["items"]) == ("agents", 2)
    assert "agents" in ingestctl.says("streams", "1")
    assert "no connector 9" in ingestctl.fails("streams", "9")
