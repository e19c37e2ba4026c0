"""Credentials: Redis follows Postgres, and an old credential is never accepted again."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from redis import Redis

from operations.connectors import Connectors
from shared.credentials import sync
from shared.credentials.sync import count_lanes, load_lanes, unready_lanes
from shared.lanes import Lanes
from shared.postgres.connections import Connection, connect_postgres
from shared.redis.names import lane_of
from tests.integration.lane_tools import Lane, status


def test_a_rotation_revokes_the_old_credential_and_accepts_the_new_one(lane: Lane, connectors: Connectors) -> None:
    old = lane.credential
    new = connectors.rotate(lane.connector_id).text

    assert (status(lane, old), status(lane, new)) == ("unauthorized", "ok")


def test_a_rotated_credential_stays_on_its_connectors_lane(lane: Lane, connectors: Connectors) -> None:
    before = lane.number
    keys = [connectors.rotate(lane.connector_id) for _ in range(20)]

    assert {lane_of(key.key_id, lane.lanes) for key in keys} == {before}


def test_a_disabled_connector_is_refused_until_it_is_enabled(lane: Lane, connectors: Connectors) -> None:
    connectors.disable(lane.connector_id)
    while_disabled = status(lane, lane.credential)
    rotated = connectors.rotate(lane.connector_id).text
    after_rotation = status(lane, rotated)
    connectors.enable(lane.connector_id)

    assert (while_disabled, after_rotation, status(lane, rotated)) == ("unauthorized", "unauthorized", "ok")


def test_a_redis_that_lost_its_data_gets_the_current_credentials_only(lane: Lane, connectors: Connectors) -> None:
    old = lane.credential
    new = connectors.rotate(lane.connector_id).text
    lane.redis.flushall()
    load_lanes(lane.connection, lane.redis, range(lane.lanes))

    assert unready_lanes(lane.redis, Lanes(lane.lanes)) == []
    assert (status(lane, old), status(lane, new)) == ("unauthorized", "ok")


class PausedAfterReading:
    """A connection that runs something between a loader's reading and its writing."""

    def __init__(self, connection: Connection, meanwhile: Any) -> None:
        self._connection = connection
        self._meanwhile = meanwhile

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def execute(self, statement: bytes, values: Any = None) -> Any:
        found = self._connection.execute(statement, values)
        if b"credentials" in statement and self._meanwhile:
            meanwhile, self._meanwhile = self._meanwhile, None
            rows = found.fetchall()
            thread = threading.Thread(target=meanwhile)
            thread.start()
            thread.join(10)
            found.scroll(0, mode="absolute") if rows else None
        return found


def test_a_loader_that_read_before_a_rotation_does_not_restore_the_old_credential(
    lane: Lane, database_url: str, redis: Redis
) -> None:
    old, rotated = lane.credential, []

    def rotate() -> None:
        with connect_postgres(database_url, application="rotation") as other:
            rotated.append(Connectors(other, redis).rotate(lane.connector_id).text)

    load_lanes(PausedAfterReading(lane.connection, rotate), redis, [lane.number])  # type: ignore[arg-type] # a stand-in

    assert (status(lane, old), status(lane, rotated[0])) == ("unauthorized", "ok")


def test_what_was_read_before_redis_lost_its_data_is_not_written_after_it(
    lane: Lane, database_url: str, redis: Redis
) -> None:
    old, rotated = lane.credential, []

    def rotate_and_lose_data() -> None:
        with connect_postgres(database_url, application="rotation") as other:
            rotated.append(Connectors(other, redis).rotate(lane.connector_id).text)
        redis.flushall()

    meanwhile = PausedAfterReading(lane.connection, rotate_and_lose_data)
    load_lanes(meanwhile, redis, range(lane.lanes))  # type: ignore[arg-type] # a stand-in

    load_lanes(lane.connection, redis, unready_lanes(redis, Lanes(lane.lanes)))
    assert (status(lane, old), status(lane, rotated[0])) == ("unauthorized", "ok")


def test_a_recreated_lane_starts_above_what_was_applied(lane: Lane) -> None:
    lane.connection.execute("UPDATE lanes SET applied_version = %s", ((4_000_000_000_000 << 20) + 7,))
    lane.redis.flushall()
    load_lanes(lane.connection, lane.redis, range(lane.lanes))

    assert lane.append({"id": "a"}) == "4000000000000-8"


def test_ten_thousand_credentials_load_in_parts(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync, "_CREDENTIALS_PER_CALL", 3)
    connectors = Connectors(lane.connection, lane.redis)
    made = [connectors.create(f"c{number}").credential.text for number in range(40)]
    lane.redis.flushall()
    load_lanes(lane.connection, lane.redis, range(count_lanes(lane.connection, lane.redis)))

    assert {status(lane, credential) for credential in made} == {"ok"}


def test_a_redis_restored_from_before_a_rotation_is_corrected(lane: Lane, connectors: Connectors) -> None:
    old = lane.credential
    before = {key: lane.redis.dump(key) for key in lane.redis.keys("*")}
    new = connectors.rotate(lane.connector_id).text
    lane.redis.flushall()
    for key, value in before.items():
        lane.redis.restore(key, 0, value)  # type: ignore[arg-type] # there is a value for each of these keys
    as_it_was = status(lane, old)

    revoked = load_lanes(lane.connection, lane.redis, range(lane.lanes))

    assert as_it_was == "ok"
    assert (revoked, status(lane, old), status(lane, new)) == (1, "unauthorized", "ok")


def test_reconciling_changes_nothing_if_nothing_is_wrong(lane: Lane, connectors: Connectors) -> None:
    current = connectors.rotate(lane.connector_id).text

    assert load_lanes(lane.connection, lane.redis, range(lane.lanes)) == 0
    assert status(lane, current) == "ok"
