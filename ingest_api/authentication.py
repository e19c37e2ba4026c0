"""Who may: puts a credential to the append script and turns its verdict into what it means for the request.

Shared by the routes that submit and the routes that only ask, so that a credential is judged in one place.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from typing import Final

from ingest_api.append import AppendCall, Appender, AppendResult, StoreUnavailableError, Submission
from ingest_api.context import RateLimit, RequestContext
from ingest_api.errors import ApiError, ErrorCode
from ingest_api.readiness import Readiness
from shared.credentials.credential import Presented, parse_credential
from shared.redis.names import lane_of

_REMEMBERED: Final = 20_000


def present(context: RequestContext) -> Presented:
    """The credential of a request's header. Raises ApiError(unauthorized) where there is none of the right form."""
    scheme, _, text = (context.header(b"authorization") or b"").partition(b" ")
    presented = parse_credential(text.strip().decode("latin-1")) if scheme.lower() == b"bearer" else None
    if presented is None:
        raise ApiError(ErrorCode.UNAUTHORIZED)
    return presented


class GoodCredentials:
    """The credentials that were good when this process last asked, the least recently used forgotten first."""

    def __init__(self, most: int = _REMEMBERED) -> None:
        self._most = most
        self._known: OrderedDict[str, tuple[str, int]] = OrderedDict()

    def connector_of(self, presented: Presented) -> int | None:
        """The connector of a credential that was good; None of any other."""
        digest, connector_id = self._known.get(presented.key_id, ("", 0))
        if not hmac.compare_digest(digest, presented.digest):
            return None
        self._known.move_to_end(presented.key_id)
        return connector_id

    def remember(self, presented: Presented, connector_id: int) -> None:
        """Notes a credential that the append script let in."""
        self._known[presented.key_id] = presented.digest, connector_id
        if len(self._known) > self._most:
            self._known.popitem(last=False)

    def forget(self, presented: Presented) -> None:
        """Drops a credential that the append script refused."""
        if self._known.get(presented.key_id, ("", 0))[0] == presented.digest:
            del self._known[presented.key_id]


class Authenticator:
    """Lets requests in, or refuses them."""

    def __init__(self, readiness: Readiness, appender: Appender) -> None:
        self._readiness = readiness
        self._appender = appender
        self._good = GoodCredentials()

    def lane_of(self, presented: Presented) -> int:
        """The lane of a credential. Raises ApiError while the number of lanes is unknown."""
        return lane_of(presented.key_id, self._readiness.lanes())

    async def identify(self, context: RequestContext, presented: Presented) -> int:
        """The connector of a credential, before anything is read for it; takes no token.

        What this process remembers is enough here: `charge` and `append` ask anew.
        """
        connector_id = self._good.connector_of(presented)
        if connector_id is None:
            verdict = await self._ask(context, AppendCall(self.lane_of(presented), presented, "check"))
            connector_id = verdict.connector_id
        return connector_id

    async def charge(self, context: RequestContext, presented: Presented, *, asking: bool = False) -> int:
        """Takes a token for a request that appends nothing; its connector."""
        question = AppendCall(self.lane_of(presented), presented, "charge", asking=asking)
        return (await self._ask(context, question)).connector_id

    async def append(
        self, context: RequestContext, presented: Presented, lane: int, submission: Submission
    ) -> AppendResult:
        """Takes a token and appends; the verdict is 'ok' or 'replayed'."""
        return await self._ask(context, AppendCall(lane, presented, "append", submission))

    async def _ask(self, context: RequestContext, question: AppendCall) -> AppendResult:
        try:
            verdict = await self._appender.call(question)
        except StoreUnavailableError:
            self._readiness.reload()
            raise ApiError(ErrorCode.STORE_UNAVAILABLE) from None
        if verdict.word == "unauthorized":
            self._good.forget(question.presented)
            # Every 401 is the same, also of a credential that was good when its body began to come.
            context.connector_id = context.rate_limit = None
            raise ApiError(ErrorCode.UNAUTHORIZED)
        if verdict.word == "not_ready":
            self._readiness.reload()
            raise ApiError(ErrorCode.NOT_READY)
        self._good.remember(question.presented, verdict.connector_id)
        context.connector_id = verdict.connector_id
        context.rate_limit = RateLimit(verdict.burst, verdict.remaining, verdict.reset)
        if verdict.word == "limited":
            raise ApiError(ErrorCode.RATE_LIMITED, retry_after=verdict.retry_after)
        if verdict.word == "full":
            raise ApiError(ErrorCode.BACKLOG_FULL)
        if verdict.word == "connector_full":
            raise ApiError(ErrorCode.CONNECTOR_BACKLOG_FULL)
        if verdict.word == "reused":
            raise ApiError(ErrorCode.IDEMPOTENCY_KEY_REUSED)
        return verdict
