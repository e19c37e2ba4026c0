"""Find the submission that used an idempotency key before the lanes were doubled.

The key's record is in the lane that the connector had then, for up to 24 hours. It is read before something with an
idempotency key is appended in a lane that was split off; that lane takes submissions only once the former one takes
none of its connectors any more, so no repeat is overlooked.
"""

from __future__ import annotations

import re
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from ingest_api.append_script import AppendResult, Submission
from ingest_api.authentication import Authenticator, Place
from ingest_api.context import RequestContext
from ingest_api.errors import ApiError, ErrorCode
from ingest_api.idempotency import name_of
from ingest_api.readiness import Readiness
from shared.credentials.credential import Presented
from shared.redis.names import lane_keys

#: As append.lua writes it: the submission's fingerprint, and the entry's id, which fits into a request id.
_RECORD: Final = re.compile(rb"([0-9a-f]+) (\d{1,13}-\d{1,6})")


class FormerLanes:
    """Answers repeats of what was accepted in a former lane."""

    def __init__(self, readiness: Readiness, authenticator: Authenticator, redis: Redis) -> None:
        self._readiness = readiness
        self._authenticator = authenticator
        self._redis = redis
        #: Lanes that are known to take submissions, with the number of all lanes.
        self._open: set[tuple[int, int]] = set()

    async def replay(
        self, context: RequestContext, credential: Presented, place: Place, key: bytes, submission: Submission
    ) -> tuple[int, AppendResult] | None:
        """Return a former lane, and the first submission with this key there; None if there is none.

        Takes a token for a repeat. Raises ApiError.
        """
        lanes = self._readiness.all_lanes()
        former = lanes.former(place.lane)
        if former is None or submission.idempotency is None:
            return None
        fingerprint = submission.idempotency.fingerprint
        name = name_of(key, connector_id=context.connector_id or 0, lane=former)
        try:
            await self._require_open(place.lane, lanes.number, lanes.suffix.encode())
            record: Any = await self._redis.get(name)
        except RedisError:
            raise ApiError(ErrorCode.STORE_UNAVAILABLE) from None
        first = _RECORD.fullmatch(record or b"")
        if first is None:
            return None
        await self._authenticator.charge(context, credential)
        if first[1].decode() != fingerprint:
            raise ApiError(ErrorCode.IDEMPOTENCY_KEY_REUSED)
        return former, AppendResult("replayed", entry_id=first[2])

    async def _require_open(self, lane: int, number: int, suffix: bytes) -> None:
        """Raise ApiError(not_ready) if the former lane may still take submissions of this one's connectors."""
        if (lane, number) in self._open:
            return
        marker: Any = await self._redis.get(lane_keys(lane).ready)
        if not (marker or b"").endswith(suffix):
            self._readiness.reload()
            raise ApiError(ErrorCode.NOT_READY)
        self._open.add((lane, number))
