"""Tools for tests of one lane: call its scripts as the API does, run a drain as a worker does."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from redis import Redis

from operations.connectors import Connectors
from shared.credentials.credential import Presented, parse_credential
from shared.credentials.sync import count_lanes, load_lanes
from shared.entry import Meta, backlog_cost, encode_meta
from shared.postgres.connections import Connection, connect_postgres
from shared.redis import scripts
from shared.redis.connections import server_of
from shared.redis.names import LaneKeys, lane_keys, lane_of
from shared.redis.scripts import Scripts
from shared.redis.wakeups import LEASE_MS, new_job_id, wake_queue
from shared.request_id import MAX_MILLISECONDS, MAX_SEQUENCE
from workers.context import DrainContext
from workers.drain import Drain
from workers.write import prepare

NO_LIMIT = 1 << 40
ITEMS = Meta("items")
#: The largest id that a drain takes, for the script that reads a slice.
MAX_ID = (MAX_MILLISECONDS, MAX_SEQUENCE)


def batch(*items: dict[str, Any], stream: str = "agents") -> bytes:
    """The body of a POST /api/ingest."""
    return json.dumps({"stream": stream, "items": items}).encode()


def presented(credential: str) -> Presented:
    """A credential as a request presents it."""
    found = parse_credential(credential)
    assert found
    return found


def status(lane: Lane, credential: str) -> str:
    """Return the status of a check of the credential, which is the lane's from now on."""
    lane.credential = credential
    return str(lane.ask("check")[1][0])


@dataclass
class Lane:
    """One connector's lane, on real engines."""

    redis: Redis
    connection: Connection
    connector_id: int
    credential: str
    lanes: int
    backlog_limit: int = NO_LIMIT
    connector_limit: int = NO_LIMIT
    stopping: Callable[[], bool] = field(default=lambda: False)

    @classmethod
    def of_new_connector(cls, redis: Redis, database_url: str, name: str = "demo", **limits: Any) -> Lane:
        """A connector, its credential loaded, its lane ready."""
        connection = prepare(connect_postgres(database_url, application="test"))
        made = Connectors(connection, redis).create(name, **limits)
        lanes = count_lanes(connection, redis)
        load_lanes(connection, redis, range(lanes))
        return cls(redis, connection, made.connector_id, made.credential.text, lanes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    @property
    def number(self) -> int:
        return lane_of(presented(self.credential).key_id, self.lanes)

    @property
    def keys(self) -> LaneKeys:
        return lane_keys(self.number)

    def ask(
        self,
        mode: str,
        body: bytes = b"",
        *,
        meta: Meta = ITEMS,
        now_us: int | None = None,
        idempotency: str = "",
        fingerprint: str = "",
        count: int = 1,
    ) -> tuple[bool, list[Any]]:
        """Call the append script; return whether it claimed the wake-up, and its answer."""
        credential, names = presented(self.credential), self.keys
        keys = [names.stream, names.lease, names.backlog, names.ready, names.large, names.revision, names.seen]
        keys += [names.credential(credential.key_id), names.bucket(credential.key_id)]
        bounds: list[Any] = [LEASE_MS, self.backlog_limit, self.connector_limit, MAX_SEQUENCE, 60_000]
        bounds += [backlog_cost(b""), server_of(self.redis)]
        call: list[Any] = [1, "once" if idempotency else mode]
        call += [encode_meta(meta), count, body] if mode == "append" else []
        if idempotency:
            keys.append(names.idempotency(self.connector_id, idempotency))
            call.append(fingerprint)
        woken, answer = self.redis.register_script(scripts.source("append"))(
            keys=keys,
            args=["" if now_us is None else now_us, new_job_id(self.number), *bounds, 1, credential.digest, *call],
        )
        return bool(woken), [part.decode() if isinstance(part, bytes) else part for part in answer]

    def append(self, *items: dict[str, Any], raw: bytes | None = None, meta: Meta = ITEMS) -> str:
        """Append a batch, or a body of another kind; return the entry's id."""
        body, count = (batch(*items), len(items)) if raw is None else (raw, 1)
        _, answer = self.ask("append", body, meta=meta, count=count)
        assert answer[0] == "ok", answer
        return str(answer[-1])

    def context(self, connection: Callable[[], Connection] | None = None) -> DrainContext:
        """What the jobs of a worker work with."""
        return DrainContext(
            redis=self.redis,
            scripts=Scripts(self.redis),
            queue=wake_queue(self.redis),
            connection=connection or (lambda: self.connection),
            stopping=self.stopping,
        )

    def drain(self, connection: Callable[[], Connection] | None = None) -> None:
        """One job's work on the lane, by a worker of its own."""
        Drain(self.context(connection), self.number, new_job_id(self.number)).run()

    def drain_once(self) -> None:
        """The same, without lingering on the empty lane; in as many turns as it takes, if the machine is slow."""
        self.redis.rpush("rq:queue:drain", "another-lane-waits")
        try:
            self.drain()
            while str(self.redis.get(self.keys.lease)).startswith("b'queued:"):
                self.drain()
        finally:
            self.redis.lrem("rq:queue:drain", 0, "another-lane-waits")

    def rows(self, query: str) -> list[dict[str, Any]]:
        """What Postgres holds."""
        return self.connection.execute(query.encode()).fetchall()

    def counters(self) -> dict[str, Any]:
        """Item id to the `n` in its fields."""
        return {row["id"]: row["fields"]["n"] for row in self.rows("SELECT id, fields FROM items")}

    def assert_empty(self) -> None:
        """Nothing waits, nothing is pending, and the backlog's bytes are exactly nought."""
        assert self.redis.xlen(self.keys.stream) == 0
        assert self.redis.xpending(self.keys.stream, "drain")["pending"] == 0
        assert int(self.redis.hget(self.keys.backlog, "bytes") or 0) == 0
