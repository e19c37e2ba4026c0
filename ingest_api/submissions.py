"""The life of a submission: who are you, is it well formed, append, 202. The same for every route that submits.

What arrives is a request; what leaves is an entry in the lane of its credential and a 202 that promises it. The lane's
drain takes it from there (`workers/drain.py`). A refused submission leaves nothing behind but its token.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import Receive, Scope, Send

from ingest_api.append import Appender, Mode, StoreUnavailableError, Verdict
from ingest_api.body import MemoryBudget, read_body
from ingest_api.credentials import GoodCredentials, present
from ingest_api.exchange import Exchange, RateLimit
from ingest_api.readiness import Readiness
from ingest_api.refusals import Code, Refusal
from shared.credentials import Presented
from shared.keys import lane_of
from shared.request_id import position_of_entry
from shared.submission import Meta, encode_meta

_SERVER_FAULTS = 500


@dataclass(frozen=True, slots=True)
class SubmissionKind:
    """What differs between the routes that submit."""

    meta: Meta
    #: Counts what is in a body, or raises Refusal.
    validate: Callable[[bytes], int]
    #: Name of that count in the answer.
    counted: str


class Submissions:
    """Takes submissions in."""

    def __init__(
        self, readiness: Readiness, appender: Appender, memory: MemoryBudget, *, body_timeout_seconds: float
    ) -> None:
        self._readiness = readiness
        self._appender = appender
        self._memory = memory
        self._body_timeout_seconds = body_timeout_seconds
        self._good = GoodCredentials()

    async def submit(self, kind: SubmissionKind, exchange: Exchange, receive: Receive) -> None:
        """Answers one submission."""
        presented = present(exchange)
        if not self._good.remembers(presented):
            await self._ask(exchange, presented, "check")
        with self._memory.reservation() as reservation:
            try:
                _require_json(exchange)
                body = await read_body(exchange, receive, reservation, patience=self._body_timeout_seconds)
                exchange.count = kind.validate(body)
            except Refusal as refusal:
                if refusal.code.value.status < _SERVER_FAULTS:
                    await self._ask(exchange, presented, "charge")
                raise
            verdict = await self._ask(exchange, presented, "append", meta=encode_meta(kind.meta), body=body)
        exchange.request_id = position_of_entry(self._lane(presented), verdict.entry_id).request_id
        await exchange.answer(202, {"status": "accepted", "requestId": "", kind.counted: exchange.count})

    def endpoint(self, kind: SubmissionKind) -> SubmissionEndpoint:
        """The ASGI endpoint of a route that submits."""
        return SubmissionEndpoint(self, kind)

    async def _ask(
        self, exchange: Exchange, presented: Presented, mode: Mode, *, meta: bytes = b"", body: bytes = b""
    ) -> Verdict:
        """The append script's verdict, or the refusal that it means."""
        try:
            verdict = await self._appender.call(self._lane(presented), presented, mode, meta=meta, body=body)
        except StoreUnavailableError:
            raise Refusal(Code.STORE_UNAVAILABLE) from None
        if verdict.word == "unauthorized":
            self._good.forget(presented)
            raise Refusal(Code.UNAUTHORIZED)
        if verdict.word == "not_ready":
            self._readiness.reload()
            raise Refusal(Code.NOT_READY)
        self._good.remember(presented)
        exchange.connector_id = verdict.connector_id
        exchange.rate_limit = RateLimit(verdict.burst, verdict.remaining, verdict.reset)
        if verdict.word == "limited":
            raise Refusal(Code.RATE_LIMITED, retry_after=verdict.retry_after)
        if verdict.word == "full":
            raise Refusal(Code.BACKLOG_FULL)
        return verdict

    def _lane(self, presented: Presented) -> int:
        return lane_of(presented.key_id, self._readiness.lanes())


@dataclass(frozen=True, slots=True)
class SubmissionEndpoint:
    """A plain ASGI endpoint: Starlette's request and response objects cost more than the rest of the path."""

    submissions: Submissions
    kind: SubmissionKind

    async def __call__(self, scope: Scope, receive: Receive, _send: Send) -> None:
        """Serves one request; `Edge` turns what is raised into an answer."""
        await self.submissions.submit(self.kind, scope["exchange"], receive)


def _require_json(exchange: Exchange) -> None:
    media_type = (exchange.header(b"content-type") or b"").partition(b";")[0].strip().lower()
    if media_type != b"application/json":
        raise Refusal(Code.UNSUPPORTED_MEDIA_TYPE)
