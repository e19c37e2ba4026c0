"""Authenticate requests: pass each credential to the append script and turn the result into an error or a connector.

Used by the routes that submit and by those that read, so that a credential is checked in one place.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from typing import Final, NamedTuple

from ingest_api.append import Appender, StoreUnavailableError
from ingest_api.append_script import AppendCall, AppendResult, Mode, Status, Submission
from ingest_api.cluster_append import ClusterAppender
from ingest_api.context import RateLimit, RequestContext
from ingest_api.errors import ApiError, ErrorCode
from ingest_api.readiness import Readiness
from shared.credentials.credential import Presented, parse_credential
from shared.redis.names import lane_of, may_have_been
from shared.request_id import Position

#: Maximum number of credentials that one process remembers; bounds its memory.
_CACHED_CREDENTIALS: Final = 20_000
#: Results that end a request although its credential is valid.
_ERRORS: Final[dict[Status, ErrorCode]] = {
    "limited": ErrorCode.RATE_LIMITED,
    "full": ErrorCode.BACKLOG_FULL,
    "connector_full": ErrorCode.CONNECTOR_BACKLOG_FULL,
    "reused": ErrorCode.IDEMPOTENCY_KEY_REUSED,
}


def read_credential(context: RequestContext) -> Presented:
    """Return the credential in the request's header. Raises ApiError(unauthorized) if it is missing or malformed."""
    scheme, _, text = (context.header(b"authorization") or b"").partition(b" ")
    credential = parse_credential(text.strip().decode("latin-1")) if scheme.lower() == b"bearer" else None
    if credential is None:
        raise ApiError.unauthorized("malformed" if scheme else "missing")
    return credential


class Place(NamedTuple):
    """The lane of a credential, and the number of lanes by which it was found."""

    lane: int
    lanes: int


class CredentialCache:
    """The credentials that were valid when this process last checked; evicts the least recently used."""

    def __init__(self, size: int = _CACHED_CREDENTIALS) -> None:
        self._size = size
        self._known: OrderedDict[str, tuple[str, int]] = OrderedDict()

    def connector_of(self, credential: Presented) -> int | None:
        """Return the connector of a credential that was valid; None for any other."""
        digest, connector_id = self._known.get(credential.key_id, ("", 0))
        if not hmac.compare_digest(digest, credential.digest):
            return None
        self._known.move_to_end(credential.key_id)
        return connector_id

    def remember(self, credential: Presented, connector_id: int) -> None:
        """Add a credential that the append script accepted."""
        self._known[credential.key_id] = credential.digest, connector_id
        if len(self._known) > self._size:
            self._known.popitem(last=False)

    def forget(self, credential: Presented) -> None:
        """Remove a credential that the append script rejected."""
        if self._known.get(credential.key_id, ("", 0))[0] == credential.digest:
            del self._known[credential.key_id]


class Authenticator:
    """Checks credentials, charges their token buckets and appends their submissions."""

    def __init__(self, readiness: Readiness, appender: Appender | ClusterAppender) -> None:
        self._readiness = readiness
        self._appender = appender
        self._cache = CredentialCache()

    def place_of(self, credential: Presented) -> Place:
        """Return where a credential is. Raises ApiError(not_ready) while the number of lanes is unknown."""
        lanes = self._readiness.lanes()
        # A hook is in the lane of its connector's credential.
        return Place(lane_of(credential.bucket or credential.key_id, lanes), lanes)

    def may_have_sent(self, credential: Presented, position: Position) -> bool:
        """Return False of a submission in a lane that the credential's connector never was in."""
        return may_have_been(position.lane, *self.place_of(credential))

    async def identify(self, context: RequestContext, credential: Presented) -> int:
        """Return the connector of a credential before its body is read; takes no token.

        A cached answer is enough, since `charge` and `append` check the credential again.
        """
        connector_id = self._cache.connector_of(credential)
        if connector_id is None:
            connector_id = (await self._call(context, credential, self.place_of(credential), "check")).connector_id
        context.connector_id = connector_id
        return connector_id

    async def charge(self, context: RequestContext, credential: Presented, *, read_bucket: bool = False) -> int:
        """Take a token for a request that appends nothing, and return its connector."""
        place = self.place_of(credential)
        return (await self._call(context, credential, place, "charge", read_bucket=read_bucket)).connector_id

    async def append(
        self, context: RequestContext, credential: Presented, place: Place, submission: Submission
    ) -> AppendResult:
        """Take a token and append; the result is 'ok' or 'replayed'. Not ready if the lanes were doubled meanwhile."""
        return await self._call(context, credential, place, "append", submission)

    async def _call(
        self,
        context: RequestContext,
        credential: Presented,
        place: Place,
        mode: Mode,
        submission: Submission | None = None,
        *,
        read_bucket: bool = False,
    ) -> AppendResult:
        call = AppendCall(place.lane, credential, mode, submission, read_bucket, place.lanes)
        try:
            result = await self._appender.call(call)
        except StoreUnavailableError:
            self._readiness.reload()
            raise ApiError(ErrorCode.STORE_UNAVAILABLE) from None
        if result.status == "unauthorized":
            self._cache.forget(call.credential)
            # Every 401 is the same, including that of a credential revoked while its body arrived.
            context.connector_id = context.rate_limit = None
            raise ApiError.unauthorized("unknown", call.credential.key_id)
        if result.status == "not_ready":
            self._readiness.reload()
            raise ApiError(ErrorCode.NOT_READY)
        self._cache.remember(call.credential, result.connector_id)
        context.connector_id = result.connector_id
        context.rate_limit = RateLimit(result.burst, result.remaining, result.reset)
        if error := _ERRORS.get(result.status):
            raise ApiError(error, retry_after=result.retry_after)
        return result
