"""Who may: puts a credential to the append script and turns its verdict into what it means for the request.

Shared by the routes that submit and the routes that only ask, so that a credential is judged in one place.
"""

from __future__ import annotations

from ingest_api.append import Appender, Question, StoreUnavailableError, Submission, Verdict
from ingest_api.credentials import GoodCredentials
from ingest_api.exchange import Exchange, RateLimit
from ingest_api.readiness import Readiness
from ingest_api.refusals import Code, Refusal
from shared.credentials import Presented
from shared.keys import lane_of


class Gate:
    """Lets requests in, or refuses them."""

    def __init__(self, readiness: Readiness, appender: Appender) -> None:
        self._readiness = readiness
        self._appender = appender
        self._good = GoodCredentials()

    def lane_of(self, presented: Presented) -> int:
        """The lane of a credential. Raises Refusal while the number of lanes is unknown."""
        return lane_of(presented.key_id, self._readiness.lanes())

    async def identify(self, exchange: Exchange, presented: Presented) -> int:
        """The connector of a credential, before anything is read for it; takes no token.

        What this process remembers is enough here: `charge` and `append` ask anew.
        """
        connector_id = self._good.connector_of(presented)
        if connector_id is None:
            verdict = await self._ask(exchange, Question(self.lane_of(presented), presented, "check"))
            connector_id = verdict.connector_id
        return connector_id

    async def charge(self, exchange: Exchange, presented: Presented, *, asking: bool = False) -> int:
        """Takes a token for a request that appends nothing; its connector."""
        question = Question(self.lane_of(presented), presented, "charge", asking=asking)
        return (await self._ask(exchange, question)).connector_id

    async def append(self, exchange: Exchange, presented: Presented, lane: int, submission: Submission) -> Verdict:
        """Takes a token and appends; the verdict is 'ok' or 'replayed'."""
        return await self._ask(exchange, Question(lane, presented, "append", submission))

    async def _ask(self, exchange: Exchange, question: Question) -> Verdict:
        try:
            verdict = await self._appender.call(question)
        except StoreUnavailableError:
            self._readiness.reload()
            raise Refusal(Code.STORE_UNAVAILABLE) from None
        if verdict.word == "unauthorized":
            self._good.forget(question.presented)
            # Every 401 is the same, also of a credential that was good when its body began to come.
            exchange.connector_id = exchange.rate_limit = None
            raise Refusal(Code.UNAUTHORIZED)
        if verdict.word == "not_ready":
            self._readiness.reload()
            raise Refusal(Code.NOT_READY)
        self._good.remember(question.presented, verdict.connector_id)
        exchange.connector_id = verdict.connector_id
        exchange.rate_limit = RateLimit(verdict.burst, verdict.remaining, verdict.reset)
        if verdict.word == "limited":
            raise Refusal(Code.RATE_LIMITED, retry_after=verdict.retry_after)
        if verdict.word == "full":
            raise Refusal(Code.BACKLOG_FULL)
        if verdict.word == "connector_full":
            raise Refusal(Code.CONNECTOR_BACKLOG_FULL)
        if verdict.word == "reused":
            raise Refusal(Code.IDEMPOTENCY_KEY_REUSED)
        return verdict
