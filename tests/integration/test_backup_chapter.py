"""docs/backup.md, to the letter: an engine is restored from an older copy while the other one has gone on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from operations.connectors import Connectors
from operations.local.binaries import find_postgres_bin
from operations.local.valkey import Valkey
from shared.credentials.sync import load_lanes, unready_lanes
from shared.lanes import Lanes
from shared.postgres.connections import connect_postgres
from shared.redis.connections import connect_redis
from tests.integration.ingestctl_tools import bare_environ
from tests.integration.lane_tools import Lane, status
from workers.write import prepare

PAGE = Path(__file__).resolve().parents[2] / "docs" / "backup.md"
ROOT = PAGE.parents[1]


def commands(heading: str) -> str:
    """Return the commands below a heading of the page."""
    section = re.split(rf"^## {heading}$", PAGE.read_text("utf-8"), flags=re.MULTILINE)[1].split("\n## ")[0]
    return "\n".join(re.findall(r"^ {4}(.+)$", section, flags=re.MULTILINE))


class Operator:
    """Runs the page's commands in a folder."""

    def __init__(self, folder: Path, database_url: str, postgres_url: str, redis_url: str) -> None:
        self._folder = folder
        programs = folder / "bin"
        programs.mkdir()
        (programs / "ingestctl").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m operations.cli "$@"\n')
        (programs / "ingestctl").chmod(0o755)
        self._environ = {
            **bare_environ(),
            "PATH": os.pathsep.join((str(programs), str(find_postgres_bin()), os.defpath)),
            "PYTHONPATH": str(ROOT),
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "ADMIN_URL": postgres_url,
            "DATABASE": database_url.split("?", maxsplit=1)[0].rsplit("/", 1)[1],
        }

    def follow(self, heading: str) -> str:
        """Run what the page says below a heading; return what was printed."""
        ended = subprocess.run(
            ["sh", "-ec", commands(heading)],
            env=self._environ,
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout


@pytest.fixture
def operator(tmp_path: Path, database_url: str, postgres_url: str, redis_flushed_url: str) -> Operator:
    return Operator(tmp_path, database_url, postgres_url, redis_flushed_url)


def test_postgres_is_restored_under_a_newer_redis(lane: Lane, operator: Operator, database_url: str) -> None:
    old = lane.credential
    lane.append({"id": "in the dump", "fields": {"n": 1}})
    lane.drain_once()
    operator.follow("Back up")
    connectors = Connectors(lane.connection, lane.redis)
    new = lane.credential = connectors.rotate(lane.connector_id).text
    forgotten = connectors.create("forgotten")
    lane.append({"id": "lost", "fields": {"n": 2}})
    lane.drain_once()
    lane.append({"id": "waiting", "fields": {"n": 3}})
    lane.connection.close()

    printed = operator.follow("Restore PostgreSQL")

    assert "4 lanes compared with Postgres; 3 credentials differed." in printed
    assert [status(lane, one) for one in (old, new)] == ["ok", "unauthorized"]
    with prepare(connect_postgres(database_url, application="tests")) as lane.connection:
        made = Connectors(lane.connection, lane.redis).create("made afterwards")
        assert made.connector_id != forgotten.connector_id
        lane.credential = old
        lane.drain_once()
        assert lane.counters() == {"in the dump": 1, "waiting": 3}
        lane.assert_empty()


def test_redis_is_started_on_an_older_copy_of_its_file_under_a_newer_postgres(
    database_url: str, tmp_path: Path
) -> None:
    before, after = Valkey(tmp_path / "before"), Valkey(tmp_path / "after")
    before.start()
    try:
        with connect_redis(before.url) as redis, Lane.of_new_connector(redis, database_url) as lane:
            old = lane.credential
            for number in (1, 2):
                lane.append({"id": f"in the copy {number}", "fields": {"n": number}})
            shutil.copytree(before.folder / "appendonlydir", after.folder / "appendonlydir")
            lane.drain_once()
            new = lane.credential = Connectors(lane.connection, redis).rotate(lane.connector_id).text
            lane.append({"id": "in the copy 1", "fields": {"n": 3}})
            lane.drain_once()
            [versions] = lane.rows("SELECT max(applied_version) AS highest FROM lanes")
            before.stop()
            after.start()
            with connect_redis(after.url) as lane.redis:
                assert [status(lane, one) for one in (old, new)] == ["not_ready"] * 2
                assert unready_lanes(lane.redis, Lanes(lane.lanes)) == list(range(lane.lanes))
                load_lanes(lane.connection, lane.redis, range(lane.lanes))
                assert [status(lane, one) for one in (old, new)] == ["unauthorized", "ok"]
                entry_id = lane.append({"id": "afterwards", "fields": {"n": 4}})
                lane.drain_once()
                assert lane.counters() == {"in the copy 1": 3, "in the copy 2": 2, "afterwards": 4}
                assert len(lane.rows("SELECT FROM receipts")) == 4
                assert int(entry_id.partition("-")[0]) >= versions["highest"] >> 20
                lane.assert_empty()
    finally:
        before.stop()
        after.stop()
