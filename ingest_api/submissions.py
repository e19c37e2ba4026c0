"""The life of a submission: who are you, is it well formed, append, 202. The same for every route that submits.

What arrives is a request; what leaves is an entry in the lane of its credential and a 202 that promises it. The lane's
drain takes it from there (`workers/drain.py`). A refused submission leaves nothing behind but its token.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from ingest_api.append import Submission
from ingest_api.body import MemoryBudget, judged, read_body, require_json
from ingest_api.credentials import present
from ingest_api.exchange import Exchange
from ingest_api.gate import Gate
from ingest_api.idempotency import idempotency_of, require_form
from ingest_api.refusals import Refusal
from shared.request_id import request_id_of_entry

_SERVER_FAULTS: Final = 500
_REPLAYED: Final = {"Idempotent-Replayed": "true"}


@dataclass(frozen=True, slots=True)
class SubmissionKind:
    """What differs between the routes that submit."""

    meta: bytes
    #: What the count is called in the answer; none where nothing is counted.
    counted: str | None
    #: Counts what is in a body, or raises Refusal.
    validate: Callable[[bytes], int | None]
    #: Whether a body may be missing, and its Content-Type with it.
    body_optional: bool = False


class Submissions:
    """Takes submissions in."""

    def __init__(self, gate: Gate, memory: MemoryBudget, *, body_timeout_seconds: float) -> None:
        self._gate = gate
        self._memory = memory
        self._body_timeout_seconds = body_timeout_seconds

    async def submit(self, kind: SubmissionKind, exchange: Exchange, receive: Receive) -> None:
        """Answers one submission."""
        presented = present(exchange)
        connector_id = await self._gate.identify(exchange, presented)
        with self._memory.reservation() as reservation:
            try:
                require_json(exchange, body_optional=kind.body_optional)
                key = require_form(exchange)
                body = await read_body(exchange, receive, reservation, patience=self._body_timeout_seconds)
                exchange.count = await judged(body, kind.validate)
            except Refusal as refusal:
                if refusal.code.value.status < _SERVER_FAULTS:
                    await self._gate.charge(exchange, presented)
                raise
            lane = self._gate.lane_of(presented)
            same = key and idempotency_of(key, connector_id=connector_id, lane=lane, meta=kind.meta, body=body)
            submission = Submission(kind.meta, exchange.count or 0, body, same or None)
            verdict = await self._gate.append(exchange, presented, lane, submission)
        exchange.request_id = request_id_of_entry(lane, verdict.entry_id)
        payload: dict[str, Any] = {"status": "accepted", "requestId": exchange.request_id}
        if kind.counted:
            payload[kind.counted] = exchange.count
        await exchange.answer(202, payload, _REPLAYED if verdict.word == "replayed" else None)


@dataclass(frozen=True, slots=True)
class SubmissionEndpoint:
    """A plain ASGI endpoint: Starlette's request and response objects cost more than the rest of the path."""

    submissions: Submissions
    #: What is submitted, by the request's path and query.
    kind_of: Callable[[Scope], SubmissionKind]

    def __call__(self, scope: Scope, receive: Receive, _send: Send) -> Awaitable[None]:
        """Serves one request; `Edge` turns what is raised into an answer."""
        return self.submissions.submit(self.kind_of(scope), scope["exchange"], receive)
