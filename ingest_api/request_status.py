"""The state of a submission: `GET /api/requests/{requestId}`, with the credential that sent it or its successor.

The id contains the lane and the entry's id there. Redis is read first and Postgres second, because a worker commits
before it removes an entry from its lane: an id found in neither was never accepted, or belongs to another connector;
both are a 404. A submission is `applied` only if a committed transaction has recorded it.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import psycopg
from redis.asyncio import Redis
from redis.exceptions import RedisError
from starlette.types import Receive, Scope, Send

from ingest_api.authentication import Authenticator, read_credential
from ingest_api.context import RequestContext, query_parameter
from ingest_api.errors import ApiError, ErrorCode
from ingest_api.waiting_places import Place, WaitingPlaces
from shared.entry import QueuedEntry
from shared.kinds import counts
from shared.postgres.pool import Pool
from shared.postgres.queries import sql
from shared.redis import scripts
from shared.redis.cluster import node_of_async
from shared.redis.names import GROUP, lane_keys
from shared.request_id import Position, position_of_request
from shared.rfc3339 import rfc3339

LONGEST_WAIT_SECONDS: Final = 30
_WHOLE_NUMBER: Final = re.compile(r"[0-9]{1,3}", re.ASCII)
#: Intervals between polls in seconds: the first, which doubles each time, and the longest.
_FIRST_POLL_SECONDS: Final = 0.02
_MAX_POLL_SECONDS: Final = 0.25


@dataclass(frozen=True, slots=True)
class Outcome:
    """The state of one submission."""

    state: str
    kind: str
    count: int
    ended_at: datetime | None = None
    reason: str | None = None
    removed: int | None = None


class RequestStatus:
    """The endpoint."""

    def __init__(self, authenticator: Authenticator, redis: Redis, database: Pool) -> None:
        self._authenticator = authenticator
        self._redis = redis
        # In bytes, as in `Scripts`.
        self._find_entry = redis.register_script(scripts.source("find_entry").encode())
        self._database = database
        self._places = WaitingPlaces()

    async def __call__(self, scope: Scope, _receive: Receive, _send: Send) -> None:
        """Serve one request."""
        context: RequestContext = scope["context"]
        credential = read_credential(context)
        connector_id = await self._authenticator.charge(context, credential, read_bucket=True)
        seconds = _seconds_to_wait(scope)
        position = position_of_request(scope["path_params"]["request_id"])
        if position is None or not self._authenticator.may_have_sent(credential, position):
            raise ApiError(ErrorCode.UNKNOWN_REQUEST)
        outcome = await self._read_outcome(connector_id, position)
        may_wait = outcome is not None and outcome.state == "queued" and seconds > 0
        if may_wait and (place := self._places.take(connector_id)) is not None:
            try:
                outcome = await self._wait(context, position, place, seconds)
            finally:
                self._places.give_back(place)
        if outcome is None:
            # On a new connection: the old one may lead to a primary that is cut off and was replaced.
            with contextlib.suppress(RedisError, OSError):
                node = await node_of_async(self._redis, lane_keys(position.lane).stream)
                await node.connection_pool.disconnect(inuse_connections=False)
            outcome = await self._read_outcome(connector_id, position)
        if outcome is None:
            raise ApiError(ErrorCode.UNKNOWN_REQUEST)
        # The answer describes the submission, so it carries the submission's id instead of one of its own.
        context.request_id = position.request_id
        await context.answer(200, _payload(position, outcome))

    async def _wait(self, context: RequestContext, position: Position, place: Place, seconds: float) -> Outcome | None:
        """Poll until the state is final, `seconds` have elapsed, the client has left or the place is taken away."""
        deadline = asyncio.get_running_loop().time() + seconds
        pause = _FIRST_POLL_SECONDS
        while True:
            outcome = await self._read_outcome(place.connector_id, position)
            left = deadline - asyncio.get_running_loop().time()
            is_final = outcome is None or outcome.state != "queued"
            if is_final or left <= 0 or place.is_taken_away or context.client_left():
                return outcome
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 2, _MAX_POLL_SECONDS)

    async def _read_outcome(self, connector_id: int, position: Position) -> Outcome | None:
        try:
            keys = lane_keys(position.lane)
            node = await node_of_async(self._redis, keys.stream)
            names, arguments = [keys.stream, keys.large], [position.entry_id, GROUP]
            queued = await self._find_entry(keys=names, args=arguments, client=node)
        except RedisError:
            raise ApiError(ErrorCode.STORE_UNAVAILABLE) from None
        entry = QueuedEntry.decode(queued)
        if entry is None:
            return await self._read_recorded(connector_id, position)
        return Outcome("queued", entry.kind, entry.count) if entry.connector_id == connector_id else None

    async def _read_recorded(self, connector_id: int, position: Position) -> Outcome | None:
        try:
            values = {"connector_id": connector_id, "lane": position.lane, "version": position.version}
            rows = await self._database.fetch(sql("select_outcome"), values)
        except psycopg.Error:
            raise ApiError(ErrorCode.DATABASE_UNAVAILABLE) from None
        if not rows:
            return None
        row = rows[0]
        return Outcome(row["state"], row["kind"], row["received"], row["ended_at"], row["reason"], row["removed"])


def _seconds_to_wait(scope: Scope) -> float:
    text = query_parameter(scope, "wait", "0")
    if not _WHOLE_NUMBER.fullmatch(text) or int(text) > LONGEST_WAIT_SECONDS:
        raise ApiError(
            ErrorCode.INVALID_PARAMETER,
            f"`wait` must be a whole number of seconds from 0 to {LONGEST_WAIT_SECONDS}; correct it.",
            path="wait",
            limit=LONGEST_WAIT_SECONDS,
        )
    return float(text)


def _payload(position: Position, outcome: Outcome) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "status": "ok",
        "requestId": position.request_id,
        "state": outcome.state,
        "kind": outcome.kind,
        "receivedAt": rfc3339(position.received_by(outcome.ended_at or datetime.now(UTC))),
        "appliedAt": rfc3339(outcome.ended_at) if outcome.state == "applied" and outcome.ended_at else None,
        **counts(outcome.kind, outcome.count, outcome.removed),
    }
    if outcome.state == "dead" and outcome.ended_at:
        payload |= {"diedAt": rfc3339(outcome.ended_at), "reason": outcome.reason}
    return payload
