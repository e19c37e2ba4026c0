"""The life of a submission in the API, the same for every kind: authenticate, read, validate, append, answer 202.

A request becomes an entry in the lane of its credential, and the 202 promises that the entry is durable. The lane's
drain takes it from there (`workers/drain.py`). A refused submission costs a token and leaves nothing else behind.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from ingest_api.append_script import Submission
from ingest_api.authentication import Authenticator, read_credential
from ingest_api.context import RequestContext
from ingest_api.errors import ApiError
from ingest_api.http.body import BodyReader, require_json, run_validation
from ingest_api.idempotency import idempotency_of, read_idempotency_key
from shared.request_id import request_id_of_entry

#: Lowest HTTP status of errors that the client did not cause; these cost no token.
_SERVER_ERRORS: Final = 500
_REPLAYED: Final = {"Idempotent-Replayed": "true"}


@dataclass(frozen=True, slots=True)
class SubmissionKind:
    """What differs between the routes that submit."""

    meta: bytes
    #: Name of the count in the 202; None if nothing is counted.
    counted: str | None
    #: Returns the number of elements in a body, or raises ApiError.
    validate: Callable[[bytes], int | None]
    #: Whether a request may come without a body and `Content-Type`.
    body_optional: bool = False


@dataclass(frozen=True, slots=True)
class Submissions:
    """Accepts submissions of every kind."""

    authenticator: Authenticator
    bodies: BodyReader

    async def submit(self, kind: SubmissionKind, context: RequestContext, receive: Receive) -> None:
        """Answer one submission. Raises ApiError if it is refused."""
        credential = read_credential(context)
        connector_id = await self.authenticator.identify(context, credential)
        with self.bodies.reserve() as reservation:
            try:
                require_json(context, body_optional=kind.body_optional)
                key = read_idempotency_key(context)
                body = await self.bodies.read(context, receive, reservation)
                context.count = await run_validation(body, kind.validate)
            except ApiError as error:
                if error.code.value.status < _SERVER_ERRORS:
                    await self.authenticator.charge(context, credential)
                raise
            lane = self.authenticator.lane_of(credential)
            idempotency = None
            if key is not None:
                idempotency = idempotency_of(key, connector_id=connector_id, lane=lane, meta=kind.meta, body=body)
            submission = Submission(kind.meta, context.count or 0, body, idempotency)
            result = await self.authenticator.append(context, credential, lane, submission)
        context.request_id = request_id_of_entry(lane, result.entry_id)
        payload: dict[str, Any] = {"status": "accepted", "requestId": context.request_id}
        if kind.counted:
            payload[kind.counted] = context.count
        await context.answer(202, payload, _REPLAYED if result.status == "replayed" else None)


@dataclass(frozen=True, slots=True)
class SubmissionEndpoint:
    """Serves one kind as plain ASGI: Starlette's request and response objects cost more than all other steps."""

    submissions: Submissions
    #: Returns the kind, given the request's path and query.
    kind_of: Callable[[Scope], SubmissionKind]

    def __call__(self, scope: Scope, receive: Receive, _send: Send) -> Awaitable[None]:
        """Serve one request; `ErrorMiddleware` answers what is raised."""
        return self.submissions.submit(self.kind_of(scope), scope["context"], receive)
