"""One delivery to a hook: whether its sender is the hook's, and which of the sender's deliveries it is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

import structlog

from ingest_api.checks import DeliveryCheck, Findings
from ingest_api.context import RequestContext
from ingest_api.errors import ApiError, ErrorCode
from shared.credentials.credential import Presented
from shared.entry import Meta
from shared.hooks.hook import Hook
from shared.hooks.schemes import Claim, Scheme
from shared.hooks.sealing import Keyring, SealError
from shared.kinds.webhook import WEBHOOK
from shared.outage import Repeats

log = structlog.get_logger()

_repeats: Final = Repeats()


class Delivery:
    """One request to a hook: whether its sender is the hook's, and which delivery it is."""

    def __init__(self, hook_id: str, digest: str, hook: Hook, scheme: Scheme, claim: Claim, keyring: Keyring) -> None:
        self.credential = Presented(hook_id, digest, hook.bucket)
        self.meta = Meta(WEBHOOK.name, hook.stream, hook.id_field)
        self._hook = hook
        self._scheme = scheme
        self._claim = claim
        self._keyring = keyring
        self._has_unreadable_secret = False

    def check(self) -> DeliveryCheck:
        """Return the check of the body."""
        keys, id_in_body = tuple(self._keys()), bool(self._scheme.id_member)
        return DeliveryCheck(WEBHOOK.name, self.meta, True, self._claim, keys, id_in_body)

    def _keys(self) -> Iterator[bytes]:
        now = time.time()
        for secret in self._hook.secrets:
            if secret.expires_at is None or secret.expires_at > now:
                try:
                    yield self._scheme.key_of(self._keyring.open(secret.sealed, self.credential.key_id))
                except SealError:
                    self._has_unreadable_secret = True

    def idempotency_key(self, found: Findings) -> bytes | None:
        """Return the key of the delivery's id, if it has one: no other hook and no client can send it."""
        delivery_id = found.delivery_id or self._claim.delivery_id
        return b"%b\0%b" % (self.credential.key_id.encode(), delivery_id) if delivery_id else None

    def refusal(self, error: ApiError, context: RequestContext) -> ApiError:
        """Return how a stranger is refused, whose signature was not verified: nothing tells of the hook."""
        context.connector_id = context.rate_limit = None
        if error.code is ErrorCode.UNAUTHORIZED and self._has_unreadable_secret:
            if (lasting := _repeats.due(self.credential.key_id)) is not None:
                log.error("hook_secret_unreadable", hook_id=self.credential.key_id, **lasting)
            return ApiError(ErrorCode.HOOKS_OFF)
        if error.code is ErrorCode.INVALID_COMPRESSION:
            error = ApiError.unauthorized("unreadable")
        error.key_id = self.credential.key_id
        return error
