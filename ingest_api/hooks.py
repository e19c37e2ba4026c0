"""Signed webhooks: `POST /api/hooks/{hookId}`, for senders that can sign but not send a bearer credential.

A hook stands in Redis beside its connector's credential, and is read there for each delivery: a change of it holds in
every process at once, without a look at Postgres. What is read decides whether a signature is right; whether the hook
is still what it was then is decided by the append script, in the step that appends.

Until the signature is verified, the client is a stranger. What does not need the body is checked before the body is
read; bodies are counted in a share of their own, so that a stranger takes no memory and no turn from the connector; a
refusal costs the connector no token and tells nothing of the hook.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError
from starlette.types import Receive, Scope, Send

from ingest_api.context import RequestContext
from ingest_api.delivery import Delivery
from ingest_api.errors import ApiError, ErrorCode
from ingest_api.http.body import require_readable
from ingest_api.readiness import Readiness
from ingest_api.submissions import Submissions
from shared.credentials.credential import Presented
from shared.hooks.hook import FORM, Hook
from shared.hooks.schemes import SCHEMES
from shared.hooks.sealing import Keyring
from shared.kinds.webhook import WEBHOOK
from shared.redis.names import lane_keys, lane_of

#: Digest that no hook has.
_UNKNOWN: Final = "-"
_hooks: Final = msgspec.json.Decoder(Hook)


@dataclass(frozen=True, slots=True)
class HookEndpoint:
    """Serves the deliveries of all hooks as plain ASGI."""

    submissions: Submissions
    readiness: Readiness
    redis: Redis
    keyring: Keyring

    def __call__(self, scope: Scope, receive: Receive, _send: Send) -> Awaitable[None]:
        """Serve one request; `ErrorMiddleware` answers the errors."""
        return self._serve(scope["path_params"]["hook_id"], scope["context"], receive)

    async def _serve(self, hook_id: str, context: RequestContext, receive: Receive) -> None:
        if not self.keyring:
            raise ApiError(ErrorCode.HOOKS_OFF)
        context.takes_suffix = WEBHOOK.takes_suffix
        require_readable(context)
        if not FORM.fullmatch(hook_id):
            raise ApiError.unauthorized("malformed")
        digest, hook = await self._find(hook_id)
        if hook is None:
            await self.submissions.authenticator.identify(context, Presented(hook_id, _UNKNOWN))
            raise ApiError.unauthorized("unknown", hook_id)
        scheme = SCHEMES[hook.scheme]
        claim = scheme.read(context.header)
        if claim is None:
            raise ApiError.unauthorized("signature_missing", hook_id)
        if not claim.is_timely(time.time(), hook.tolerance):
            raise ApiError.unauthorized("stale", hook_id)
        delivery = Delivery(hook_id, digest, hook, scheme, claim, self.keyring)
        await self.submissions.submit(WEBHOOK, delivery.meta, context, receive, delivery)

    async def _find(self, hook_id: str) -> tuple[str, Hook | None]:
        """Return a hook and its digest, as Redis holds them now."""
        key = lane_keys(lane_of(hook_id, self.readiness.lanes())).credential(hook_id)
        try:
            found: list[Any] = await self.redis.hmget(key, ["digest", "hook"])
            digest, text = found
            return (digest.decode(), _hooks.decode(text)) if digest and text else (_UNKNOWN, None)
        except (RedisError, UnicodeError, msgspec.MsgspecError):  # the last two if an operator has edited it by hand
            raise ApiError(ErrorCode.STORE_UNAVAILABLE) from None
