"""The twelve troubles: how each is made and undone, and the alert that tells it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg

from tests.soak.trouble_site import Site
from tests.support.client import JSON, Connector, batch, item
from tests.support.processes import wait_until

#: What must be told: names of whom it concerns.
Names = tuple[str, ...]


@dataclass(frozen=True)
class Trouble:
    """A trouble that `ingestctl status` tells as `kind`, and an alert."""

    kind: str
    alert: str
    #: Makes it, yields the names that must be told, and undoes it.
    made: Callable[[Site], Iterator[Names]]
    #: Kinds that it entails.
    entails: tuple[str, ...] = ()


def silent(site: Site) -> Iterator[Names]:
    """A connector stops sending."""
    site.silent.add("source-001")
    yield ("source-001",)
    site.silent.remove("source-001")


def never_seen(site: Site) -> Iterator[Names]:
    """A connector is created, and sends nothing."""
    made = site.stack.connector("newcomer")
    yield ("newcomer",)
    site.stack.ingestctl("connector", "delete", str(made.id), "--yes")


def refused(site: Site) -> Iterator[Names]:
    """A connector sends what has the wrong shape."""
    body = batch(item("1", address={"city": "London"}))
    with site.sending(site.connectors["source-002"], body):
        yield ("source-002", "nested_value")


def rotated_key_used(site: Site) -> Iterator[Names]:
    """A connector goes on with a key that was rotated."""
    old = site.connectors["source-003"]
    new = site.stack.rotate(old)
    with site.sending(old, batch(item("1"))):
        yield ("source-003", "rotated")
    site.connectors["source-003"] = new


def over_limit(site: Site) -> Iterator[Names]:
    """A connector sends more than its rate allows."""
    name, other = "source-004", site.connectors["source-004"]
    site.stack.ingestctl("connector", "set", str(other.id), "--rate", "0.5", "--burst", "1")
    with site.sending(other, batch(item("1"))):
        yield (name,)
    site.stack.ingestctl("connector", "set", str(other.id), "--rate", "1000", "--burst", "1000")


def dead_letters(site: Site) -> Iterator[Names]:
    """An entry can't be read."""
    victim = site.connectors["source-005"]
    body, name = b"unreadable, no JSON", f"{{lane-{_lane(site, victim):02d}}}"
    pipe = site.stack.redis.pipeline(transaction=True)
    pipe.xadd(f"{name}:stream", {"c": victim.id, "m": '{"kind":"items"}', "n": 1, "b": body})
    pipe.hincrby(f"{name}:backlog", "bytes", len(body) + 256)
    pipe.hincrby(f"{name}:backlog", f"c:{victim.id}", len(body) + 256)
    pipe.execute()
    yield ("source-005",)
    site.stack.ingestctl("dead", "drop", "--connector", str(victim.id), "--yes")


def stalled_lane(site: Site) -> Iterator[Names]:
    """A lock in Postgres keeps one lane from being applied."""
    name, victim = "source-006", site.connectors["source-006"]
    lane = _lane(site, victim)
    with psycopg.connect(site.stack.database_url) as other:
        other.execute("SELECT 1 FROM lanes WHERE lane = %s FOR UPDATE", [lane])
        with site.sending(victim, batch(item("1", state="Ready"))):
            yield (name, f"Lane {lane}")


def no_worker(site: Site) -> Iterator[Names]:
    """All workers are stopped."""
    site.stop_workers()
    yield ("No worker",)
    site.start_workers()


def frozen_worker(site: Site) -> Iterator[Names]:
    """One of two workers is frozen."""
    worker = next(iter(site.workers.values()))
    worker.send(signal.SIGSTOP)
    yield (str(worker.pid),)
    worker.send(signal.SIGCONT)


def postgres_away(site: Site) -> Iterator[Names]:
    """Postgres ends all sessions and takes no new ones."""
    [folder] = parse_qs(urlsplit(site.stack.database_url).query)["host"]
    socket = Path(folder) / ".s.PGSQL.5432"
    site.stack.rows("SELECT 1")
    socket.rename(socket.with_suffix(".away"))
    site.stack.rows("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
    yield ("Postgres",)
    socket.with_suffix(".away").rename(socket)


def redis_nearly_full(site: Site) -> Iterator[Names]:
    """Redis may use little more than it uses."""
    redis = site.stack.redis
    usual = str(redis.config_get("maxmemory")["maxmemory"])
    redis.config_set("maxmemory", int(redis.info("memory")["used_memory"] / 0.9))
    yield ("Redis",)
    redis.config_set("maxmemory", usual)


def backlog_full(site: Site) -> Iterator[Names]:
    """Nothing is applied; two connectors send until their parts are full, and a third one finds the backlog full."""
    with site.stack.items_locked():
        for name in ("source-007", "source-008", "source-009"):
            _fill(site.connectors[name])
        yield ("source-007", "source-008")


def _fill(connector: Connector) -> None:
    """Send until it is refused."""
    with connector.connection() as client:
        body = batch(*(item(str(number), text="x" * 8000) for number in range(8)))

        def is_full() -> bool:
            return client.post("/api/ingest", content=body, headers=JSON).status_code == 503

        wait_until("the backlog is full", is_full)


def _lane(site: Site, connector: Connector) -> int:
    return int(site.stack.value("SELECT lane FROM connectors WHERE connector_id = %s", connector.id))


_OF_A_FULL_BACKLOG = ("lane_stalled", "unavailable", "connector_backlog_full", "quiet")
TROUBLES = (
    Trouble("quiet", "IngestConnectorsQuiet", silent),
    Trouble("never_seen", "IngestConnectorsNeverSeen", never_seen),
    Trouble("refused", "IngestSubmissionsRefused", refused),
    Trouble("stale_key", "IngestEndedKeyUsed", rotated_key_used),
    Trouble("over_limit", "IngestConnectorsLimited", over_limit),
    Trouble("dead_letters", "IngestDeadLetters", dead_letters),
    Trouble("lane_stalled", "IngestLaneStalled", stalled_lane),
    Trouble("no_worker", "IngestNoWorker", no_worker, ("lane_stalled",)),
    Trouble("frozen_worker", "IngestWorkerFrozen", frozen_worker),
    Trouble("postgres_away", "IngestPostgresAway", postgres_away, ("lane_stalled",)),
    Trouble("redis_full", "IngestRedisNearlyFull", redis_nearly_full),
    Trouble("backlog_full", "IngestBacklogNearlyFull", backlog_full, _OF_A_FULL_BACKLOG),
)
