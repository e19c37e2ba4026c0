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
from ingest_api.authentication import Authenticator, present
from ingest_api.context import RequestContext
from ingest_api.errors import ApiError
from ingest_api.http.body import MemoryBudget, judged, read_body, require_json
from ingest_api.idempotency import idempotency_of, require_form
from shared.request_id import request_id_of_entry

_SERVER_FAULTS: Final = 500
_REPLAYED: Final = {"Idempotent-Replayed": "true"}


@dataclass(frozen=True, slots=True)
class SubmissionKind:
    """What differs between the routes that submit."""

    meta: bytes
    #: What the count is called in the answer; none where nothing is counted.
    counted: str | None
    #: Counts what is in a body, or raises ApiError.
    validate: Callable[[bytes], int | None]
    #: Whether a body may be missing, and its Content-Type with it.
    body_optional: bool = False


class Submissions:
    """Takes submissions in."""

    def __init__(self, authenticator: Authenticator, memory: MemoryBudget, *, body_timeout_seconds: float) -> None:
        self._authenticator = authenticator
        self._memory = memory
        self._body_timeout_seconds = body_timeout_seconds

    async def submit(self, kind: SubmissionKind, context: RequestContext, receive: Receive) -> None:
        """Answers one submission."""
        presented = present(context)
        connector_id = await self._authenticator.identify(context, presented)
        with self._memory.reservation() as reservation:
            try:
                require_json(context, body_optional=kind.body_optional)
                key = require_form(context)
                body = await read_body(context, receive, reservation, patience=self._body_timeout_seconds)
                context.count = await judged(body, kind.validate)
            except ApiError as refusal:
                if refusal.code.value.status < _SERVER_FAULTS:
                    await self._authenticator.charge(context, presented)
                raise
            lane = self._authenticator.lane_of(presented)
            same = key and idempotency_of(key, connector_id=connector_id, lane=lane, meta=kind.meta, body=body)
            submission = Submission(kind.meta, context.count or 0, body, same or None)
            verdict = await self._authenticator.append(context, presented, lane, submission)
        context.request_id = request_id_of_entry(lane, verdict.entry_id)
        payload: dict[str, Any] = {"status": "accepted", "requestId": context.request_id}
        if kind.counted:
            payload[kind.counted] = context.count
        await context.answer(202, payload, _REPLAYED if verdict.word == "replayed" else None)


@dataclass(frozen=True, slots=True)
class SubmissionEndpoint:
    """A plain ASGI endpoint: Starlette's request and response objects cost more than the rest of the path."""

    submissions: Submissions
    #: What is submitted, by the request's path and query.
    kind_of: Callable[[Scope], SubmissionKind]

    def __call__(self, scope: Scope, receive: Receive, _send: Send) -> Awaitable[None]:
        """Serves one request; `ErrorMiddleware` turns what is raised into an answer."""
        return self.submissions.submit(self.kind_of(scope), scope["context"], receive)
