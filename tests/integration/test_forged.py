"""What a program with access to Redis forges or plants stops no lane for longer than a moment."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from operations.connectors import Connectors
from shared.redis import names
from shared.redis.activity import last_sweep, living_workers, report_worker
from shared.redis.lane_status import look_at_redis
from shared.redis.names import LANES, SWEEPER
from shared.redis.numbers import copied_lanes
from shared.redis.scripts import Scripts
from shared.redis.wakeups import LONGEST_PAUSE_MS, wake_queue
from shared.request_id import MAX_MILLISECONDS, MAX_SEQUENCE
from tests.integration.lane_tools import Lane, batch, presented
from workers.credential_watch import CredentialWatch
from workers.sweep import Sweeper


@pytest.fixture
def lane(redis: Redis, database_url: str) -> Iterator[Lane]:
    with Lane.of_new_connector(redis, database_url, rate=1e6, burst=1_000_000) as lane:
        yield lane


@pytest.fixture
def sweeper(lane: Lane, database_url: str) -> Sweeper:
    return Sweeper(lane.redis, database_url, wake_queue(lane.redis))


_numbers = itertools.count(1)


def fields(**changed: Any) -> Any:
    """The fields of an entry as the append script writes it."""
    written = {"c": "1", "m": json.dumps({"kind": "items"}), "n": "1", "b": batch({"id": "forged"})}
    return {name: value for name, value in {**written, **changed}.items() if value is not None}


def goes_on(lane: Lane, sweeper: Sweeper, watch: CredentialWatch | None = None) -> None:
    """Assert that the lane applies a submission after the sweeper has looked at it."""
    watch = watch or CredentialWatch(lane.redis, lambda: lane.connection, lambda: True)
    deadline = time.monotonic() + 20
    item_id = f"after {next(_numbers)}"
    while (answer := lane.ask("append", batch({"id": item_id, "fields": {"n": 1}}))[1])[0] != "ok":
        assert answer == ["not_ready"]
        sweeper.sweep()
        watch.look()
        assert time.monotonic() < deadline
    while not lane.rows(f"SELECT FROM items WHERE id = '{item_id}'"):
        lane.drain_once()
        assert time.monotonic() < deadline
    for _ in range(lane.lanes):
        sweep_until_it_acts(sweeper)  # counts one lane's bytes
    lane.assert_empty()


def test_an_entry_whose_id_no_version_can_hold_is_deleted(lane: Lane, sweeper: Sweeper) -> None:
    for number, entry_id in enumerate(
        (
            f"{int(time.time() * 1000) + 60_000}-{MAX_SEQUENCE + 1}",
            f"{int(time.time() * 1000) + 120_000}-18446744073709551615",
            f"{MAX_MILLISECONDS + 1}-0",
            "9223372036854775807-1",
            "18446744073709551614-3",
            "18446744073709551615-18446744073709551615",
        )
    ):
        lane.append({"id": f"before {number}", "fields": {"n": 1}})
        lane.redis.xadd(lane.keys.stream, fields(), id=entry_id)

        lane.drain_once()
        assert f"before {number}" in lane.counters()

        goes_on(lane, sweeper)
    assert lane.rows("SELECT FROM dead_letters") == []


#: Changed fields of entries that no client has sent; some of them can be applied all the same.
FORGED: list[dict[str, Any]] = [
    {"c": None},
    {"m": None},
    {"n": None},
    {"b": None},
    {"c": "9" * 30},
    {"c": "-1"},
    {"c": "0"},
    {"c": "one"},
    {"c": b"\xff"},
    {"c": "9" * 5_000},
    {"n": "9" * 30},
    {"n": "-1"},
    {"n": "nan"},
    {"m": "{"},
    {"m": b"\xff"},
    {"m": '{"kind":"unknown"}'},
    {"m": '{"kind":1}'},
    {"m": "[" * 10_000},
    {"m": '{"kind":"webhook","stream":"a\\u0000b","idField":"id"}', "b": b'{"id":"x"}'},
    {"m": '{"kind":"webhook","stream":"s","idField":"missing"}', "b": b'{"id":"x"}'},
    {"m": '{"kind":"webhook","stream":"s","idField":"/a/id"}', "b": b'{"a":"x"}'},
    {"m": '{"kind":"webhook","stream":"s","idField":"/~2"}', "b": b'{"id":"x"}'},
    {"m": '{"kind":"webhook","stream":"s","idField":"id"}', "b": b"[]"},
    {"b": b""},
    {"b": b"\xff\xfe"},
    {"b": b"[" * 100_000},
    {"b": b'{"stream":1,"items":[]}'},
    {"b": b'{"stream":"s\\u0000","items":[{"id":"a\\u0000"}]}'},
    {"b": b'{"stream":"s","items":[{"id":"a","fields":{"x":1e999999}}]}'},
    {"b": b'{"stream":"' + b"s" * 100_000 + b'","items":[{"id":"' + b"i" * 100_000 + b'"}]}'},
    {"extra": "x" * 1_000},
    {"o": "1"},
]


def test_forged_entries_are_put_aside_and_what_was_accepted_between_them_is_applied(
    lane: Lane, sweeper: Sweeper
) -> None:
    for number, changed in enumerate(FORGED):
        lane.redis.xadd(lane.keys.stream, fields(**changed))
        lane.append({"id": f"accepted {number}", "fields": {"n": 1}})

    sweeper.sweep()
    lane.drain_once()

    goes_on(lane, sweeper)
    applied = {row["id"] for row in lane.rows("SELECT id FROM items")}
    assert {f"accepted {number}" for number in range(len(FORGED))} <= applied
    assert lane.rows("SELECT FROM dead_letters WHERE reason = 'unreadable'")


def test_a_lease_that_would_never_end_is_shortened(lane: Lane, sweeper: Sweeper) -> None:
    lane.append({"id": "a"})
    for lease, life in itertools.product(
        ("running:drain-00-forged", "queued:drain-00-forged", "paused", ""), (None, 99)
    ):
        lane.redis.set(lane.keys.lease, lease, ex=life)

        sweeper.sweep()

        assert 0 < lane.redis.pttl(lane.keys.lease) <= LONGEST_PAUSE_MS, (lease, life)


KEY_DIGEST = "ab" * 32
#: Types of the keys that are no strings.
TYPES = {"stream": "stream", "large": "stream", "backlog": "hash", "generations": "hash", "credential": "hash"}
TYPES |= {"key_ids": "set", "WORKERS": "sorted set"}


def keys_of(lane: Lane) -> dict[str, str]:
    """Every name in `shared/redis/names.py`, of one lane and one credential."""
    key_id = presented(lane.credential).key_id
    others = {
        "credential": lane.keys.credential(key_id),
        "bucket": lane.keys.bucket(key_id),
        "read_bucket": lane.keys.read_bucket(key_id),
        "idempotency": lane.keys.idempotency(lane.connector_id, KEY_DIGEST),
    }
    lanes = {name: key for name, key in vars(lane.keys).items() if not name.startswith("_")}
    constants = {name: value for name, value in vars(names).items() if str(value).startswith("ingest:")}
    return {**lanes, **others, **constants, "WAKE_QUEUE": f"rq:queue:{names.WAKE_QUEUE}"}


@pytest.mark.parametrize("ready", ["ready", "not ready"])
def test_no_key_of_another_type_or_content_stops_a_lane(
    lane: Lane, sweeper: Sweeper, ready: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.sweep._STANDBY_MS", 50)
    watch = CredentialWatch(lane.redis, lambda: lane.connection, lambda: True)
    for name, key in keys_of(lane).items():
        for planted in ("list", TYPES.get(name, "string")):
            watch.look()
            plant(lane.redis, key, planted)
            if ready != "ready":
                lane.redis.delete(lane.keys.ready)

            sweep_until_it_acts(sweeper)
            lane.redis.delete(lane.keys.lease)
            goes_on(lane, sweeper, watch)
            assert repeats_once(lane), (name, planted)
            watch.look()
            assert health_and_metrics_answer(lane), (name, planted)
            lane.credential = Connectors(lane.connection, lane.redis).rotate(lane.connector_id).text


def sweep_until_it_acts(sweeper: Sweeper) -> None:
    deadline = time.monotonic() + 20
    sweeper.sweep()
    while not sweeper.acts:
        sweeper.sweep()
        assert time.monotonic() < deadline


def repeats_once(lane: Lane) -> bool:
    """Return True if a repeat with an idempotency key is the first submission."""
    body = batch({"id": "once", "fields": {"n": 1}})
    first, second = (lane.ask("append", body, idempotency=KEY_DIGEST, fingerprint="00")[1] for _ in range(2))
    lane.drain_once()
    return (first[0], second[0], first[-1]) in (("ok", "replayed", second[-1]), ("replayed", "replayed", second[-1]))


def health_and_metrics_answer(lane: Lane) -> bool:
    """Return True if everything that shows the state of Redis can be read, after a worker has reported."""
    scripts = Scripts(lane.redis)
    report_worker(scripts, "worker")
    state = look_at_redis(lane.redis, wake_queue(lane.redis), None)
    return last_sweep(lane.redis) == [] and living_workers(scripts) == {"worker"} and len(state.lanes) == lane.lanes


def test_counters_that_are_no_numbers_are_corrected(lane: Lane, sweeper: Sweeper) -> None:
    lane.redis.hset(lane.keys.backlog, mapping={"bytes": "x", f"c:{lane.connector_id}": "y", "elsewhere": "z"})

    for _ in range(lane.lanes):
        sweeper.sweep()

    goes_on(lane, sweeper)


def test_a_bucket_that_is_none_is_replaced(lane: Lane) -> None:
    bucket = lane.keys.bucket(presented(lane.credential).key_id)
    for value in ("", "nan 0", "1 x", "one two three", "- 1", "1e9 9" + "9" * 30):
        lane.redis.set(bucket, value)
        assert lane.ask("charge")[1][0] in ("ok", "limited"), value

    plant(lane.redis, bucket, "list")
    assert lane.ask("charge")[1][0] == "ok"


def test_a_sweeper_key_that_would_never_end_is_shortened(
    lane: Lane, sweeper: Sweeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.sweep._STANDBY_MS", 50)
    for kind in ("endless", "long", "list"):
        lane.redis.set(SWEEPER, "forged", ex=86_400 if kind == "long" else None)
        if kind == "list":
            plant(lane.redis, SWEEPER, "list")

        deadline = time.monotonic() + 20
        sweeper.sweep()
        while lane.redis.type(SWEEPER) != b"string" or lane.redis.get(SWEEPER) == b"forged":
            sweeper.sweep()
            assert time.monotonic() < deadline, kind


def test_a_number_of_lanes_that_makes_no_sense_is_read_from_postgres(lane: Lane) -> None:
    for value in ("x", "0", "-3", "1000000000", "1.5"):
        lane.redis.set(LANES, value)
        assert copied_lanes(lane.redis) == 0, value
    plant(lane.redis, LANES, "list")
    assert copied_lanes(lane.redis) == 0


def plant(redis: Redis, name: str, kind: str) -> None:
    """Store something that no process of ours would: of the right type too, bytes that mean nothing."""
    redis.delete(name)
    match kind:
        case "list":
            redis.rpush(name, b"\xff", "planted")
        case "string":
            redis.set(name, b"\xff planted")
        case "set":
            redis.sadd(name, b"\xff", "planted")
        case "hash":
            garbage = dict.fromkeys(
                ("1", "bytes", "settled", "elsewhere", "c:1", "connector", "rate", "burst"), b"\xff"
            )
            redis.hset(name, mapping=garbage)  # type: ignore[arg-type] # redis-py's types don't know bytes as values
        case "sorted set":
            redis.zadd(name, {b"\xff": 1e300})
        case "stream":
            redis.xadd(name, {b"\xff": b"\xff"})
