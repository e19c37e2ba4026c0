"""The life of a submission in the API, the same for every kind: authenticate, read, validate, append, answer 202.

A request becomes an entry in the lane of its credential, or of its hook (`ingest_api/hooks.py`), and the 202 promises
that the entry is durable. The lane's drain takes it from there (`workers/drain.py`). A refusal that the client caused
costs a token and leaves nothing else behind; one of a hook whose signature is wrong costs none.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Final

from starlette.types import Receive, Scope, Send

from ingest_api.append_script import Submission
from ingest_api.authentication import Authenticator, read_credential
from ingest_api.checks import SubmissionCheck
from ingest_api.context import RequestContext, query_parameter
from ingest_api.delivery import Delivery
from ingest_api.errors import ApiError
from ingest_api.former_lane import FormerLanes
from ingest_api.http.body import BodyReader
from ingest_api.idempotency import idempotency_of, read_idempotency_key
from shared.entry import Meta, encode_meta
from shared.kinds import KINDS
from shared.kinds.shapes import Kind, OneItem
from shared.request_id import request_id_of_entry
from shared.traffic import Tally

#: Lowest HTTP status of errors that the client did not cause; these cost no token.
_SERVER_ERRORS: Final = 500
_REPLAYED: Final = {"Idempotent-Replayed": "true"}


@dataclass(frozen=True, slots=True)
class Submissions:
    """Accepts submissions of every kind."""

    authenticator: Authenticator
    bodies: BodyReader
    tally: Tally
    former: FormerLanes

    async def submit(
        self, kind: Kind, meta: Meta, context: RequestContext, receive: Receive, delivery: Delivery | None = None
    ) -> None:
        """Answer one submission: of a credential, or a delivery to a hook. Raises ApiError if it is refused."""
        credential = delivery.credential if delivery else read_credential(context)
        connector_id = await self.authenticator.identify(context, credential)
        context.takes_suffix = kind.takes_suffix
        place = self.authenticator.place_of(credential)
        # Strangers have a share of their own, so that they take neither memory nor turns from the connector.
        with self.bodies.reserve(-connector_id if delivery else connector_id) as reservation:
            try:
                key = None if delivery else read_idempotency_key(context)
                check = delivery.check() if delivery else SubmissionCheck(kind.name, meta, key is not None)
                body, found = await self.bodies.read(context, receive, reservation, check)
            except ApiError as error:
                if delivery and not error.sender_is_verified:
                    raise delivery.refusal(error, context) from None
                if error.code.value.status < _SERVER_ERRORS:
                    await self.authenticator.charge(context, credential)
                raise
            key = delivery.idempotency_key(found) if delivery else key
            idempotency = idempotency_of(key, found.fingerprint, connector_id=connector_id, lane=place.lane)
            submission = Submission(encode_meta(meta), found.count, body if check.keeps_body else b"", idempotency)
            replay = await self.former.replay(context, credential, place, key, submission) if key else None
            append = self.authenticator.append
            lane, result = replay or (place.lane, await append(context, credential, place, submission))
        if result.status == "ok":
            self.tally.accepted(connector_id, found.count, context.received_bytes)
        context.request_id = request_id_of_entry(lane, result.entry_id)
        payload: dict[str, Any] = {"status": "accepted", "requestId": context.request_id}
        if kind.counted:
            payload[kind.counted] = context.count = found.count
        await context.answer(202, payload, _REPLAYED if result.status == "replayed" else None)


@dataclass(frozen=True, slots=True)
class SubmissionEndpoint:
    """Serves one kind as plain ASGI: Starlette's request and response objects cost more than all other steps."""

    submissions: Submissions
    kind: Kind

    def __call__(self, scope: Scope, receive: Receive, _send: Send) -> Awaitable[None]:
        """Serve one request; `ErrorMiddleware` answers the errors."""
        return self.submissions.submit(self.kind, _meta_of(self.kind, scope), scope["context"], receive)


#: Meta of the kinds whose URL says nothing.
_META: Final = {name: Meta(name) for name in KINDS}


def _meta_of(kind: Kind, scope: Scope) -> Meta:
    """Return what the worker must know to read the body: for a webhook, what its URL says."""
    if isinstance(kind.body, OneItem):
        return Meta(kind.name, scope["path_params"]["stream"], query_parameter(scope, "idField", "id"))
    return _META[kind.name]
