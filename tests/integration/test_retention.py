"""Retention: partitions exist before they are needed, old ones are dropped, and no writer waits for either."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from shared.postgres import partitions
from shared.postgres.connections import Connection, connect_postgres
from shared.postgres.migrations import migrate
from shared.postgres.partitions import DAYS_AHEAD, Tally, delete_old, drop_old, make_ahead
from shared.postgres.transactions import NO_LIMITS
from tests.integration.partition_tools import DAY, KEEP, NOON, TABLES, Writer, names, places, put, version

#: A writer may wait for one lock that is given up (1 s), and a slow machine; one that is hindered waits for ten.
PATIENCE_SECONDS = 5.0


def age_out(connection: Connection, now: datetime) -> Tally:
    """Do a whole run."""
    tally = Tally()
    make_ahead(connection, tally, now=now)
    drop_old(connection, tally, KEEP, now=now)
    delete_old(connection, tally, KEEP, now=now)
    return tally


def test_a_migrated_database_has_partitions_of_today_and_a_week(connection: Connection) -> None:
    today = connection.execute(b"SELECT to_char(now(), 'YYYYMMDD') AS day").fetchall()[0]["day"]

    assert len(names(connection, "receipts")) == len(names(connection, "connector_logs")) == DAYS_AHEAD + 1
    assert f"receipts_{today}" in names(connection)
    assert len(names(connection, "dead_letters")) == 2
    assert migrate(connection, lanes=4) == [], "a second migration finds them"


def test_days_have_a_partition_each_and_dead_letters_weeks(bare: Connection) -> None:
    first = age_out(bare, NOON)
    again = age_out(bare, NOON)

    assert first == Tally(made=8 + 8 + 2)
    assert again == Tally()
    assert names(bare, "receipts") == [f"receipts_203105{day}" for day in range(15, 23)]
    assert names(bare, "dead_letters") == ["dead_letters_20310512", "dead_letters_20310519"]


def test_rows_go_to_the_partition_of_their_day(bare: Connection) -> None:
    age_out(bare, NOON)
    midnight = NOON.replace(hour=0)
    put(bare, midnight - timedelta(milliseconds=1), midnight, midnight + DAY - timedelta(milliseconds=1), NOON + DAY)

    assert places(bare, "receipts") == ["receipts_default", *["receipts_20310515"] * 2, "receipts_20310516"]
    assert places(bare, "connector_logs")[1:] == [*["connector_logs_20310515"] * 2, "connector_logs_20310516"]
    assert places(bare, "dead_letters") == ["dead_letters_20310512"] * 4


def test_a_partition_is_made_like_its_table_indexes_and_all(bare: Connection) -> None:
    age_out(bare, NOON)
    query = """SELECT relname, count(*) AS indexes FROM pg_index JOIN pg_class ON pg_class.oid = indrelid
               WHERE relname = ANY (%s) GROUP BY relname"""
    made = ["receipts_20310515", "dead_letters_20310512", "connector_logs_20310515"]
    counts = {row["relname"]: row["indexes"] for row in bare.execute(query, (made,))}

    assert counts == {"receipts_20310515": 2, "dead_letters_20310512": 3, "connector_logs_20310515": 1}
    with pytest.raises(psycopg.errors.CheckViolation):
        bare.execute(b"INSERT INTO connector_logs VALUES (1, %s, 0, now(), 'odd', 'x', '{}')", (version(NOON),))


def test_rows_that_found_no_partition_move_to_the_one_that_is_made(bare: Connection) -> None:
    put(bare, NOON - DAY, NOON, NOON + 3 * DAY)

    tally = age_out(bare, NOON)

    assert (tally.moved, tally.postponed) == (7, [])  # of the day before, only the dead letter: its week is this one
    assert places(bare, "receipts") == ["receipts_default", "receipts_20310515", "receipts_20310518"]
    put(bare, NOON)
    assert len(places(bare, "receipts")) == 3, "a repeated delivery finds the row where it is now"


def test_moving_rows_keeps_them_readable_and_refuses_no_writer(bare: Connection, database_url: str) -> None:
    with Writer(database_url, NOON) as writer:
        tally = age_out(bare, NOON)
        writer.wait_for_more()

    assert tally.made == 18
    assert tally.moved >= 30
    assert tally.postponed == []
    assert places(bare, "receipts") == ["receipts_20310515"] * writer.written
    assert writer.longest < PATIENCE_SECONDS


def test_more_rows_than_move_quickly_stay_and_the_days_to_come_get_theirs(
    bare: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "MOVED_AT_ONCE", 2)
    put(bare, *(NOON + timedelta(minutes=minute) for minute in range(3)))

    tally = age_out(bare, NOON)

    assert tally.made == 7 + 7 + 1
    assert [sentence.split(":")[0] for sentence in tally.postponed] == [
        "receipts_20310515",
        "connector_logs_20310515",
        "dead_letters_20310512",
    ]
    assert places(bare, "receipts") == ["receipts_default"] * 3
    assert "receipts_20310516" in names(bare)


def test_a_missing_partition_refuses_nothing(bare: Connection) -> None:
    odd = [datetime(1970, 1, 1, tzinfo=UTC), NOON - 400 * DAY, NOON, NOON + 400 * DAY]
    put(bare, *odd)
    age_out(bare, NOON)
    put(bare, *odd, sequence=1)

    assert bare.execute(b"SELECT count(*) AS n FROM receipts WHERE version >= %s", (version(NOON),)).fetchall() == [
        {"n": 4}
    ]


def test_each_table_keeps_its_own_number_of_days(bare: Connection) -> None:
    for ago in (100, 97, 60, 38, 31, 10, 8, 7):
        make_ahead(bare, Tally(), now=NOON - ago * DAY)
    moments = [NOON - ago * DAY for ago in (100, 90, 31, 30, 8, 7, 0)]
    put(bare, *moments)

    tally = age_out(bare, NOON)

    kept = {
        table.name: [
            moment for moment in moments if bare.execute(find(table.name), (version(moment),)).fetchall() != []
        ]
        for table in TABLES
    }
    assert kept == {"receipts": moments[5:], "connector_logs": moments[3:], "dead_letters": moments[1:]}
    assert tally.dropped > 30
    assert min(names(bare, "receipts_")) == "receipts_20310508"
    assert min(names(bare, "connector_logs_")) == "connector_logs_20310415"


def wait_for_a_lock(connection: psycopg.Connection, application: str) -> None:
    """Until that application waits for one."""
    waits = b"SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = %s"
    deadline = time.monotonic() + 10
    while not connection.execute(waits, (application,)).fetchall():
        assert time.monotonic() < deadline, f"{application} waits for nothing"
        connection.execute(b"SELECT pg_stat_clear_snapshot()")


def find(table: str) -> bytes:
    return f"SELECT FROM {table} WHERE version = %s".encode()


def test_old_rows_of_the_default_partition_are_deleted_a_bounded_number_a_run(
    bare: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "BATCHES", 2)
    monkeypatch.setattr(partitions, "TABLES", tuple(replace(table, batch=10) for table in TABLES))
    put(bare, *(NOON - 100 * DAY + timedelta(seconds=second) for second in range(25)), NOON - DAY)

    runs = [age_out(bare, NOON) for _ in range(3)]

    assert [(run.deleted, run.rows_left) for run in runs] == [(60, True), (15, False), (0, False)]
    assert places(bare, "receipts") == ["receipts_default"]


def test_writes_go_on_while_old_partitions_are_dropped(bare: Connection, database_url: str) -> None:
    for ago in range(60, 8, -DAYS_AHEAD):
        make_ahead(bare, Tally(), now=NOON - ago * DAY)
    age_out(bare, NOON - 9 * DAY)
    make_ahead(bare, Tally(), now=NOON)
    with Writer(database_url, NOON) as writer:
        tally = age_out(bare, NOON)
        writer.wait_for_more()

    assert tally.dropped >= 16
    assert tally.postponed == []
    assert len(places(bare, "receipts")) == writer.written
    assert writer.longest < PATIENCE_SECONDS


def test_a_long_reader_makes_a_drop_give_up_and_the_next_one_succeed(bare: Connection, database_url: str) -> None:
    make_ahead(bare, Tally(), now=NOON - 20 * DAY)
    make_ahead(bare, Tally(), now=NOON)
    with psycopg.connect(database_url) as reader, Writer(database_url, NOON) as writer:
        reader.execute(b"SELECT count(*) FROM receipts").fetchall()
        hindered = age_out(bare, NOON)
        writer.wait_for_more()
        reader.rollback()
        free = age_out(bare, NOON)

    assert (hindered.dropped, free.dropped) == (0, 8)
    assert [sentence.split(":")[0] for sentence in hindered.postponed] == ["dropping partitions of receipts"]
    assert free.postponed == []
    assert writer.longest < PATIENCE_SECONDS


def test_a_long_reader_hinders_no_writer_while_partitions_are_made(bare: Connection, database_url: str) -> None:
    make_ahead(bare, Tally(), now=NOON - DAY)
    with (
        psycopg.connect(database_url) as reader,
        Writer(database_url, NOON) as writer,
        ThreadPoolExecutor(1) as elsewhere,
    ):
        reader.execute(b"SELECT count(*) FROM receipts").fetchall()
        hindered = elsewhere.submit(age_out, bare, NOON)
        wait_for_a_lock(reader, "tests")
        writer.wait_for_more(3)
        assert not hindered.done(), "writes went on while it waited"
        assert hindered.result().postponed != []
        reader.rollback()
        free = age_out(bare, NOON)

    assert (hindered.result().made, free.made) == (1, 1)


def test_a_long_writer_hinders_no_other_and_its_rows_move_when_it_has_ended(
    bare: Connection, database_url: str
) -> None:
    make_ahead(bare, Tally(), now=NOON - 20 * DAY)
    with connect_postgres(database_url, application="long writer") as long, Writer(database_url, NOON) as writer:
        with long.transaction(limits=NO_LIMITS):  # it idles for long on a busy machine
            put(long, NOON + DAY)  # no partition is there for it yet
            hindered = age_out(bare, NOON)
            writer.wait_for_more()
        free = age_out(bare, NOON)
        writer.wait_for_more()

    assert (hindered.made, hindered.dropped, len(hindered.postponed)) == (0, 0, 4)
    assert (free.made, free.dropped, free.postponed) == (18, 8, [])
    assert places(bare, "receipts")[-1] == "receipts_20310516"
    assert writer.longest < PATIENCE_SECONDS


def test_two_runs_at_once_share_the_work(bare: Connection, database_url: str) -> None:
    make_ahead(bare, Tally(), now=NOON - 40 * DAY)
    put(bare, NOON, NOON - 100 * DAY)

    def run(_: int) -> Tally:
        with connect_postgres(database_url, application="chore") as own:
            return age_out(own, NOON)

    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(run, range(4)))

    assert sum(one.made for one in runs) == 18
    assert sum(one.dropped for one in runs) == 16
    assert sum(one.moved for one in runs) == 3
    assert sum(one.deleted for one in runs) == 3
    assert [sentence for one in runs for sentence in one.postponed] == []


def test_a_database_that_is_away_is_not_taken_for_a_lock(bare: Connection, database_url: str) -> None:
    with psycopg.connect(database_url) as other:
        other.execute("SELECT pg_terminate_backend(%s, 10000)", [bare.info.backend_pid])

    with pytest.raises(psycopg.OperationalError):
        age_out(bare, NOON)
