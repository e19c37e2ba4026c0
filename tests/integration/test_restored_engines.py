"""One engine is restored from an older copy: Postgres is the truth, and no credential is another connector's."""

from __future__ import annotations

import threading
import time

import pytest

from operations.connectors import Connectors
from shared.credentials.sync import load_lanes, outdated_lanes, unready_lanes
from shared.lanes import Lanes
from shared.postgres.connections import Connection, connect_postgres
from shared.redis.connections import server_of
from tests.integration.lane_tools import Lane, status
from workers.credential_watch import CredentialWatch

WAITING = "SELECT FROM pg_stat_activity WHERE application_name = 'second' AND wait_event_type = 'Lock'"
TABLES = ("connectors", "credentials", "credential_revisions")


class Dump:
    """What Postgres held of connectors, to be restored."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        for table in TABLES:
            connection.execute(f"CREATE TABLE {table}_dump AS TABLE {table}".encode())
        (self._next,) = connection.execute("SELECT last_value FROM connectors_connector_id_seq").fetchall()

    def restore(self) -> None:
        with self._connection.transaction():
            self._connection.execute("SET LOCAL session_replication_role = replica")  # no triggers, as in a restore
            for table in TABLES:
                self._connection.execute(f"TRUNCATE {table} CASCADE".encode())
            for table in TABLES:
                overriding = "OVERRIDING SYSTEM VALUE" if table == "connectors" else ""
                self._connection.execute(f"INSERT INTO {table} {overriding} TABLE {table}_dump".encode())
            self._connection.execute("SELECT setval('connectors_connector_id_seq', %s)", (self._next["last_value"],))


def test_a_restored_postgres_is_followed_without_a_restart(lane: Lane, connectors: Connectors) -> None:
    watch = CredentialWatch(lane.redis, lambda: lane.connection, lambda: True)
    watch.look()
    old, dump = lane.credential, Dump(lane.connection)
    new = connectors.rotate(lane.connector_id).text
    watch.look()
    before = status(lane, old), status(lane, new)

    dump.restore()
    watch.look()

    assert before == ("unauthorized", "ok")
    assert (status(lane, old), status(lane, new)) == ("ok", "unauthorized")
    assert int(lane.redis.get("ingest:corrections") or 0) == 2, "the one revoked, and the one put back"


def test_a_restore_is_noticed_if_no_sweeper_ran_between_change_and_restore(lane: Lane, connectors: Connectors) -> None:
    assert outdated_lanes(lane.connection, lane.redis) == []
    dump = Dump(lane.connection)
    connectors.rotate(lane.connector_id)
    dump.restore()

    assert outdated_lanes(lane.connection, lane.redis) == [lane.number]


@pytest.mark.parametrize("change", ["rotate", "disable"])
def test_a_change_right_after_a_restore_revokes_what_only_redis_knows(
    lane: Lane, connectors: Connectors, change: str
) -> None:
    old, dump = lane.credential, Dump(lane.connection)
    forgotten = [connectors.rotate(lane.connector_id).text for _ in range(3)]
    dump.restore()

    made = getattr(connectors, change)(lane.connector_id)

    assert {status(lane, credential) for credential in (old, *forgotten)} == {"unauthorized"}
    if made:
        assert status(lane, made.text) == "ok"


def test_a_connector_made_after_a_restore_never_has_the_id_of_a_forgotten_one(
    lane: Lane, connectors: Connectors
) -> None:
    dump = Dump(lane.connection)
    forgotten = [connectors.create(f"forgotten {number}") for number in range(3)]
    dump.restore()

    made = connectors.create("made afterwards")

    assert made.connector_id not in {one.connector_id for one in forgotten}
    assert status(lane, made.credential.text) == "ok"


def test_a_lane_is_not_ready_on_a_server_that_holds_a_copy_of_another_one(lane: Lane) -> None:
    lane.redis.set(lane.keys.ready, "another run id::-1")

    assert lane.ask("check")[1] == ["not_ready"]
    assert unready_lanes(lane.redis, Lanes(lane.lanes)) == [lane.number]

    load_lanes(lane.connection, lane.redis, [lane.number])

    assert lane.redis.get(lane.keys.ready) == server_of(lane.redis).encode()
    assert lane.ask("check")[1][0] == "ok"


def test_a_change_under_way_is_not_taken_for_a_restore(lane: Lane, database_url: str) -> None:
    old = lane.credential

    class Halted(Connectors):
        """Another process loads the lane between the revocation and the commit."""

        def _store(self, connector_id: int, credential: object) -> None:
            with connect_postgres(database_url, application="loader") as other:
                assert load_lanes(other, lane.redis, [lane.number]) == 0
            super()._store(connector_id, credential)  # type: ignore[arg-type] # passed on

    new = Halted(lane.connection, lane.redis).rotate(lane.connector_id).text

    assert (status(lane, old), status(lane, new)) == ("unauthorized", "ok")


def test_a_change_that_died_before_its_commit_is_undone(lane: Lane) -> None:
    class Dies(Connectors):
        def _store(self, *_: object) -> None:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        Dies(lane.connection, lane.redis).rotate(lane.connector_id)
    refused = status(lane, lane.credential)
    load_lanes(lane.connection, lane.redis, [lane.number])

    assert (refused, status(lane, lane.credential)) == ("unauthorized", "ok")


def test_of_two_rotations_at_once_only_the_last_key_is_left(lane: Lane, database_url: str) -> None:
    made: list[str] = []

    def rotate() -> None:
        with connect_postgres(database_url, application="second") as other:
            made.append(Connectors(other, lane.redis).rotate(lane.connector_id).text)

    thread = threading.Thread(target=rotate)

    class Waited(Connectors):
        def _store(self, connector_id: int, credential: object) -> None:
            thread.start()
            with connect_postgres(database_url, application="look") as look:
                while not look.execute(WAITING).fetchall():
                    time.sleep(0.01)
            super()._store(connector_id, credential)  # type: ignore[arg-type] # passed on

    first = Waited(lane.connection, lane.redis).rotate(lane.connector_id).text
    thread.join()

    assert (status(lane, first), status(lane, made[0])) == ("unauthorized", "ok")
