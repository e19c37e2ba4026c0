"""Lanes are doubled while submissions arrive: order, repeats, hooks, letters and revocations are what they were."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from ingest_api.idempotency import name_of
from operations import lanes
from operations.lanes import double_lanes
from shared.credentials.splitting import complete_doubling
from shared.credentials.sync import LoadingError, load_lanes, unready_lanes
from shared.lanes import Lanes
from shared.postgres.connections import Connection
from shared.process.settings import Settings
from shared.redis.names import lane_keys, lane_of
from tests.integration.doubling_tools import BEFORE, Doubling
from tests.integration.hook_tools import hook_api
from tests.integration.ingestctl_tools import Ingestctl
from workers.credential_watch import CredentialWatch
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


def test_a_record_in_the_former_lane_that_no_process_of_ours_has_written_is_no_first_submission(
    doubling: Doubling,
) -> None:
    mover = doubling.connector(moves=True)
    record = name_of(b"key", connector_id=mover.connector_id, lane=doubling.lane_of(mover))
    doubling.double()
    doubling.redis.set(record, "00 99999999999999999999-1")

    assert doubling.send(mover, 1, "key").status_code == 202


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


def test_what_waits_in_a_new_lane_that_a_restored_postgres_forgot_does_not_overtake_the_former_lane(
    doubling: Doubling,
) -> None:
    mover = doubling.connector(moves=True)
    former = doubling.lane_of(mover)
    doubling.send(mover, 1)
    doubling.double()
    doubling.send(mover, 2)
    doubling.connection.execute(b"UPDATE connectors SET lane = lane %% %s", [BEFORE])
    doubling.connection.execute(b"DELETE FROM credential_revisions WHERE lane >= %s", [BEFORE])
    doubling.connection.execute(b"DELETE FROM lanes WHERE lane >= %s", [BEFORE])

    double_lanes(doubling.connection, doubling.redis)
    doubling.drain(former + BEFORE)  # before the former lane is closed

    assert doubling.number(mover) is None
    doubling.drain_all()
    assert doubling.number(mover) == 2


def test_the_command_doubles_once_a_day(ingestctl: Ingestctl) -> None:
    code, out, _ = ingestctl.run("lanes", "double")
    assert (code, out) == (0, "There are 8 lanes, where there were 4.\n")
    assert "The 8 lanes were doubled lately" in ingestctl.says("lanes", "double")
    (record,) = ingestctl.json("audit", "--action", "lanes.double")["changes"]
    assert (record["before"], record["after"]) == ({"number": 4}, {"number": 8})


class KilledError(BaseException):
    """Ends the process."""


class Fuse:
    """A connection on which the process is killed before it runs so many statements."""

    def __init__(self, connection: Connection, statements: int) -> None:
        self._connection = connection
        self._left = statements

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, *arguments: Any, **options: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            raise KilledError
        return self._connection.execute(*arguments, **options)


#: Of some 40: within the transaction, before and after its commit, between two lanes that are closed, or loaded.
_KILLED_BEFORE = (3, 8, 9, 10, 12, 13, 15, 16, 20, 30)


@pytest.mark.parametrize("statements", _KILLED_BEFORE)
def test_a_doubling_that_is_killed_at_any_statement_is_completed_and_keeps_the_order(
    settings: Settings, connection: Connection, redis: Redis, statements: int
) -> None:
    with hook_api(settings, connection, redis) as api:
        doubling = Doubling(api, prepare(connection), redis)
        movers = [doubling.connector(moves=True), doubling.connector(moves=False)]
        sent = [[doubling.send(one, 1, "1").json()["requestId"]] for one in movers]
        fuse: Any = Fuse(connection, statements)
        with contextlib.suppress(KilledError):
            double_lanes(fuse, redis)
            next(iter(lanes.complete(fuse, redis)))

        for one in movers:  # accepted in one of the lanes, or in none
            assert doubling.send(one, 2, "2", attempts=1).status_code in (202, 503)
        with contextlib.suppress(LoadingError):
            CredentialWatch(redis, lambda: connection, lambda: True).look()
        doubling.double()
        for one, ids in zip(movers, sent, strict=True):
            ids += [doubling.send(one, n, str(n)).json()["requestId"] for n in (2, 3)]
            assert [doubling.send(one, n, str(n)).json()["requestId"] for n in (1, 2, 3)] == ids
        doubling.drain_all()

        assert len(doubling.rows("SELECT FROM lanes")) == 2 * BEFORE
        assert [doubling.number(one) for one in movers] == [3, 3]
        assert len(doubling.rows("SELECT FROM receipts")) == 6
        assert [[doubling.state(one, each) for each in ids] for one, ids in zip(movers, sent, strict=True)] == [
            ["applied"] * 3
        ] * 2
        assert complete_doubling(connection, redis) == []
