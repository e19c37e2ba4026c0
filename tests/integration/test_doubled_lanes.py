"""Lanes are doubled while submissions arrive: order, repeats, hooks, letters and revocations are what they were."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from operations import lanes
from operations.lanes import double_lanes
from shared.credentials.sync import load_lanes, unready_lanes
from shared.lanes import Lanes
from shared.postgres.connections import Connection
from shared.process.settings import Settings
from shared.redis.names import lane_keys, lane_of
from tests.integration.doubling_tools import BEFORE, Doubling
from tests.integration.hook_tools import hook_api
from tests.integration.ingestctl_tools import Ingestctl
from workers.write import prepare


@pytest.fixture
def doubling(settings: Settings, connection: Connection, redis: Redis) -> Iterator[Doubling]:
    with hook_api(settings, connection, redis) as api:
        yield Doubling(api, prepare(connection), redis)


def test_what_a_connector_sent_before_is_applied_before_what_it_sends_in_its_new_lane(doubling: Doubling) -> None:
    mover = doubling.connector(moves=True)
    former = doubling.lane_of(mover)
    first = doubling.send(mover, 1).json()["requestId"]

    waiting = doubling.double()
    second = doubling.send(mover, 2).json()["requestId"]
    doubling.drain(former + BEFORE)

    assert former + BEFORE in waiting
    assert doubling.lane_of(mover) == former + BEFORE
    assert doubling.number(mover) is None
    assert [doubling.state(mover, one) for one in (first, second)] == ["queued", "queued"]
    doubling.drain(former)
    assert doubling.number(mover) == 1
    doubling.drain_all()
    assert doubling.number(mover) == 2
    assert [doubling.state(mover, one) for one in (first, second)] == ["applied", "applied"]
    assert not list(lanes.complete(doubling.connection, doubling.redis))[-1]


def test_a_connector_that_stays_is_applied_at_once(doubling: Doubling) -> None:
    stays = doubling.connector(moves=False)
    lane = doubling.lane_of(stays)
    doubling.send(stays, 1)

    doubling.double()
    doubling.send(stays, 2)
    doubling.drain(lane)

    assert (doubling.lane_of(stays), doubling.number(stays)) == (lane, 2)


def test_a_repeat_of_what_was_sent_before_is_answered_with_the_first_id(doubling: Doubling) -> None:
    mover = doubling.connector(moves=True)
    first = doubling.send(mover, 1, "key").json()["requestId"]
    doubling.double()

    again, other, new = doubling.send(mover, 1, "key"), doubling.send(mover, 2, "key"), doubling.send(mover, 2, "new")
    doubling.drain_all()

    assert (again.status_code, again.json()["requestId"]) == (202, first)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_key_reused")
    assert doubling.send(mover, 2, "new").json()["requestId"] == new.json()["requestId"]
    assert len(doubling.rows("SELECT FROM receipts")) == 2


def test_a_hook_stays_in_one_order_with_its_connector_wherever_its_id_falls(doubling: Doubling) -> None:
    mover = doubling.connector(moves=True)
    while True:
        hook_id, sender = doubling.api.new_hook(connector_id=mover.connector_id)
        if lane_of(hook_id, 2 * BEFORE) == lane_of(hook_id, BEFORE):
            break
    lane = doubling.lane_of(mover) + BEFORE
    doubling.double()
    doubling.send(mover, 1)
    doubling.connectors.rotate(mover.connector_id)

    answer = doubling.api.post(sender, b'{"item":"a"}')

    assert answer.status_code == 202, answer.text
    assert doubling.redis.xlen(lane_keys(lane).stream) == 2
    number = Lanes(2 * BEFORE, 1)
    assert load_lanes(doubling.connection, doubling.redis, range(number.number)) == 0, "nothing differs from Postgres"
    assert unready_lanes(doubling.redis, number) == []
    doubling.api.hooks.disable(hook_id)
    assert doubling.api.post(sender, b'{"item":"b"}').status_code == 401
    assert load_lanes(doubling.connection, doubling.redis, range(number.number)) == 0


def test_a_key_that_is_rotated_before_the_former_lane_is_closed_is_refused_there_too(doubling: Doubling) -> None:
    mover = doubling.connector(moves=True)
    doubling.send(mover, 1)
    double_lanes(doubling.connection, doubling.redis)  # and the process is killed

    before = doubling.send(mover, 2).status_code
    made = doubling.connectors.rotate(mover.connector_id)
    after = doubling.send(mover, 3).status_code

    assert (before, after) == (202, 401)
    assert lane_of(made.key_id, 2 * BEFORE) == doubling.lane_of(mover)


def test_a_letter_of_before_is_retried_in_the_new_lane_and_found_by_its_id(doubling: Doubling) -> None:
    mover = doubling.connector(moves=True)
    former = doubling.lane_of(mover)
    doubling.connection.execute("ALTER TABLE items ADD CONSTRAINT broken CHECK (fields ->> 'n' <> '1') NOT VALID")
    first = doubling.send(mover, 1).json()["requestId"]
    doubling.double()
    doubling.drain_all()
    dead = doubling.state(mover, first)
    doubling.send(mover, 2)
    doubling.drain_all()
    doubling.connection.execute("ALTER TABLE items DROP CONSTRAINT broken")

    doubling.connection.execute("UPDATE dead_letters SET retry_requested_at = now()")
    doubling.redis.set(lane_keys(former).retry, 1)
    doubling.drain(former)
    still = doubling.state(mover, first)
    doubling.redis.set(lane_keys(former + BEFORE).retry, 1)
    doubling.drain(former + BEFORE)

    assert (dead, still, doubling.state(mover, first)) == ("dead", "dead", "applied")
    assert doubling.number(mover) == 2
    assert {row["lane"] for row in doubling.rows("SELECT lane FROM receipts")} == {former, former + BEFORE}


def test_the_command_doubles_once_a_day(ingestctl: Ingestctl) -> None:
    code, out, _ = ingestctl.run("lanes", "double")
    assert (code, out) == (0, "There are 8 lanes, where there were 4.\n")
    assert "The 8 lanes were doubled lately" in ingestctl.says("lanes", "double")
    (record,) = ingestctl.json("audit", "--action", "lanes.double")["changes"]
    assert (record["before"], record["after"]) == ({"number": 4}, {"number": 8})
