"""`ingestctl items` and `status`, as processes against real engines."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import pytest
from redis import Redis

from shared.credentials.sync import load_lanes
from shared.postgres.connections import Connection
from shared.redis.names import SWEEP, lane_keys
from shared.redis.wakeups import enqueue_drain, wake_queue
from tests.integration.ingestctl_tools import (
    AWAY_POSTGRES,
    AWAY_REDIS,
    RFC3339,
    ROOT,
    Ingestctl,
    insert_item,
    insert_many,
)

# items


@pytest.mark.usefixtures("crm")
def test_items_are_shown_in_order_of_their_ids_with_every_member(ingestctl: Ingestctl, connection: Connection) -> None:
    insert_item(connection, "b", '{"state":"Ready","callsHandled":"14"}', '{"site":"London"}')
    insert_item(connection, "a")
    connection.execute("UPDATE items SET name = NULL WHERE id = 'a'")
    assert ingestctl.json("items", "1", "agents") == {
        "items": [
            {"id": "a", "name": None, "fields": {}, "tags": {}, "updatedAt": "2026-01-02T03:04:05.678Z"},
            {
                "id": "b",
                "name": "A",
                "fields": {"state": "Ready", "callsHandled": "14"},
                "tags": {"site": "London"},
                "updatedAt": "2026-01-02T03:04:05.678Z",
            },
        ]
    }
    told = ingestctl.says("items", "1", "agents")
    assert "London" in told
    assert told.endswith("\n2 items.\n")


@pytest.mark.usefixtures("crm")
def test_numbers_keep_every_digit(ingestctl: Ingestctl, connection: Connection) -> None:
    numbers = ["123456789012345678901234567890", "0.1000000000000000000000000000010", "9" * 1000]
    written = ",".join(f'"{place}":{number}' for place, number in enumerate(numbers))
    insert_item(connection, "a", f"{{{written}}}", f"{{{written}}}")
    told = ingestctl.says("items", "1", "agents", "--json")
    (item,) = json.loads(told, parse_int=str, parse_float=str)["items"]
    assert list(item["fields"].values()) == list(item["tags"].values()) == numbers


@pytest.mark.usefixtures("crm")
def test_one_item_is_found_by_its_id(ingestctl: Ingestctl, connection: Connection) -> None:
    for item_id in ("a", "Zoë 漢"):
        insert_item(connection, item_id)
    found = ingestctl.json("items", "1", "agents", "--id", "Zoë 漢")
    assert [item["id"] for item in found["items"]] == ["Zoë 漢"]
    assert ingestctl.json("items", "1", "agents", "--id", "none") == {"items": []}
    assert ingestctl.says("items", "1", "elsewhere") == "There are no such items.\n"


@pytest.mark.usefixtures("crm")
def test_a_list_that_was_cut_reports_it_and_limit_0_shows_all(ingestctl: Ingestctl, connection: Connection) -> None:
    for number in range(25):
        insert_item(connection, f"{number:02d}")
    assert ingestctl.says("items", "1", "agents").endswith("\n20 items; there are more, and --limit 0 shows all.\n")
    assert ingestctl.says("items", "1", "agents", "--limit", "25").endswith("\n25 items.\n")
    assert ingestctl.says("items", "1", "agents", "--limit", "0").endswith("\n25 items.\n")
    assert [len(ingestctl.json("items", "1", "agents", "--limit", limit)["items"]) for limit in ("3", "0")] == [3, 25]


@pytest.mark.usefixtures("crm")
def test_a_table_stays_readable_whatever_connectors_sent(ingestctl: Ingestctl, connection: Connection) -> None:
    insert_item(connection, "a", json.dumps({"long": "x" * 100_000}), name="evil\x1b[2J\nname")
    told = ingestctl.says("items", "1", "agents")
    assert "evil\\x1b[2J\\x0aname" in told
    assert "…" in told
    assert "\x1b" not in told
    assert max(map(len, told.splitlines())) <= 160


@pytest.mark.usefixtures("crm")
def test_a_long_stream_is_one_document_and_takes_no_more_memory(ingestctl: Ingestctl, connection: Connection) -> None:
    insert_many(connection, 60, 1_000_000)
    # ru_maxrss on Linux starts at the parent's peak; VmHWM in /proc is the process's own.
    measured = (
        "import pathlib, re, resource, sys; from operations.cli.app import app; "
        "app(sys.argv[1:], standalone_mode=False); "
        "status = pathlib.Path('/proc/self/status'); "
        "peak = re.search(r'VmHWM:\\s+(\\d+)', status.read_text())[1] if status.exists() "
        "else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024; "
        "print(peak, file=sys.stderr)"
    )
    words = ["items", "1", "agents", "--limit", "0", "--json"]
    ended = subprocess.run(
        [sys.executable, "-c", measured, *words], cwd=ROOT, env=ingestctl.environ, capture_output=True, check=True
    )
    assert len(json.loads(ended.stdout)["items"]) == 60
    assert int(ended.stderr) < 115_000, "kilobytes"


@pytest.mark.parametrize("form", [(), ("--json",)])
@pytest.mark.usefixtures("crm")
def test_a_reader_that_closes_the_pipe_ends_the_command_quietly(
    ingestctl: Ingestctl, connection: Connection, form: tuple[str, ...]
) -> None:
    insert_many(connection, 4_000, 100)
    with ingestctl.start("items", "1", "agents", "--limit", "0", *form) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=30) == 1


# status


def test_status_of_a_fresh_installation_reports_that_nothing_waits(ingestctl: Ingestctl) -> None:
    found = ingestctl.json("status")
    assert found["postgres"] == found["redis"] == {"available": True, "fault": None}
    assert found["totals"] == {"lanes": 4, "ready": 0, "entries": 0, "bytes": 0, "oldestAgeSeconds": None}
    assert (found["workers"], found["sweeper"], found["connectors"]) == ([], False, [])
    assert found["queue"] == {"jobs": 0, "failedJobs": 0}
    assert [one["kind"] for one in found["troubles"]] == ["no_worker", "no_sweeper", "lane_not_ready"]
    told = ingestctl.says("status")
    assert told.startswith(
        "! No worker runs: nothing is applied.\n    Start workers: `python -m workers`.\n! No sweeper"
    )
    assert "4 lanes, not ready: all; nothing waits." in told
    assert "no sweeper acts" in told


@pytest.mark.usefixtures("crm")
def test_status_reports_what_waits_and_for_how_long(ingestctl: Ingestctl, redis: Redis, connection: Connection) -> None:
    load_lanes(connection, redis, range(4))
    keys = lane_keys(2)
    seconds: Any = redis.time()
    redis.xadd(keys.stream, {"c": "1", "m": "{}", "b": "x" * 100_000}, id=f"{(seconds[0] - 90) * 1000}-0")
    redis.xadd(keys.stream, {"c": "1", "m": "{}", "b": "x"})
    redis.hset(keys.backlog, "bytes", 1_572_864)
    redis.set(keys.lease, "queued:drain-02-ab", px=60_000)
    redis.set(lane_keys(1).lease, "paused", px=60_000)
    redis.set(SWEEP, "", px=60_000)
    enqueue_drain(wake_queue(redis), 2, "drain-02-ab")

    found = ingestctl.json("status")
    assert [lane["lease"]["state"] for lane in found["lanes"]] == ["none", "paused", "queued", "none"]
    waiting = found["lanes"][2]
    assert (waiting["ready"], waiting["entries"], waiting["bytes"]) == (True, 2, 1_572_864)
    assert 89 < waiting["oldestAgeSeconds"] < 120
    assert 0 < waiting["lease"]["millisecondsLeft"] <= 60_000
    assert found["lanes"][0]["lease"]["millisecondsLeft"] is None
    assert found["totals"] | {"oldestAgeSeconds": 0} == {
        "lanes": 4, "ready": 4, "entries": 2, "bytes": 1_572_864, "oldestAgeSeconds": 0,
    }  # fmt: skip
    assert found["queue"] == {"jobs": 1, "failedJobs": 0}
    assert found["sweeper"] is True
    assert [connector["lastSeenAt"] for connector in found["connectors"]] == [None]

    told = ingestctl.says("status")
    assert "4 lanes, all ready; 2 submissions wait (1.5 MB), the oldest for" in told
    assert "paused" in told
    assert "1 job queued, 0 failed; a sweeper acts." in told


def test_status_lists_running_workers(ingestctl: Ingestctl) -> None:
    worker = subprocess.Popen(
        [sys.executable, "-m", "workers"],
        cwd=ROOT,
        env=ingestctl.environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 20
        found: list[Any] = []
        # RQ registers a worker before it sets its state.
        while (not found or found[0]["state"] == "?") and time.monotonic() < deadline:
            found = ingestctl.json("status")["workers"]
        assert [(one["state"], one["jobId"], one["lane"]) for one in found] in (
            [("idle", None, None)],
            [("started", None, None)],
        )
        assert RFC3339.fullmatch(found[0]["lastHeartbeatAt"])
        assert found[0]["name"] in ingestctl.says("status")
    finally:
        worker.terminate()
        worker.wait(timeout=20)


def test_status_changes_nothing_in_redis(ingestctl: Ingestctl, redis: Redis) -> None:
    ingestctl.says("status")
    assert redis.dbsize() == 0


@pytest.mark.usefixtures("crm")
def test_status_without_redis_shows_the_connectors_and_fails(ingestctl: Ingestctl) -> None:
    code, out, err = ingestctl.run("status", "--json", REDIS_URL=AWAY_REDIS)
    found = json.loads(out)
    assert code == 1
    assert (found["lanes"], found["workers"], found["sweeper"]) == (None, None, None)
    assert [connector["name"] for connector in found["connectors"]] == ["crm"]
    assert found["redis"] == {"available": False, "fault": err.strip()}
    assert err.startswith("Redis can't be used now: ")
    assert "crm" in ingestctl.run("status", REDIS_URL=AWAY_REDIS)[1]


@pytest.mark.usefixtures("crm")
def test_status_without_postgres_shows_the_lanes_and_fails(ingestctl: Ingestctl) -> None:
    code, out, err = ingestctl.run("status", "--json", DATABASE_URL=AWAY_POSTGRES)
    found = json.loads(out)
    assert code == 1
    assert (len(found["lanes"]), found["connectors"]) == (4, None)
    assert found["postgres"] == {"available": False, "fault": err.strip()}
    assert "4 lanes" in ingestctl.run("status", DATABASE_URL=AWAY_POSTGRES)[1]


def test_status_without_both_reports_each(ingestctl: Ingestctl) -> None:
    code, out, err = ingestctl.run("status", DATABASE_URL=AWAY_POSTGRES, REDIS_URL=AWAY_REDIS)
    assert code == 1
    assert [line[:10] for line in out.splitlines() if line.startswith("!")] == ["! Postgres", "! Redis ca"]
    assert [line.split()[0] for line in err.splitlines()] == ["Postgres", "Redis"]
